//! Convolutions of images `[n, channels, height, width]` with a square kernel, forward and backward, as
//! matrix products whose second matrix, of shifted pixels, is made a block at a time.
//!
//! No sum depends on the number of threads: they share the outputs, not the terms.

mod finish;
mod forward;
mod input_grad;
mod micro;
mod pack;
mod plan;
mod product;
mod relu_grad;
mod shape;
mod target;
#[cfg(test)]
mod tests;
mod weight_grad;

pub use finish::Finish;
pub use forward::forward;
pub use input_grad::input_grad;
pub use relu_grad::relu_grad;
pub use shape::Conv2dShape;
pub use weight_grad::weight_grad;
