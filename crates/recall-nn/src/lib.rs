//! Layers of convolutional networks and transformers for [Burn](https://burn.dev).
//!
//! On Flex, Burn's backend for a CPU, they run on kernels of this crate, forward and backward; on every
//! other backend they are Burn's tensor operations, arranged so that they ask for little. Each is a
//! function that takes Burn's own module of that name, so a model keeps its parameters where they are.
//!
//! The type of the images is the precision: a model whose images are [`cast`] to `f16` or `bf16` computes in half
//! precision, and its parameters stay `f32`. See [`Layer`] for what is rounded and what is not.

mod adam;
mod attention;
mod autodiff;
mod backend;
mod cast;
mod conv2d;
mod gelu;
mod gem;
mod kernels;
mod layer;
mod layer_norm;
mod linear;
mod max_pool2d;
pub mod plain;
mod project;

pub use adam::{AdamStep, WeightDecay};
pub use attention::attention;
pub use backend::{Kept, Kernels, NnBackend};
pub use cast::cast;
pub use conv2d::{Epilogue, conv2d};
pub use gelu::gelu;
pub use gem::gem;
pub use layer::{Conv2dSettings, Layer};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use max_pool2d::max_pool2d;
pub use project::project;
