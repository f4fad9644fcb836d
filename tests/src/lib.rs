//! Behaviour across the crates of recall: the tests are in `behaviour/`, and the Rust blocks of
//! README are compiled and run from here.

/// Each block is a test by itself, as in the documentation of a crate.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
