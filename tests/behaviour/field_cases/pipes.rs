//! Output that cannot be written ends the output, not the run.
