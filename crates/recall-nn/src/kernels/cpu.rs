//! Kernels on slices in main memory. They know no tensors.

pub(super) mod adam;
pub(super) mod squares;
