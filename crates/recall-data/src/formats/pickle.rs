//! Python's pickles, protocols 0 to 5, read without running anything.
//!
//! A pickle is a program for a machine with a stack, and may call any function there is. This machine
//! knows no functions: what a name means is up to a [`Dialect`], which makes of the few calls it knows
//! what they would have made, and has nothing to execute. The lists of benchmarks are read by a dialect
//! that knows numpy's arrays and refuses all else.
//!
//! Values lie in one list and know each other by their places in it. So a value that a file uses a
//! million times is there once, and nothing is deep: each instruction makes one value at most.

mod dialect;
mod lists;
mod machine;
mod node;
mod numpy;
mod text;

pub use self::dialect::Dialect;
pub use self::machine::{Values, read};
pub use self::node::{Id, Kind, Node};
pub use super::bytes::Problem;

pub(crate) use self::lists::{Pickle, Value};

#[cfg(test)]
mod tests;
