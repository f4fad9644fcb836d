//! Embedding models for [Burn](https://burn.dev), what trains them, and the door through which a
//! program that knows neither tensors nor backends uses both.
//!
//! [`Engine`] is that door: a model on some device, which takes steps, embeds, saves and loads. Pixels
//! and labels go in, numbers come out, and nothing in its signature names a backend, so a trainer is
//! compiled once, whatever backends there are, and the engine behind it may be one device or many.
//! [`Device`] is where engines are created. [`OnDevice`] implements `Engine` for every Burn backend and
//! every [`Embedder`], a model of your own among them. What goes in can also be rows of features, for a small
//! head on embeddings that you already have: [`Inputs`].
//!
//! ```
//! use burn::backend::Autodiff;
//! use burn_flex::Flex;
//! use recall_engine::{Device, EngineConfig, Pixels, of_backend};
//!
//! # fn main() -> Result<(), recall_engine::EngineError> {
//! let device = of_backend::<Autodiff<Flex>>(Default::default());
//! // The small network of the default configuration, with random weights.
//! let engine = device.engine(&EngineConfig::default())?;
//! let black = vec![0; 2 * 3 * 32 * 32];
//! let black = Pixels { bytes: &black, shape: [2, 3, 32, 32] };
//! let embeddings = engine.embed(black.into())?;
//! assert_eq!((embeddings.rows(), embeddings.dim()), (2, 128));
//! # Ok(())
//! # }
//! ```

mod backend;
mod device;
mod engine;
mod error;
mod hash;
mod health;
mod held;
mod inputs;
mod loss;
mod loss_scale;
mod memory;
mod mixed;
mod model;
mod on_device;
mod optimiser;
mod pixels;
mod precision;
mod ranks;
mod scales;
mod trial;
mod walk;
mod weights;

pub use backend::{Backend, EngineBackend};
pub use device::{Device, of_backend};
pub use engine::{
    Broken, Engine, EngineConfig, LossScaling, ModelFiles, StepRequest, StepResult, TrialSeconds,
};
pub use error::EngineError;
pub use inputs::{Features, Inputs};
pub use loss::{
    Boundary, EmbeddingLoss, LossConfig, LossFault, LossForm, LossKind, LossStart, LossValue,
    MemoryConfig, Mining, SynthesisConfig,
};
#[cfg(feature = "cubecl")]
pub use memory::OfDevice;
pub use memory::{Memory, OfProcess, Untold};
pub use model::*;
pub use on_device::OnDevice;
pub use optimiser::{Extent, NonFinite, Optimiser, OptimiserConfig, OptimiserKind};
pub use pixels::{Pixels, Standardisation};
pub use precision::Precision;
pub use scales::Scales;
pub use weights::{LoadedWeights, load_weights, save_weights};
