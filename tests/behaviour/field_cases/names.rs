//! Names of files and classes: bytes, line breaks, escapes.
