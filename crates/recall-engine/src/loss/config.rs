//! The settings of all losses, in one table: a kind, and what that kind has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::LossKind;

/// The loss, and its settings. Those that another kind of loss has are none.
///
/// [`LossConfig::of`] gives all settings of a kind, with the defaults of its authors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// Which loss, see docs/losses.md. Another kind than before takes its own defaults along.
    #[serde(default)]
    pub kind: LossKind,
    /// The values of k whose recall is averaged.
    #[schemars(inner(range(min = 1)), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ks: Option<Vec<usize>>,
    /// Temperature of the soft count, one for all k or one for each.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau_k: Option<Vec<f64>>,
    /// Temperature of the soft rank.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau_rank: Option<f64>,
    /// Whether a query's similarity to itself takes part in its ranks, as in the released code.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_in_rank: Option<bool>,
    /// Whether the soft count is capped at k.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_at_k: Option<bool>,
    /// Queries handled at once.
    #[schemars(range(min = 1), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_size: Option<usize>,
    /// Whether all pairs within a class are mixed into virtual items (SiMix).
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<bool>,
    /// Which of the losses that go by the same name.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<LossForm>,
    /// Which triplets are compared.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mining: Option<Mining>,
    /// Temperature of the comparisons; of `soft-triple`, the weight of what merges centres.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// Whether a query is in its own list, and a positive there.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_included: Option<bool>,
    /// Whether the AP of an image that is alone in its class counts as 1.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_lonely: Option<bool>,
    /// Bins of a histogram.
    #[schemars(range(min = 1), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<usize>,
    /// The similarity of the first bin.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The similarity of the last bin.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// From one node of the histogram to the next.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// How far scores are moved to see what the ranks do; of `sphere-face`, the weight of the plain logit.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// Whether the margin is multiplied by noise, as in the released code.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<bool>,
    /// How far negatives are pushed: a distance, a similarity or an angle.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// The distance to which positives are pulled.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_margin: Option<f64>,
    /// Whether the margin is subtracted from a negative's similarity: the gradient is the same.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtract_margin: Option<bool>,
    /// Whether distances are squared.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squared: Option<bool>,
    /// Whether a soft margin takes the place of the hinge.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft: Option<bool>,
    /// Whether the mean is that of the terms that are not zero.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_zero: Option<bool>,
    /// What the boundary between positives and negatives is: fixed, one that is trained, or one for each
    /// class.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Boundary>,
    /// Of `margin`, half the gap at the boundary; else the scale of positives.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Of `margin`, the boundary at the beginning; else the scale of negatives.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// The similarity at which a pair weighs as much as nothing.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// The slack of the miner; without it, all pairs count.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// How much large boundaries cost.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nu: Option<f64>,
    /// Distances below this are drawn as if they were this.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutoff: Option<f64>,
    /// Negatives beyond this distance are never drawn.
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far: Option<f64>,
    /// The margin of proxies or centres.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Temperature of the choice among centres.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Centres of a class.
    #[schemars(range(min = 1), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centres: Option<usize>,
    /// The angle, in degrees.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degrees: Option<f64>,
    /// Weight of the angular loss beside the N-pair loss.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub angular_weight: Option<f64>,
    /// Weight of the squared lengths of rows.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
    /// The length of embeddings while they are trained, for losses of rows that are not normalised.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<f64>,
    /// What similarities are divided by.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Whether the loss is scaled, and lonely images count as 0, as in the released code.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released_scale: Option<bool>,
    /// What similarities are multiplied by.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// The length to which embeddings are brought.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_length: Option<f64>,
    /// The length to which proxies are brought.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_length: Option<f64>,
    /// Whether the sum below the line has the own proxy, too.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_in_sum: Option<bool>,
    /// Share of the label that is spread over the other classes.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<f64>,
    /// What the angle to the own proxy is multiplied by.
    #[schemars(range(min = 1), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<usize>,
    /// Whether angles past π fall back to a margin of the cosine.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// Whether the gradient passes the margin by, as in insightface.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub straight_through: Option<bool>,
    /// Weight of the mixtures.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Both parameters of the beta distribution that mixing weights are drawn from.
    #[schemars(extend("exclusiveMinimum" = 0, "x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concentration: Option<f64>,
    /// Whether all mixtures of a batch have one weight.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_lambda: Option<bool>,
    /// How many of the hardest negatives are mixed.
    #[schemars(range(min = 1), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardest: Option<usize>,
    /// Mixtures of two hard negatives, for each image.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixtures: Option<usize>,
    /// Mixtures of the image and a hard negative, for each image.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_mixtures: Option<usize>,
    /// Embeddings of past batches to compare with (XBM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryConfig>,
    /// Mixtures of neighbours in the batch and of their proxies, as classes of their own (Proxy Synthesis).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthesis: Option<SynthesisConfig>,
    /// Mixing of images before the model: the parameter of the beta distribution that their weight is drawn
    /// from.
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_mixup: Option<f64>,
    /// What the learning rate is multiplied by for what the loss trains itself: proxies, centres,
    /// boundaries.
    #[schemars(range(min = 0), extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_rate: Option<f64>,
    /// What proxies begin as: `random`, as their authors have it, or the `class-means` of the embeddings
    /// before the first step.
    #[schemars(extend("x-by-kind" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<LossStart>,
}

/// Losses that go by the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossForm {
    /// Of `contrastive`: squared distances, as its authors have it.
    Squared,
    /// Of `contrastive`: distances beyond margins.
    Hinges,
    /// Of `contrastive`: similarities.
    Cosine,
    /// Of `lifted` and `angular`: pairs.
    Pairs,
    /// Of `lifted`: all positives and negatives of an image at once.
    Generalised,
    /// Of `angular`: with the N-pair loss.
    WithNPair,
    /// Of `angular`: all positive pairs with all negatives.
    AllPairs,
    /// Of `blackbox-recall`: `log(1 + x)`.
    Log,
    /// Of `blackbox-recall`: `log(1 + log(1 + x))`.
    LogLog,
    /// Of `metrix`: around the contrastive loss.
    Contrastive,
    /// Of `metrix`: around the multi-similarity loss.
    MultiSimilarity,
}

impl LossForm {
    /// Its name, as in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squared => "squared",
            Self::Hinges => "hinges",
            Self::Cosine => "cosine",
            Self::Pairs => "pairs",
            Self::Generalised => "generalised",
            Self::WithNPair => "with-n-pair",
            Self::AllPairs => "all-pairs",
            Self::Log => "log",
            Self::LogLog => "log-log",
            Self::Contrastive => "contrastive",
            Self::MultiSimilarity => "multi-similarity",
        }
    }
}

/// Which triplets are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mining {
    /// Every one.
    All,
    /// Of each positive pair, the nearest negative that is farther than the positive.
    SemihardNearest,
    /// All whose negative is farther than the positive, by less than the margin.
    SemihardWindow,
    /// All whose negative is nearer than the positive.
    HardWindow,
    /// Of each image, the farthest positive and the nearest negative.
    BatchHard,
}

/// What parts positives from negatives in the margin loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Boundary {
    /// A number.
    Fixed,
    /// One that is trained.
    Shared,
    /// One for each class, which are trained.
    PerClass,
}

/// What proxies begin as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossStart {
    /// Random vectors.
    Random,
    /// The means of their classes' embeddings, by the model as it is before the first step.
    ClassMeans,
}

/// Embeddings of past batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// How many embeddings are remembered.
    ///
    /// Default 8,192.
    #[schemars(range(min = 1))]
    pub size: usize,
    /// Weight of the comparisons with them.
    ///
    /// Default 1.
    #[schemars(range(min = 0))]
    pub weight: f64,
    /// Steps before anything is remembered.
    ///
    /// Default 1,000.
    pub start: usize,
    /// Whether a batch that does not fit before the end replaces the last embeddings, and not the oldest, as in the
    /// released code.
    ///
    /// Default false.
    pub replace_tail: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            size: 8_192,
            weight: 1.0,
            start: 1_000,
            replace_tail: false,
        }
    }
}

/// Mixtures of neighbours in a batch and of their proxies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SynthesisConfig {
    /// Both parameters of the beta distribution that their weight is drawn from.
    ///
    /// Default 0.4.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub alpha: f64,
    /// How many mixtures there are beside each image, up to 1.
    ///
    /// Default 1.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub mu: f64,
}

impl Default for SynthesisConfig {
    fn default() -> Self {
        Self {
            alpha: 0.4,
            mu: 1.0,
        }
    }
}

impl LossConfig {
    /// A kind without any setting.
    pub(super) fn nothing(kind: LossKind) -> Self {
        Self {
            kind,
            ks: None,
            tau_k: None,
            tau_rank: None,
            query_in_rank: None,
            cap_at_k: None,
            block_size: None,
            mixup: None,
            form: None,
            mining: None,
            tau: None,
            query_included: None,
            count_lonely: None,
            bins: None,
            low: None,
            high: None,
            step: None,
            lambda: None,
            noise: None,
            margin: None,
            positive_margin: None,
            subtract_margin: None,
            squared: None,
            soft: None,
            non_zero: None,
            boundary: None,
            alpha: None,
            beta: None,
            base: None,
            epsilon: None,
            nu: None,
            cutoff: None,
            far: None,
            delta: None,
            gamma: None,
            centres: None,
            degrees: None,
            angular_weight: None,
            l2: None,
            length: None,
            temperature: None,
            released_scale: None,
            scale: None,
            embedding_length: None,
            proxy_length: None,
            positive_in_sum: None,
            smoothing: None,
            multiplier: None,
            fallback: None,
            straight_through: None,
            weight: None,
            concentration: None,
            one_lambda: None,
            hardest: None,
            mixtures: None,
            query_mixtures: None,
            memory: None,
            synthesis: None,
            input_mixup: None,
            parameter_rate: None,
            start: None,
        }
    }
}

/// The Recall@k surrogate.
impl Default for LossConfig {
    fn default() -> Self {
        Self::of(LossKind::default())
    }
}
