//! Kernels on slices of numbers in main memory, for any processor.
//!
//! They share out their work over rayon's pool in pieces that do not depend on its size, and add up
//! in a fixed order: the results are the same bits for any number of threads. Plain loops inside
//! `Arch::dispatch` are compiled for each instruction set, and the best one is taken at run time.

pub(crate) mod adam;
pub(crate) mod attention;
pub(crate) mod conv2d;
mod exp;
pub(crate) mod gelu;
pub(crate) mod gem;
pub(crate) mod half;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod max_pool2d;
#[cfg(test)]
mod oracle;
mod product;
pub(crate) mod squares;
mod sums;

/// About how many numbers one task of a pass over memory reads: enough to make up for the task, few
/// enough for the first cache.
const TASK: usize = 16 * 1024;
