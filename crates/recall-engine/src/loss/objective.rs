//! What a model is trained with: a loss, and what that trains or remembers itself.

use std::path::Path;

use burn::tensor::Tensor;
use recall_baselines::{
    Batch, CrossBatchMemory, InputMixup, InputMixupConfig, LossError, Memory, MetricLoss, Mixture,
    PairLoss, Parameters,
};
use recall_step::{Collective, Solo};

use super::config::LossConfig;
use super::embedding_loss::{EmbeddingLoss, LossFault, LossValue};
use super::metric;
use super::shared;
use super::state::LossState;
use crate::{EngineBackend, EngineError, OptimiserConfig};

/// A loss, by who works out its gradient.
pub(super) enum Gradient<B: EngineBackend> {
    /// The loss does.
    Own(Box<dyn EmbeddingLoss<B::InnerBackend>>),
    /// Burn does.
    ByBurn(Box<dyn MetricLoss<B>>),
    /// Burn does, of a loss that compares a batch with those before it.
    WithMemory(CrossBatchMemory<Box<dyn PairLoss<B>>>),
}

/// A loss with its state. What it trains is created when it first sees embeddings, whose length it takes
/// from them.
pub(crate) struct Objective<B: EngineBackend> {
    loss: Gradient<B>,
    state: Option<LossState<B>>,
    classes: Option<usize>,
    seed: u64,
    /// What the learning rate is multiplied by for what the loss trains.
    rate: f64,
    input_mixup: Option<InputMixup>,
}

/// What a loss comes to on a batch, and what of its state a step changes.
pub(crate) struct Found<B: EngineBackend> {
    pub value: LossValue<B::InnerBackend>,
    /// The gradient with respect to what the loss trains.
    parameters: Option<Tensor<B::InnerBackend, 2>>,
    /// The memory with this batch in it.
    memory: Option<Memory<B>>,
}

impl<B: EngineBackend> Objective<B> {
    /// The loss that `config` names.
    ///
    /// # Errors
    ///
    /// [`LossError`] if the settings make no sense.
    pub fn new(config: &LossConfig, seed: u64) -> Result<Self, LossError> {
        let input_mixup = config.input_mixup;
        let input_mixup = input_mixup.map(|alpha| InputMixupConfig::new().with_alpha(alpha).init());
        Ok(Self {
            loss: config.make()?,
            state: None,
            classes: None,
            seed,
            rate: config.parameter_rate.unwrap_or(1.0),
            input_mixup: input_mixup.transpose()?,
        })
    }

    /// A loss of a program's own.
    pub fn own(loss: Box<dyn EmbeddingLoss<B::InnerBackend>>) -> Self {
        Self {
            loss: Gradient::Own(loss),
            state: None,
            classes: None,
            seed: 0,
            rate: 1.0,
            input_mixup: None,
        }
    }

    /// Says how many classes labels number. What was trained for another number of them is forgotten.
    pub fn set_classes(&mut self, classes: usize) {
        self.classes = Some(classes);
        let trained = self.state.as_ref().and_then(LossState::parameters);
        if let Some([rows, dim]) = trained.map(|values| values.dims()) {
            let wanted = self
                .parameters(classes, dim)
                .map(|parameters| parameters.shape);
            if wanted != Some([rows, dim])
                && self.parameters(classes, 1).map(|of| of.shape) != Some([rows, dim])
            {
                self.state = None;
            }
        }
    }

    /// Lets what is trained for each class begin as the row of `means` `[classes, dim]` of that class.
    pub fn start(&mut self, means: &[f32], dim: usize, device: &B::Device) {
        let classes = means.len().checked_div(dim).unwrap_or(0);
        if let Some(parameters) = self.parameters(classes, dim)
            && parameters.shape[1] == dim
        {
            let state = LossState::start(parameters.shape, means, self.seed, device);
            self.state = Some(state);
        }
    }

    /// What the inputs of a batch are mixed by, if they are.
    pub fn mixture(&self, items: usize, seed: u64) -> Result<Option<Mixture>, LossError> {
        let mixup = self.input_mixup.as_ref();
        mixup.map(|mixup| mixup.draw(items, seed)).transpose()
    }

    /// Whether inputs are mixed before the model sees them.
    pub fn mixes_inputs(&self) -> bool {
        self.input_mixup.is_some()
    }

    /// The loss of embeddings `[n, d]` with these labels, with its gradients. Of inputs that were mixed, that of
    /// both labels of each. All `ranks` call it with the embeddings of the whole batch.
    pub fn value_and_grad(
        &mut self,
        ranks: &dyn Collective,
        embeddings: Tensor<B::InnerBackend, 2>,
        labels: &[i64],
        mixture: Option<&Mixture>,
        seed: u64,
    ) -> Result<Found<B>, LossFault> {
        let state = match self.state.take() {
            Some(state) => state,
            None => self.fresh(&embeddings, labels),
        };
        let found = self.with_state(ranks, &state, embeddings, labels, mixture, seed);
        self.state = Some(state);
        found
    }

    /// The same with a state as it is at the beginning, which is dropped.
    pub fn try_value_and_grad(
        &self,
        embeddings: Tensor<B::InnerBackend, 2>,
        labels: &[i64],
    ) -> Result<Found<B>, LossFault> {
        let state = self.fresh(&embeddings, labels);
        self.with_state(&Solo, &state, embeddings, labels, None, 0)
    }

    /// The state before the first step.
    fn fresh(&self, embeddings: &Tensor<B::InnerBackend, 2>, labels: &[i64]) -> LossState<B> {
        let most = labels.iter().max();
        let most = most.map_or(0, |&label| label.max(0) as usize + 1);
        let classes = self.classes.unwrap_or(0).max(most);
        let parameters = self.parameters(classes, embeddings.dims()[1]);
        let memory = match &self.loss {
            Gradient::WithMemory(loss) => Some(loss.memory()),
            _ => None,
        };
        LossState::new(parameters, memory, self.seed, &embeddings.device())
    }

    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        match &self.loss {
            Gradient::ByBurn(loss) => loss.parameters(classes, dim),
            Gradient::Own(_) | Gradient::WithMemory(_) => None,
        }
    }

    fn with_state(
        &self,
        ranks: &dyn Collective,
        state: &LossState<B>,
        embeddings: Tensor<B::InnerBackend, 2>,
        labels: &[i64],
        mixture: Option<&Mixture>,
        seed: u64,
    ) -> Result<Found<B>, LossFault> {
        match &self.loss {
            Gradient::Own(loss) => Ok(Found {
                value: shared::value_and_grad(ranks, &**loss, embeddings, labels, seed)?,
                parameters: None,
                memory: None,
            }),
            Gradient::ByBurn(loss) => {
                let evaluate = |batch: Batch<'_, B>| match mixture {
                    Some(mixture) => mixture.loss(&**loss, batch),
                    None => loss.evaluate(batch),
                };
                let parameters = state.parameters();
                let (value, parameters) =
                    metric::value_and_grad::<B>(evaluate, embeddings, labels, parameters, seed)?;
                Ok(Found {
                    value,
                    parameters,
                    memory: None,
                })
            }
            Gradient::WithMemory(loss) => {
                let memory = state.memory();
                let mut memory = memory.cloned().unwrap_or_else(|| loss.memory());
                let evaluate = |batch: Batch<'_, B>| loss.evaluate(batch, &mut memory);
                let (value, _) =
                    metric::value_and_grad::<B>(evaluate, embeddings, labels, None, seed)?;
                Ok(Found {
                    value,
                    parameters: None,
                    memory: Some(memory),
                })
            }
        }
    }

    /// What the loss trains, if it trains anything.
    pub fn trained(&self) -> Option<Tensor<B::InnerBackend, 2>> {
        self.state.as_ref().and_then(LossState::parameters)
    }

    /// The length of the gradient of what the loss trains.
    pub fn gradient_norm(found: &Found<B>) -> f64 {
        found.parameters.as_ref().map_or(0.0, |gradient| {
            let squares = (gradient.clone() * gradient.clone()).sum().into_data();
            squares.iter::<f64>().sum::<f64>().sqrt()
        })
    }

    /// Takes the step of what the loss trains and remembers. `shrunk` is what its gradient is multiplied by,
    /// should the gradient of all be too long.
    pub fn step(
        &mut self,
        found: Found<B>,
        config: &OptimiserConfig,
        learning_rate: f64,
        shrunk: f64,
    ) {
        let Some(state) = &mut self.state else {
            return;
        };
        if let Some(gradient) = found.parameters {
            let gradient = match shrunk < 1.0 {
                true => gradient.mul_scalar(shrunk),
                false => gradient,
            };
            state.step(gradient, config, learning_rate, self.rate);
        }
        if let Some(memory) = found.memory {
            state.remember(memory);
        }
    }

    /// Forgets all that was trained and remembered.
    pub fn forget(&mut self) {
        self.state = None;
    }

    /// Writes what the loss keeps, if it keeps anything.
    ///
    /// # Errors
    ///
    /// [`EngineError::File`].
    pub fn save(&self, path: &Path) -> Result<(), EngineError> {
        match &self.state {
            Some(state) => state.save(path),
            None => Ok(()),
        }
    }

    /// Takes over what [`save`](Self::save) wrote; where there is no file, the loss begins anew.
    ///
    /// # Errors
    ///
    /// [`EngineError::Weights`] or [`EngineError::File`].
    pub fn load(&mut self, path: &Path, device: &B::Device) -> Result<(), EngineError> {
        let empty = match &self.loss {
            Gradient::WithMemory(loss) => Some(loss.memory()),
            _ => None,
        };
        self.state = LossState::load(path, empty, device)?;
        Ok(())
    }
}
