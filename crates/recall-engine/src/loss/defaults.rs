//! The defaults of each kind of loss: those of its authors.

use recall_baselines::*;
use recall_loss::{RecallAtKLossConfig, SmoothApConfig};

use super::config::{Boundary, LossConfig, LossForm, LossStart, Mining};
use super::kind::LossKind;

/// How much faster the boundaries of the margin loss learn than the model. The preset takes what its authors take.
const FAST: f64 = 10.0;

/// The length of embeddings in losses of rows that are not normalised. The models of this crate end with the unit
/// length, with which a softmax over dot products cannot become sharp.
const LENGTH: f64 = 4.0;

impl LossConfig {
    /// All settings of a form of a kind, or of a way to mine, at their defaults; see [`of`](Self::of).
    pub fn of_form(kind: LossKind, form: Option<LossForm>, mining: Option<Mining>) -> Self {
        let mut of = Self::of(kind);
        if let (Some(own), Some(form)) = (of.form, form) {
            if kind == LossKind::Contrastive && form != own {
                of.margin = Some(ContrastiveConfig::squared().margin);
            }
            if kind == LossKind::Angular && form == LossForm::AllPairs {
                of.degrees = Some(AngularConfig::all_pairs().degrees);
            }
            of.form = Some(form);
        }
        if let (Some(_), Some(mining)) = (of.mining, mining) {
            let triplet = match mining {
                Mining::All => TripletConfig::all(),
                Mining::SemihardNearest => TripletConfig::facenet(),
                Mining::SemihardWindow => TripletConfig::semihard_window(),
                Mining::HardWindow => TripletConfig::hard_window(),
                Mining::BatchHard => TripletConfig::batch_hard(),
            };
            of.mining = Some(mining);
            of.squared = Some(triplet.squared);
            of.margin = Some(triplet.margin);
            of.soft = Some(triplet.soft);
            of.non_zero = Some(triplet.reduction == TripletReduction::NonZero);
        }
        of
    }

    /// All settings of a kind, at their defaults.
    pub fn of(kind: LossKind) -> Self {
        let none = Self::nothing(kind);
        match kind {
            LossKind::RecallAtK => {
                let of = RecallAtKLossConfig::new();
                Self {
                    ks: Some(of.ks),
                    tau_k: Some(of.tau_k),
                    tau_rank: Some(of.tau_rank),
                    query_in_rank: Some(of.query_in_rank),
                    cap_at_k: Some(of.cap_at_k),
                    block_size: Some(of.block_size),
                    mixup: Some(true),
                    ..none
                }
            }
            LossKind::SmoothAp => {
                let of = SmoothApConfig::new();
                Self {
                    tau: Some(of.tau),
                    query_included: Some(of.query_included),
                    count_lonely: Some(of.count_lonely),
                    block_size: Some(of.block_size),
                    mixup: Some(false),
                    ..none
                }
            }
            LossKind::ListwiseAp => {
                let of = ListwiseApConfig::new();
                Self {
                    bins: Some(of.bins),
                    low: Some(of.low),
                    high: Some(of.high),
                    query_included: Some(of.query_included),
                    mixup: Some(false),
                    ..none
                }
            }
            LossKind::FastAp => Self {
                bins: Some(FastApConfig::new().bins),
                mixup: Some(false),
                ..none
            },
            LossKind::BlackboxAp => {
                let of = BlackboxApConfig::new();
                Self {
                    lambda: Some(of.lambda),
                    margin: Some(of.margin),
                    noise: Some(of.noise),
                    mixup: Some(false),
                    ..none
                }
            }
            LossKind::BlackboxRecall => {
                let of = BlackboxRecallConfig::new();
                Self {
                    form: Some(LossForm::LogLog),
                    lambda: Some(of.lambda),
                    margin: Some(of.margin),
                    mixup: Some(false),
                    ..none
                }
            }
            _ => Self::of_others(none),
        }
    }

    fn of_others(none: Self) -> Self {
        match none.kind {
            LossKind::Contrastive => {
                let of = ContrastiveConfig::cosine();
                Self {
                    form: Some(LossForm::Cosine),
                    margin: Some(of.margin),
                    positive_margin: Some(of.positive_margin),
                    subtract_margin: Some(of.subtract_margin),
                    mixup: Some(false),
                    ..none
                }
            }
            LossKind::Triplet => {
                let of = TripletConfig::facenet();
                Self {
                    mining: Some(Mining::SemihardNearest),
                    squared: Some(of.squared),
                    margin: Some(of.margin),
                    soft: Some(of.soft),
                    non_zero: Some(of.reduction == TripletReduction::NonZero),
                    ..none
                }
            }
            LossKind::Margin => {
                let of = MarginConfig::new();
                Self {
                    alpha: Some(of.alpha),
                    beta: Some(of.beta),
                    boundary: Some(Boundary::PerClass),
                    nu: Some(of.nu),
                    cutoff: Some(of.cutoff),
                    far: of.far,
                    parameter_rate: Some(FAST),
                    ..none
                }
            }
            LossKind::NPair => Self {
                l2: Some(NPairConfig::new().l2),
                length: Some(LENGTH),
                ..none
            },
            LossKind::Lifted => Self {
                form: Some(LossForm::Pairs),
                margin: Some(LiftedConfig::pairs().margin),
                length: Some(1.0),
                ..none
            },
            LossKind::MultiSimilarity => {
                let of = MultiSimilarityConfig::new();
                Self {
                    alpha: Some(of.alpha),
                    beta: Some(of.beta),
                    base: Some(of.base),
                    epsilon: of.epsilon,
                    mixup: Some(false),
                    ..none
                }
            }
            LossKind::Histogram => Self {
                step: Some(HistogramConfig::new().step),
                mixup: Some(false),
                ..none
            },
            LossKind::Angular => {
                let of = AngularConfig::n_pair();
                Self {
                    form: Some(LossForm::WithNPair),
                    degrees: Some(of.degrees),
                    angular_weight: Some(of.angular_weight),
                    l2: Some(of.l2),
                    length: Some(LENGTH),
                    ..none
                }
            }
            LossKind::SupCon => Self {
                temperature: Some(SupConConfig::new().temperature),
                released_scale: Some(false),
                mixup: Some(false),
                ..none
            },
            LossKind::InfoNce => Self {
                temperature: Some(InfoNceConfig::new().temperature),
                mixup: Some(false),
                ..none
            },
            LossKind::Metrix => {
                let of = MetrixConfig::contrastive();
                Self {
                    form: Some(LossForm::Contrastive),
                    weight: Some(of.weight),
                    concentration: Some(of.concentration),
                    one_lambda: Some(of.one_lambda),
                    margin: Some(of.margin),
                    alpha: Some(of.alpha),
                    beta: Some(of.beta),
                    base: Some(of.base),
                    ..none
                }
            }
            LossKind::HardNegativeMixing => {
                let of = HardNegativeMixingConfig::new();
                Self {
                    hardest: Some(of.hardest),
                    mixtures: Some(of.mixtures),
                    query_mixtures: Some(of.query_mixtures),
                    temperature: Some(of.temperature),
                    ..none
                }
            }
            LossKind::SymmetricalSynthesis => Self {
                l2: Some(SymmetricalSynthesisConfig::new().l2),
                length: Some(LENGTH),
                ..none
            },
            _ => Self::of_proxies(none),
        }
    }

    /// Proxies start as class means and learn no faster than the model, which works for models that start from
    /// random weights as well. The presets have what the authors take for pretrained ones: random proxies at 100
    /// times the rate.
    fn of_proxies(none: Self) -> Self {
        let none = Self {
            parameter_rate: Some(1.0),
            start: Some(LossStart::ClassMeans),
            ..none
        };
        match none.kind {
            LossKind::ProxyNca => {
                let of = ProxyNcaConfig::new();
                Self {
                    embedding_length: Some(of.embedding_length),
                    proxy_length: Some(of.proxy_length),
                    positive_in_sum: Some(of.positive_in_sum),
                    smoothing: Some(of.smoothing),
                    ..none
                }
            }
            LossKind::ProxyNcaPp => Self {
                temperature: Some(ProxyNcaPpConfig::new().temperature),
                ..none
            },
            LossKind::ProxyAnchor => {
                let of = ProxyAnchorConfig::new();
                Self {
                    alpha: Some(of.alpha),
                    delta: Some(of.delta),
                    ..none
                }
            }
            LossKind::SoftTriple => {
                let of = SoftTripleConfig::new();
                Self {
                    scale: Some(of.scale),
                    gamma: Some(of.gamma),
                    delta: Some(of.delta),
                    tau: Some(of.tau),
                    centres: Some(of.centres),
                    ..none
                }
            }
            LossKind::SphereFace => {
                let of = SphereFaceConfig::new();
                Self {
                    multiplier: Some(of.multiplier),
                    lambda: Some(of.lambda),
                    length: Some(8.0),
                    ..none
                }
            }
            LossKind::CosFace => {
                let of = CosFaceConfig::new();
                Self {
                    scale: Some(of.scale),
                    margin: Some(of.margin),
                    ..none
                }
            }
            LossKind::ArcFace => {
                let of = ArcFaceConfig::new();
                Self {
                    scale: Some(of.scale),
                    margin: Some(of.margin),
                    fallback: Some(of.fallback),
                    straight_through: Some(of.straight_through),
                    ..none
                }
            }
            _ => Self {
                temperature: Some(NormSoftmaxConfig::new().temperature),
                ..none
            },
        }
    }
}
