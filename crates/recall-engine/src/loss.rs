//! Losses that an engine trains with: which ones there are, and what they keep.
//!
//! A kind of loss is an entry of [`LossKind`], its defaults in `defaults.rs`, and an arm of `make.rs`.

mod autodiff;
mod config;
mod defaults;
mod embedding_loss;
mod kind;
mod longer;
mod make;
mod metric;
mod objective;
mod ranked;
mod shared;
mod state;

pub(crate) use autodiff::AutodiffLoss;
pub use config::{
    Boundary, LossConfig, LossForm, LossStart, MemoryConfig, Mining, SynthesisConfig,
};
pub use embedding_loss::{EmbeddingLoss, LossFault, LossValue};
pub use kind::LossKind;
pub(crate) use objective::Objective;
