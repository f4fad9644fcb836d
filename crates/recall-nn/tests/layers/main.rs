//! The layers: kernels against tensor operations, those against finite differences, and both against
//! PyTorch.

mod cases;
mod differences;
mod half;
mod kernels;
mod modules;
mod pytorch;
