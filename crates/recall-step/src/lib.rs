//! The two-pass step for [Burn](https://burn.dev): the gradient of a loss over a whole batch, with the
//! graph of only a part of it in memory.
//!
//! A contrastive or a ranking loss compares every item of a batch with every other, so a batch cannot
//! be cut into independent parts as for a classifier. [`TwoPass`] embeds it in chunks without a graph,
//! takes the loss and its gradient with respect to the embeddings, and embeds each chunk again with a
//! graph to back-propagate that gradient. The result is the gradient of the whole batch, and memory
//! grows with the chunk (Patel, Tolias and Matas, CVPR 2022, section 3.3; Gao et al., "Scaling Deep
//! Contrastive Learning Batch Size under Memory Limited Setup", 2021).
//!
//! [`TwoPass::run_autodiff`] takes any loss that Burn can differentiate. Here it is a triplet loss over
//! 96 rows, of which 16 are in a graph at a time:
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{AdamConfig, Optimizer};
//! use burn::tensor::{Distribution, Tensor};
//! use recall_step::{TwoPass, l2_normalise};
//!
//! type Backend = burn::backend::Autodiff<burn_flex::Flex>;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Default::default();
//! let items = Tensor::<Backend, 2>::random([96, 8], Distribution::Default, &device);
//! let model: Linear<Backend> = LinearConfig::new(8, 4).init(&device);
//!
//! let step = TwoPass { chunk: 16, seed: 0 }.run_autodiff(
//!     &model,
//!     96,
//!     |model, rows| l2_normalise(model.forward(items.clone().slice([rows]))),
//!     |embeddings| {
//!         // Anchors, then their positives, then negatives.
//!         let [a, p, n] = [0, 32, 64].map(|at| embeddings.clone().slice(at..at + 32));
//!         let distance = |other: Tensor<Backend, 2>| (a.clone() - other).powf_scalar(2.0).sum_dim(1);
//!         (distance(p) - distance(n) + 0.2).clamp_min(0.0).mean()
//!     },
//! )?;
//! println!("loss {}", step.objective);
//! let model = AdamConfig::new().init().step(1e-3, model, step.gradients);
//! # let _: Linear<Backend> = model;
//! # Ok(())
//! # }
//! ```
//!
//! [`TwoPass::run`] takes an objective that brings its gradient along, as fused kernels do. What a
//! model needs for chunks to add up to the batch is here, too: [`FrozenBatchNorm`], and
//! [`l2_normalise`] for embeddings whose dot products are cosines.
//!
//! [`TwoPass::run_over`] is the step over several processes, on as many devices: anything that is a
//! [`Collective`] connects them.
//!
//! The crate knows tensors and modules, no data, no particular loss and no network.

mod collective;
mod frozen_batch_norm;
mod gradients;
mod normalise;
mod share;
mod turns;
mod two_pass;
mod value_and_grad;

pub use collective::{Collective, CollectiveError, Solo, check_parts};
pub use frozen_batch_norm::{FrozenBatchNorm, FrozenBatchNormConfig};
pub use normalise::l2_normalise;
pub use share::{Share, share};
pub use turns::in_turns;
pub use two_pass::{StepError, StepOutput, TwoPass};
pub use value_and_grad::value_and_grad;
