//! Kernels on slices of f32 in main memory, for any backend that has its tensors there.

pub mod conv2d;
