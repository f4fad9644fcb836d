//! What a head on features starts from.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a head on features starts from. Its embedding is the direction of `W x̂ + b` with `x̂ = (x − mean) · scale`; `mean`
/// and `scale` are taken from the training rows and stay, `W` and `b`, 0 at first, are trained.
///
/// A number that is the same in all training rows has the scale 0 where deviations are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Each number of a row less its mean and over its deviation; `W` is drawn.
    Random,
    /// The features as they came, all over the root of their mean square: an embedding is the direction of its row.
    /// `W` is the identity, cut to the first `dim` numbers or padded with zeros.
    Identity,
    /// Each number of a row less its mean and over its deviation; `W` is the identity, cut or padded.
    Standard,
    /// The principal directions of the rows, the strongest first, each over its deviation (whitening): the
    /// embedding's numbers are uncorrelated and of variance 1 before they are scaled to unit length.
    ///
    /// The default: of few numbers it keeps the ones that matter, and training starts from a better place and
    /// spoils less of it.
    #[default]
    Pca,
}

impl Start {
    /// Whether it takes the covariance of the features, and not their means and deviations alone.
    pub fn wants_covariance(self) -> bool {
        self == Self::Pca
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::Identity => "identity",
            Self::Standard => "standard",
            Self::Pca => "pca",
        })
    }
}
