//! What can be known before the first step is said before the first step.
