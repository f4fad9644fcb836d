//! Smooth-AP, by the tests of the Recall@k surrogate.

mod kernels;
mod oracle;
mod properties;
mod reference;

pub use oracle::configs;
