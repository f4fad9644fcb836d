//! Behaviour across the crates of recall: the tests are in `behaviour/`, and the Rust blocks of
//! the pages are compiled and run from here.

/// Each block is a test by itself, as in the documentation of a crate.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// The same of the page on the library.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
mod library {}

/// The page of `recall-loss`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-loss/README.md")]
mod recall_loss {}

/// The page of `recall-nn`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-nn/README.md")]
mod recall_nn {}

/// The page of `recall-step`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-step/README.md")]
mod recall_step {}

/// The page of `recall-report`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-report/README.md")]
mod recall_report {}

/// The page of `recall-data`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-data/README.md")]
mod recall_data {}

/// The page of `recall-eval`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-eval/README.md")]
mod recall_eval {}

/// The page of `recall-engine`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-engine/README.md")]
mod recall_engine {}

/// The page of `recall-train`.
#[cfg(doctest)]
#[doc = include_str!("../../crates/recall-train/README.md")]
mod recall_train {}
