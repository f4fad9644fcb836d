//! The losses as plain tensor operations, for any Burn backend.
//!
//! Short rather than fast: what the kernels are checked against, and what a backend without kernels
//! runs. [`loss`] is differentiable by Burn's autodiff and keeps every comparison for it;
//! [`recall_and_grad`] applies the chain rule itself, a block of queries at a time.

mod analytic;
mod blocks;
mod comparisons;
mod forward;
mod gather;
mod interpolation;
mod products;
mod recall_at_k;
mod smooth_ap;

pub use analytic::recall_and_grad;
pub use forward::loss;
#[doc(hidden)] // For recall-baselines, which come upon the same faults of Fusion and CubeCL.
pub use gather::gather_in_rows;
#[doc(hidden)]
pub use products::products;
