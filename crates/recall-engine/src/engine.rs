//! What orchestrates a run sees of models, tensors and devices.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use recall_eval::Embeddings;
use recall_step::Collective;

use crate::{
    Device, EngineError, FeatureStatistics, Inputs, LoadedWeights, LossConfig, ModelConfig,
    OptimiserConfig, Pixels, Precision, Scales, Standardisation,
};

/// A model on a device, with what trains it.
///
/// Everything that passes through is bytes, labels and numbers of the host. An implementation is free to
/// spread a step over several devices, or to compute in another precision: whoever calls it sees no
/// difference but time and rounding.
pub trait Engine {
    /// Where it computes.
    fn device(&self) -> &dyn Device;

    /// How many numbers the model has.
    fn parameters(&self) -> usize;

    /// Takes steps together with other processes from now on, each of which calls the same functions with its
    /// share of a batch: see [`StepRequest`]. What a step comes to is the same on all, and so are the weights,
    /// as long as they begin with the same ones. Steps that are only measured are of this process alone, and so
    /// is what it embeds.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotShared`] if something of the configuration needs the whole batch in one place.
    fn join(&mut self, ranks: Arc<dyn Collective>) -> Result<(), EngineError>;

    /// A hash of all that is trained, of model and loss: equal on all ranks after the same steps.
    fn weights_hash(&self) -> String;

    /// Embeds images, or features that the head takes, without a graph, by the weights that are judged:
    /// those of training, or their moving average if one is kept. Row `i` belongs to input `i` and has unit
    /// length.
    ///
    /// # Errors
    ///
    /// [`EngineError::Embeddings`] if a number is not finite; [`EngineError::Batch`] if the bytes are not
    /// those of images of their shape, if the features are no whole rows, or if the model does not take
    /// them.
    fn embed(&self, inputs: Inputs<'_>) -> Result<Embeddings, EngineError>;

    /// Embeds images at each of the scales and makes one embedding of these. Images become larger a few at a time:
    /// no scale has more pixels at once than the images have, or one of them.
    ///
    /// # Errors
    ///
    /// As [`embed`](Self::embed), and [`EngineError::Batch`] for scales out of their range.
    fn embed_at(&self, pixels: Pixels<'_>, scales: &Scales) -> Result<Embeddings, EngineError>;

    /// What the backbone hands to the head, a row for each image, without a graph and by the weights of
    /// training, not their average. While the backbone is frozen, a step on rows of these is a step on
    /// their images.
    ///
    /// None where the model has no such features, or where `dropout` or `drop_path` of its configuration
    /// are above zero: frozen layers are random in training then, so no two passes have the same features.
    ///
    /// # Errors
    ///
    /// As [`embed`](Self::embed).
    fn features(&self, pixels: Pixels<'_>) -> Result<Option<Embeddings>, EngineError>;

    /// A hash of the weights of the backbone, which hands [`features`](Self::features) to the head.
    fn backbone_hash(&self) -> String;

    /// Takes an optimisation step, or says what of it is not finite and leaves the weights as they are.
    /// `chunk_done` hears how many chunks are embedded, and of how many.
    ///
    /// # Errors
    ///
    /// [`EngineError::Step`] if model or loss refuse the batch; [`EngineError::Batch`] if its parts do not
    /// fit together.
    fn step(
        &mut self,
        request: &StepRequest<'_>,
        chunk_done: &mut dyn FnMut(usize, usize),
    ) -> Result<StepResult, EngineError>;

    /// Takes a step whose gradient means nothing, over chunks of `chunk` inputs, leaves the weights as
    /// they are, and says how long it took. [`forget_trials`](Self::forget_trials) is due before training.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    fn try_step(&mut self, inputs: Inputs<'_>, chunk: usize) -> Result<TrialSeconds, EngineError>;

    /// Computes the loss and its gradient for random embeddings of these labels, `dim` numbers each, and
    /// says how many seconds it took.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    fn try_loss(&self, labels: &[i64], dim: usize) -> Result<f64, EngineError>;

    /// Takes the optimiser and the loss back to their beginning.
    fn forget_trials(&mut self);

    /// Takes the loss back to its beginning: what it trains, and what it remembers.
    fn forget_loss(&mut self);

    /// Says how many classes the labels of steps number, from 0, for a loss that trains something for each of
    /// them. Before the first step, in which the labels say so otherwise.
    fn set_classes(&mut self, classes: usize);

    /// Gives what the loss trains for each class its first values: `means` has a row of `dim` numbers for each
    /// class. Without it they are random. A loss that trains no vectors ignores it.
    fn start_loss(&mut self, means: &[f32], dim: usize);

    /// Starts a head on features from their statistics, as `model.start` says; the optimiser and the moving
    /// average begin anew. Without it such a head has random weights and takes rows as they are.
    ///
    /// # Errors
    ///
    /// [`EngineError::Start`] if the model is no head on features, or the statistics are of other rows than
    /// it takes, of none, or without the covariance that the start needs.
    fn start_from(&mut self, statistics: &FeatureStatistics) -> Result<(), EngineError>;

    /// Loads weights to begin with, from a file in safetensors format or of PyTorch; the head keeps its
    /// random values where the file has none.
    ///
    /// # Errors
    ///
    /// [`EngineError::Weights`] or [`EngineError::File`].
    fn load_pretrained(&mut self, path: &Path) -> Result<LoadedWeights, EngineError>;

    /// Writes the model and all that training it goes on with.
    ///
    /// # Errors
    ///
    /// [`EngineError::File`].
    fn save(&self, files: &ModelFiles) -> Result<(), EngineError>;

    /// Takes over what [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// [`EngineError::Weights`] or [`EngineError::File`].
    fn load(&mut self, files: &ModelFiles) -> Result<(), EngineError>;

    /// Takes over the weights alone, to embed with them from now on: training does not go on after it.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    fn load_judged(&mut self, path: &Path) -> Result<(), EngineError>;
}

/// Everything that determines what an engine computes.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Which model.
    pub model: ModelConfig,
    /// Height and width of the images that it is trained on; of no meaning to a head on features.
    pub image: [usize; 2],
    /// How pixels are standardised.
    pub standardise: Standardisation,
    /// The loss.
    pub loss: LossConfig,
    /// The optimiser.
    pub optimiser: OptimiserConfig,
    /// In which precision the backbone computes, in training and where it embeds.
    pub precision: Precision,
    /// What random weights are drawn from.
    pub seed: u64,
}

/// The default configuration of the small network, for images of 32 × 32.
impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            model: ModelConfig::default(),
            image: [32, 32],
            standardise: Standardisation {
                mean: [0.5; 3],
                std: [0.5; 3],
            },
            loss: LossConfig::default(),
            optimiser: OptimiserConfig::default(),
            precision: Precision::default(),
            seed: 0,
        }
    }
}

/// A batch and how to take a step on it.
///
/// Of several ranks that take it together ([`Engine::join`]), each has its own share of the batch, in whole
/// chunks ([`share`](recall_step::share)), and all else is the same for all. A rank without images hands in
/// none. Where an image of a share could not be read, the share is smaller by it, and so is the batch.
#[derive(Debug, Clone, Copy)]
pub struct StepRequest<'a> {
    /// The images, or features of them.
    pub inputs: Inputs<'a>,
    /// The class of each. A loss that trains something for each class wants them numbered from 0.
    pub labels: &'a [i64],
    /// Inputs that have a graph at a time.
    pub chunk: usize,
    /// The place of the first chunk of these inputs among those of the batch: 0 in one process, which has
    /// all of them.
    pub first_chunk: usize,
    /// The learning rate, of which groups of parameters take their shares.
    pub learning_rate: f64,
    /// What the random layers of the model draw from.
    pub model_seed: u64,
    /// What the loss draws from, such as the weights of the mixup.
    pub loss_seed: u64,
}

/// What a step came to. Numbers that are not finite are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepResult {
    /// The loss.
    pub loss: Option<f64>,
    /// The mean recall of the batch that the loss is a surrogate of, where it knows that.
    pub recall: Option<f64>,
    /// The length of the gradient of all parameters together, before it is cut.
    pub gradient_norm: Option<f64>,
    /// The mean similarity of any two embeddings of the batch.
    pub similarity: Option<f64>,
    /// The scale of the loss; of `f16` alone. A step whose gradients overflowed with it was not taken, and the
    /// next one has a smaller scale.
    pub scaling: Option<LossScaling>,
    /// Why the step was not taken.
    pub broken: Option<Broken>,
}

/// What gradients were multiplied by on their way back through a backbone in `f16`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScaling {
    /// The scale of this step, a power of two; at first 65,536.
    pub scale: f64,
    /// Whether a gradient came out too large for `f16`: then the step was not taken.
    pub overflowed: bool,
    /// How many steps were not taken because of that so far, with this one.
    pub overflows: u64,
}

/// What of a step is not finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The embeddings of these rows of the batch, counted through all ranks; of none if it is their similarities that overflow.
    Embeddings(Vec<usize>),
    /// The loss.
    Loss,
    /// The gradients of the parameters with these names.
    Gradients(Vec<String>),
}

/// Seconds of the parts of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialSeconds {
    /// Of both passes.
    pub passes: f64,
    /// Of the update of the parameters.
    pub update: f64,
}

/// Where a model and what trains it are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The weights that are judged: those of training, or their moving average.
    pub judged: PathBuf,
    /// The weights of training, where the judged ones are their average; else not written, and
    /// `judged` holds them.
    pub trained: PathBuf,
    /// The state of the optimiser.
    pub optimiser: PathBuf,
    /// What the loss trains and remembers; only written where it does.
    pub loss: PathBuf,
}
