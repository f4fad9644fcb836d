//! Layers of convolutional networks and transformers for [Burn](https://burn.dev).
//!
//! On Flex, Burn's backend for a CPU, they run on kernels of this crate, forward and backward; on every
//! other backend they are Burn's tensor operations, arranged so that they ask for little. A model of
//! one's own calls them as functions on its parameters.

mod adam;
mod autodiff;
mod backend;
mod functional;
mod kernels;
mod layer;
pub mod plain;

pub use adam::{AdamStep, WeightDecay};
pub use backend::{Kept, Kernels, NnBackend};
pub use functional::{Conv2dOptions, attention, conv2d, gelu, layer_norm, linear, max_pool2d};
pub use layer::{Conv2d, Layer, MaxPool2d};
