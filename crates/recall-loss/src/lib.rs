//! The Recall@k surrogate loss, Smooth-AP and similarity mixup for [Burn](https://burn.dev), on any backend.
//!
//! Recall@k counts, for a query, how many items of its class are among its k nearest neighbours.
//! Both steps in that definition, ranking and counting, are step functions. Patel, Tolias and Matas
//! ("Recall@k Surrogate Loss with Large Batches and Similarity Mixup", CVPR 2022) replace each step
//! by a sigmoid, which makes the metric itself the training objective:
//!
//! ```text
//! r̃(q,x) = 1 + Σ_z σ((s_qz − s_qx) / τ_rank)                 soft rank of positive x for query q
//! R̃ᵏ(q)  = min(Σ_x σ((k − r̃(q,x)) / τ_k), k) / min(k, |P_q|)  soft recall@k of q
//! loss   = mean over q and k of 1 − R̃ᵏ(q)
//! ```
//!
//! with `s` the dot products of the L2-normalised embeddings of a batch. The loss compares every
//! positive with the whole batch, so it wants batches of thousands: backends compute it with its
//! analytic gradient in fused kernels ([`RecallBackend`]), which hold a small part of a large batch's
//! similarities at a time.
//! [`RecallAtKLoss::value_and_grad`] gives both without a graph, [`RecallAtKLoss::forward`] as a tensor
//! to call `backward` on.
//!
//! [`SmoothAp`] (Brown et al., ECCV 2020) makes the average precision of each query of the same soft
//! comparisons. It has the same methods and the same kernels on the CPU; CubeCL backends compute it by
//! [`plain`] tensor operations, in blocks.
//!
//! | feature | kernels for |
//! |---|---|
//! | `flex` (default), `ndarray` | Burn's CPU backends of these names |
//! | `cuda`, `wgpu` | these backends, with and without Fusion |
//! | `cube`, `fusion` | any other backend made with CubeCL, without and with Fusion around it |
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//! use recall_loss::RecallAtKLossConfig;
//!
//! type Backend = burn::backend::Autodiff<burn_flex::Flex>;
//!
//! # fn main() -> Result<(), recall_loss::LossError> {
//! let device = Default::default();
//! let loss = RecallAtKLossConfig::new().with_ks(vec![1, 2]).init()?;
//! let embeddings = Tensor::<Backend, 2>::from_floats(
//!     [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]],
//!     &device,
//! )
//! .require_grad();
//! let labels = Tensor::<Backend, 1, Int>::from_ints([0, 0, 1, 1], &device);
//!
//! let value = loss.forward(embeddings.clone(), labels)?;
//! let gradients = value.backward();
//! assert_eq!(embeddings.grad(&gradients).unwrap().dims(), [4, 2]);
//! # Ok(())
//! # }
//! ```

mod backend;
mod batch;
mod error;
mod kernels;
mod loss;
mod mixup;
mod objective;
pub mod plain;

#[cfg(feature = "cpu")]
#[doc(hidden)] // For recall-baselines, whose losses compute on slices as well.
pub use kernels::product;

pub use backend::RecallBackend;
pub use batch::RecallBatch;
pub use error::LossError;
pub use loss::{LossAndGrad, check_finite};
pub use mixup::Mixup;
pub use objective::{Objective, RecallAtKLoss, RecallAtKLossConfig, SmoothAp, SmoothApConfig};
