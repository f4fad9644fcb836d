//! Which losses there are, what they are called in Python, and their settings there.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A loss in one of its forms. One more is a variant here and an arm in `work.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    RecallAtK,
    SmoothAp,
    ListwiseAp,
    FastAp,
    BlackboxRecall,
    BlackboxAp,
    ContrastiveSquared,
    ContrastiveHinges,
    ContrastiveCosine,
    TripletSemihard,
    TripletSemihardWindow,
    TripletHardWindow,
    TripletBatchHard,
    TripletAll,
    Margin,
    NPair,
    Lifted,
    LiftedGeneralised,
    MultiSimilarity,
    Histogram,
    Angular,
    AngularAllPairs,
    SupCon,
    InfoNce,
    ProxyNca,
    ProxyNcaPp,
    ProxyAnchor,
    SoftTriple,
    NormSoftmax,
    SphereFace,
    CosFace,
    ArcFace,
    Xbm,
    Metrix,
    MetrixMultiSimilarity,
    Mixup,
    ProxySynthesis,
    SymmetricalSynthesis,
    HardNegativeMixing,
}

/// The weight of the first of two rows, where rows are mixed.
pub const LAMBDA: f64 = 0.3;
/// Centres of a class in SoftTriple.
pub const CENTRES: usize = 10;
/// What hard-negative mixing mixes for a query: of how many, and how many of two and with the query. A quarter of
/// the paper's mixtures, as PyTorch makes each of them a vector.
pub const HARDEST: usize = 1_024;
pub const MIXTURES: usize = 256;
pub const QUERY_MIXTURES: usize = 32;
/// Rows of its queue.
pub const QUEUE: usize = 4_096;

impl Kind {
    /// The name on the command line and in the table.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The name in `peers/rivals.py` and the settings there; none if it has no such loss.
    pub fn peer(self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::RecallAtK => return None,
            Self::SmoothAp => ("smooth-ap", json!({"tau": 0.01, "query_included": false})),
            Self::ListwiseAp => (
                "listwise-ap",
                json!({"bins": 20, "low": -1.0, "high": 1.0, "query_included": true}),
            ),
            Self::FastAp => ("fast-ap", json!({"bins": 10})),
            Self::BlackboxRecall => (
                "blackbox-recall",
                json!({"lambda": 4.0, "margin": 0.02, "weight": "loglog"}),
            ),
            Self::BlackboxAp => ("blackbox-ap", json!({"lambda": 4.0, "margin": 0.02})),
            Self::ContrastiveSquared => ("contrastive", json!({"form": "squared", "margin": 1.0})),
            Self::ContrastiveHinges => (
                "contrastive",
                json!({"form": "hinges", "pos_margin": 0.0, "neg_margin": 1.0}),
            ),
            Self::ContrastiveCosine => (
                "contrastive",
                json!({"form": "cosine", "margin": 0.5, "subtract_margin": true}),
            ),
            Self::TripletSemihard => (
                "triplet",
                json!({"mining": "semihard_nearest", "distance": "squared", "margin": 0.2}),
            ),
            Self::TripletSemihardWindow => (
                "triplet",
                json!({"mining": "semihard_window", "distance": "euclidean", "margin": 0.2}),
            ),
            Self::TripletHardWindow => (
                "triplet",
                json!({"mining": "hard_window", "distance": "euclidean", "margin": 0.2}),
            ),
            Self::TripletBatchHard => (
                "triplet",
                json!({"mining": "batch_hard", "distance": "euclidean", "margin": 0.2}),
            ),
            Self::TripletAll => (
                "triplet",
                json!({"mining": "all", "distance": "squared", "margin": 0.2}),
            ),
            Self::Margin => ("margin", json!({"alpha": 0.2, "nu": 0.0})),
            // Without a penalty of lengths, which pytorch-metric-learning does not have.
            Self::NPair => ("n-pair", json!({"l2": 0.0})),
            Self::Lifted => ("lifted", json!({"margin": 1.0, "generalised": false})),
            Self::LiftedGeneralised => ("lifted", json!({"margin": 1.0, "generalised": true})),
            Self::MultiSimilarity => (
                "multi-similarity",
                json!({"alpha": 2.0, "beta": 50.0, "base": 1.0, "epsilon": 0.1}),
            ),
            Self::Histogram => ("histogram", json!({"step": 0.01})),
            Self::Angular => ("angular", json!({"degrees": 45.0, "all_pairs": false})),
            Self::AngularAllPairs => ("angular", json!({"degrees": 40.0, "all_pairs": true})),
            Self::SupCon => ("sup-con", json!({"temperature": 0.1})),
            Self::InfoNce => ("info-nce", json!({"temperature": 0.07})),
            Self::ProxyNca => (
                "proxy-nca",
                json!({"embedding_length": 3.0, "proxy_length": 3.0, "positive_in_sum": false}),
            ),
            Self::ProxyNcaPp => ("proxy-nca-pp", json!({"temperature": 1.0 / 9.0})),
            Self::ProxyAnchor => ("proxy-anchor", json!({"alpha": 32.0, "delta": 0.1})),
            Self::SoftTriple => (
                "soft-triple",
                json!({"la": 20.0, "gamma": 0.1, "delta": 0.01, "tau": 0.2}),
            ),
            Self::NormSoftmax => ("norm-softmax", json!({"temperature": 0.05})),
            Self::SphereFace => ("sphere-face", json!({"m": 4, "lambda": 5.0})),
            Self::CosFace => ("cos-face", json!({"s": 64.0, "m": 0.35})),
            Self::ArcFace => ("arc-face", json!({"s": 64.0, "m": 0.5})),
            Self::Xbm => (
                "xbm",
                json!({"margin": 0.5, "subtract_margin": true, "memory_weight": 1.0, "pointer": 0}),
            ),
            Self::Metrix => (
                "metrix",
                json!({"base_loss": "contrastive", "lam": LAMBDA, "neg_margin": 0.5, "weight": 0.4}),
            ),
            Self::MetrixMultiSimilarity => (
                "metrix",
                json!({
                    "base_loss": "multi_similarity", "lam": LAMBDA, "alpha": 2.0, "beta": 50.0, "base": 0.5,
                    "weight": 0.4
                }),
            ),
            Self::Mixup => (
                "mixup",
                json!({"at": "input", "lam": LAMBDA, "temperature": 0.05}),
            ),
            Self::ProxySynthesis => (
                "proxy-synthesis",
                json!({"lam": LAMBDA, "scale": 23.0, "base_loss": "norm_softmax"}),
            ),
            Self::SymmetricalSynthesis => ("symmetrical-synthesis", json!({"l2": 0.002})),
            Self::HardNegativeMixing => (
                "hard-negative-mixing",
                json!({"temperature": 0.2, "hardest": HARDEST}),
            ),
        })
    }

    /// Vectors of each class that the loss trains; none if it trains none.
    pub fn proxies(self) -> Option<usize> {
        match self {
            Self::SoftTriple => Some(CENTRES),
            Self::ProxyNca
            | Self::ProxyNcaPp
            | Self::ProxyAnchor
            | Self::NormSoftmax
            | Self::SphereFace
            | Self::CosFace
            | Self::ArcFace
            | Self::Mixup
            | Self::ProxySynthesis => Some(1),
            _ => None,
        }
    }

    /// Whether the gradient is a difference of ranks, of which a rounding changes many.
    pub fn has_steps(self) -> bool {
        matches!(self, Self::BlackboxRecall | Self::BlackboxAp)
    }
}
