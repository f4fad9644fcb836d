//! Runs whose data moved, grew or belong to someone else.
