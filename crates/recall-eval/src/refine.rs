//! What is done to embeddings and rankings once the network has spoken.
//!
//! | step | what it is | whose |
//! |---|---|---|
//! | [`Whitening`] | a learned linear projection of every row | Jégou and Chum, 2012; Radenović et al., 2019 |
//! | [`DatabaseAugmentation`] | each gallery item, averaged with its neighbours | Turcot and Lowe, 2009 |
//! | [`QueryExpansion`] | each query, averaged with what it finds | Chum et al., 2007; Radenović et al., 2019 |
//! | [`KReciprocal`] | another ranking, from neighbours that are mutual | Zhong et al., 2017 |
//! | [`Diffusion`] | another ranking, by a walk over the graph of neighbours | Iscen et al., 2017 |
//!
//! They are applied in this order. All of them look for neighbours as rankings do: exactly, block by block,
//! equal similarities by ascending id, so that no result depends on the number of threads. None knows what
//! should be found: junk and items of a query's group are neighbours like others, and leave a ranking only
//! when it is judged. Where queries and gallery are one set, an item is no neighbour of itself.

mod diffusion;
mod expansion;
mod k_reciprocal;
mod learn;
#[cfg(test)]
mod made;
mod moments;
#[cfg(test)]
mod peer;
mod reranking;
mod whitening;

pub use diffusion::Diffusion;
pub use expansion::{DatabaseAugmentation, QueryExpansion};
pub use k_reciprocal::KReciprocal;
pub use learn::{PairWhitening, PcaWhitening};
pub use reranking::Reranking;
pub(crate) use whitening::Projecting;
pub use whitening::Whitening;

use crate::EvalError;

/// Refuses a number that a setting does not take, or NaN.
fn check(setting: &'static str, value: f64, fits: bool, range: &str) -> Result<(), EvalError> {
    match fits {
        true => Ok(()),
        false => Err(EvalError::InvalidSetting {
            setting,
            value,
            range: range.into(),
        }),
    }
}
