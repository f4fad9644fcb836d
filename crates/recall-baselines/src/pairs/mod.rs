//! Losses over pairs and triplets of a batch.

mod angular;
mod contrastive;
mod histogram;
mod info_nce;
mod lifted;
mod margin;
mod multi_similarity;
mod n_pair;
mod sup_con;
mod triplet;

use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use crate::{Batch, LossError, MetricLoss, Places};

pub use angular::{Angular, AngularConfig, AngularForm};
pub use contrastive::{Contrastive, ContrastiveConfig, ContrastiveForm};
pub use histogram::{Histogram, HistogramConfig, Histograms};
pub use info_nce::{InfoNce, InfoNceConfig};
pub use lifted::{Lifted, LiftedConfig, LiftedForm};
pub use margin::{Margin, MarginBoundary, MarginConfig};
pub use multi_similarity::{MultiSimilarity, MultiSimilarityConfig};
pub use n_pair::{NPair, NPairConfig};
pub use sup_con::{SupCon, SupConConfig};
pub use triplet::{Triplet, TripletConfig, TripletMining, TripletReduction};

/// A loss that can compare queries with other items than those of their batch: with a memory, say.
pub trait PairLoss<B: RecallBackend>: MetricLoss<B> {
    /// The loss of queries `[n, d]` compared with references `[m, d]`, `[1]`.
    ///
    /// # Errors
    ///
    /// [`LossError`] if there is nothing to compare.
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError>;
}

impl<B: RecallBackend, L: PairLoss<B> + ?Sized> PairLoss<B> for Box<L> {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        (**self).between(queries, references, places)
    }
}

/// The loss of a batch compared with itself.
pub(crate) fn with_itself<B: RecallBackend>(
    loss: &impl PairLoss<B>,
    batch: Batch<'_, B>,
) -> Result<Tensor<B, 1>, LossError> {
    batch.dims()?;
    let places = Places::within(batch.labels);
    loss.between(batch.embeddings.clone(), batch.embeddings, &places)
}

/// Says what a batch lacks that has no two items of a class.
pub(crate) fn no_positives(loss: &'static str, places: &Places) -> Result<(), LossError> {
    match places.have_positives() {
        true => Ok(()),
        false => Err(LossError::Lacking {
            loss,
            needs: "two items of a class",
            items: places.rows.len(),
            remedy: "sample at least two items of a class",
        }),
    }
}

/// Says what a batch lacks in which no item has both a positive and a negative.
fn no_triplets(loss: &'static str, places: &Places) -> Result<(), LossError> {
    match places.have_triplets() {
        true => Ok(()),
        false => Err(LossError::Lacking {
            loss,
            needs: "an item with a positive and a negative",
            items: places.rows.len(),
            remedy: "sample at least two classes, and two items of a class",
        }),
    }
}

/// The places of a batch, once there is a label for each row.
fn places_of<B: Backend>(embeddings: &Tensor<B, 2>, labels: &[i64]) -> Result<Places, LossError> {
    let [embeddings, _] = embeddings.dims();
    match labels.len() == embeddings {
        true => Ok(Places::within(labels)),
        false => Err(LossError::LabelCount {
            labels: labels.len(),
            embeddings,
        }),
    }
}
