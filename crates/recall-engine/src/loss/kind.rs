//! Which losses there are.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The losses that a run can train with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// The Recall@k surrogate of Patel, Tolias and Matas.
    #[default]
    RecallAtK,
    /// Smooth-AP: average precision of soft ranks.
    SmoothAp,
    /// Average precision by quantised bins.
    ListwiseAp,
    /// FastAP: average precision by histograms of distances.
    FastAp,
    /// Average precision of exact ranks, with an interpolated gradient.
    BlackboxAp,
    /// Recall of exact ranks, with an interpolated gradient.
    BlackboxRecall,
    /// Contrastive loss.
    Contrastive,
    /// Triplet loss.
    Triplet,
    /// Margin loss with distance-weighted sampling.
    Margin,
    /// N-pair loss.
    NPair,
    /// Lifted structure.
    Lifted,
    /// Multi-similarity loss with its miner.
    MultiSimilarity,
    /// Histogram loss.
    Histogram,
    /// Angular loss.
    Angular,
    /// Supervised contrastive loss.
    SupCon,
    /// InfoNCE, NT-Xent.
    InfoNce,
    /// Proxy-NCA.
    ProxyNca,
    /// Proxy-NCA++.
    ProxyNcaPp,
    /// Proxy-Anchor.
    ProxyAnchor,
    /// SoftTriple: several centres a class.
    SoftTriple,
    /// Normalised softmax over proxies.
    NormSoftmax,
    /// SphereFace.
    SphereFace,
    /// CosFace.
    CosFace,
    /// ArcFace.
    ArcFace,
    /// Metrix: mixtures of positives and negatives, with labels between them.
    Metrix,
    /// InfoNCE against mixtures of hard negatives.
    HardNegativeMixing,
    /// N-pair loss on reflections of each pair.
    SymmetricalSynthesis,
}

impl LossKind {
    /// All of them: rankings, pairs, proxies, mixtures.
    pub const ALL: [Self; 27] = [
        Self::RecallAtK,
        Self::SmoothAp,
        Self::ListwiseAp,
        Self::FastAp,
        Self::BlackboxAp,
        Self::BlackboxRecall,
        Self::Contrastive,
        Self::Triplet,
        Self::Margin,
        Self::NPair,
        Self::Lifted,
        Self::MultiSimilarity,
        Self::Histogram,
        Self::Angular,
        Self::SupCon,
        Self::InfoNce,
        Self::ProxyNca,
        Self::ProxyNcaPp,
        Self::ProxyAnchor,
        Self::SoftTriple,
        Self::NormSoftmax,
        Self::SphereFace,
        Self::CosFace,
        Self::ArcFace,
        Self::Metrix,
        Self::HardNegativeMixing,
        Self::SymmetricalSynthesis,
    ];

    /// Whether it compares images with proxies of classes, and not with each other.
    pub fn has_proxies(self) -> bool {
        matches!(
            self,
            Self::ProxyNca
                | Self::ProxyNcaPp
                | Self::ProxyAnchor
                | Self::SoftTriple
                | Self::NormSoftmax
                | Self::SphereFace
                | Self::CosFace
                | Self::ArcFace
        )
    }

    /// Settings that it has and that are off by default.
    pub fn optional_settings(self) -> &'static [&'static str] {
        match self {
            Self::ListwiseAp
            | Self::FastAp
            | Self::BlackboxAp
            | Self::BlackboxRecall
            | Self::Contrastive
            | Self::Triplet
            | Self::Histogram
            | Self::SupCon
            | Self::InfoNce => &["memory"],
            Self::Margin => &["far"],
            Self::MultiSimilarity => &["memory", "epsilon"],
            Self::ProxyNca | Self::NormSoftmax => &["synthesis", "input_mixup"],
            _ if self.has_proxies() => &["input_mixup"],
            _ => &[],
        }
    }

    /// Its name, as in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::RecallAtK => "recall-at-k",
            Self::SmoothAp => "smooth-ap",
            Self::ListwiseAp => "listwise-ap",
            Self::FastAp => "fast-ap",
            Self::BlackboxAp => "blackbox-ap",
            Self::BlackboxRecall => "blackbox-recall",
            Self::Contrastive => "contrastive",
            Self::Triplet => "triplet",
            Self::Margin => "margin",
            Self::NPair => "n-pair",
            Self::Lifted => "lifted",
            Self::MultiSimilarity => "multi-similarity",
            Self::Histogram => "histogram",
            Self::Angular => "angular",
            Self::SupCon => "sup-con",
            Self::InfoNce => "info-nce",
            Self::ProxyNca => "proxy-nca",
            Self::ProxyNcaPp => "proxy-nca-pp",
            Self::ProxyAnchor => "proxy-anchor",
            Self::SoftTriple => "soft-triple",
            Self::NormSoftmax => "norm-softmax",
            Self::SphereFace => "sphere-face",
            Self::CosFace => "cos-face",
            Self::ArcFace => "arc-face",
            Self::Metrix => "metrix",
            Self::HardNegativeMixing => "hard-negative-mixing",
            Self::SymmetricalSynthesis => "symmetrical-synthesis",
        }
    }
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
