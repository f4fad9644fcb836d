//! The losses of metric learning for [Burn](https://burn.dev), on any backend: what Recall@k is compared with.
//!
//! Each loss is a file with its formula, its settings and their defaults, where it comes from, and where other
//! implementations differ. All are used alike: settings, `init`, `forward(embeddings, labels)`.
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//! use recall_baselines::{ContrastiveConfig, MetricLoss};
//!
//! type Backend = burn::backend::Autodiff<burn_flex::Flex>;
//!
//! # fn main() -> Result<(), recall_baselines::LossError> {
//! let device = Default::default();
//! let embeddings = Tensor::<Backend, 2>::from_floats(
//!     [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]],
//!     &device,
//! )
//! .require_grad();
//! let labels = Tensor::<Backend, 1, Int>::from_ints([0, 0, 1, 1], &device);
//!
//! let loss = ContrastiveConfig::cosine().init()?;
//! let value = loss.forward(embeddings.clone(), labels)?;
//! assert_eq!(embeddings.grad(&value.backward()).unwrap().dims(), [4, 2]);
//! # Ok(())
//! # }
//! ```
//!
//! Labels may be in any order, and classes of any size. Rows of embeddings are of unit length unless a loss says
//! otherwise. On a CPU backend losses over pairs go through the rows of the similarity matrix a block at a
//! time, with their derivatives written out; elsewhere they are tensor operations, which Burn differentiates.

mod around;
mod dense;
mod error;
mod loss;
mod pairs;
mod proxies;
mod ranking;
mod rows;
mod trained;

pub use around::*;
pub use error::LossError;
pub use loss::{Batch, MetricLoss, Parameters, check_finite};
pub use pairs::*;
pub use proxies::*;
pub use ranking::*;
pub use rows::Places;
pub use trained::Trained;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod page {}
