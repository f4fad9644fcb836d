//! One batch.

use recall_loss::Mixup;
use serde::{Deserialize, Serialize};

use super::backend::BackendName;
use super::data::{Data, labels};

/// A batch of unit vectors and the settings of the loss, all that a peer has to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub backend: BackendName,
    pub items: usize,
    pub dim: usize,
    pub class_size: usize,
    pub data: Data,
    pub mixup: bool,
    pub ks: Vec<usize>,
    pub tau_k: f64,
    pub tau_rank: f64,
    /// Seconds of repetitions.
    pub budget: f64,
}

impl Case {
    /// The class of each row.
    pub fn labels(&self) -> Vec<i64> {
        labels(self.items, self.class_size)
    }

    /// The rows, one after the other.
    pub fn embeddings(&self) -> Vec<f32> {
        self.data.embeddings(&self.labels(), self.dim)
    }

    /// All pairs of each class, if the case mixes.
    pub fn pairs(&self) -> Option<Mixup> {
        self.mixup.then(|| Mixup::all_pairs(&self.labels(), 0))
    }

    /// Real and virtual items.
    pub fn items_with_virtual(&self) -> usize {
        let pairs = self.class_size * self.class_size.saturating_sub(1) / 2;
        self.items + usize::from(self.mixup) * self.items / self.class_size * pairs
    }
}
