//! What goes around another loss: memories and mixtures.

mod beta;
mod hard_negatives;
mod memory;
mod metrix;
mod mixup;
mod proxy_synthesis;
mod similarity_mixup;
mod symmetrical_synthesis;

pub use hard_negatives::{HardMixture, HardNegativeMixing, HardNegativeMixingConfig};
pub use memory::{CrossBatchMemory, CrossBatchMemoryConfig, Memory, MemoryPolicy};
pub use metrix::{Metrix, MetrixConfig, MetrixForm};
pub use mixup::{InputMixup, InputMixupConfig, Mixture};
pub use proxy_synthesis::{ProxySynthesis, ProxySynthesisConfig};
pub use similarity_mixup::SimilarityMixup;
pub use symmetrical_synthesis::{SymmetricalSynthesis, SymmetricalSynthesisConfig};
