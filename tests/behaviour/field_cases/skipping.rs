//! What cannot be read is skipped where that was asked for, and counted.
