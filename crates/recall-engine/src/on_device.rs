//! The engine on one device of any backend.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use recall_eval::Embeddings;
use recall_loss::RecallBackend;
use recall_nn::NnBackend;
use recall_step::{Collective, Share, Solo, StepError, TwoPass};

use crate::device::DeviceOf;
use crate::hash::{backbone_hash, weights_hash};
use crate::health::{broken_rows, mean_similarity};
use crate::held::Held;
use crate::inputs::within;
use crate::loss::{AutodiffLoss, Objective};
use crate::loss_scale::LossScale;
use crate::mixed::embedded_mixed;
use crate::model::of_another_model;
use crate::optimiser::move_towards;
use crate::precision::Preparation;
use crate::ranks::{agreed, all_labels};
use crate::scales::Sides;
use crate::trial::Trial;
use crate::{
    Backbone, Broken, Device, Embedder, EmbeddingLoss, Engine, EngineBackend, EngineConfig,
    EngineError, FeatureStatistics, Inputs, LoadedWeights, LossFault, ModelConfig, ModelFiles,
    Network, Optimiser, OptimiserConfig, Pixels, Scales, StepRequest, StepResult, TrialSeconds,
    load_weights, save_weights,
};

/// A model of any kind on a device of any backend, with what trains it.
pub struct OnDevice<B, M>
where
    B: EngineBackend,
    M: AutodiffModule<B>,
{
    device: DeviceOf<B>,
    model: Held<M>,
    optimiser: Optimiser<B>,
    /// The moving average of the weights, if one is wanted.
    average: Option<M::InnerModule>,
    /// What gradients are multiplied by on their way back, in `f16`.
    scale: Option<LossScale>,
    objective: Objective<B>,
    preparation: Preparation,
    settings: OptimiserConfig,
    config: ModelConfig,
    grid: Option<[usize; 2]>,
    /// Those that take steps together with this process, which is one of them.
    ranks: Arc<dyn Collective>,
}

impl<B, M> OnDevice<B, M>
where
    B: EngineBackend,
    M: AutodiffModule<B, InnerModule: Embedder<B::InnerBackend>> + Embedder<B>,
{
    /// A model of your own, which `init` creates on `device`, trained as `config` says. What `init` draws
    /// follows from the seed of `config`, whose backbone has to be `own`.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotOwn`] if it is another one: who opened the run later would look for that model.
    /// [`EngineError::Loss`] if the loss refuses its settings.
    pub fn new(
        config: &EngineConfig,
        device: &B::Device,
        init: impl FnOnce(&B::Device) -> M,
    ) -> Result<Self, EngineError> {
        if config.model.backbone != Backbone::Own {
            return Err(EngineError::NotOwn(config.model.backbone.name()));
        }
        B::seed(device, config.seed);
        let there = DeviceOf {
            device: device.clone(),
            memory: crate::memory::of_process_or_untold::<B>,
        };
        Self::there(init(device), config, there)
    }

    /// The same with a loss of your own.
    #[must_use]
    pub fn with_loss(self, loss: impl EmbeddingLoss<B::InnerBackend> + 'static) -> Self {
        Self {
            objective: Objective::own(Box::new(loss)),
            ..self
        }
    }

    /// The same with a loss of your own that Burn differentiates: a function of all embeddings `[n, d]`
    /// of a batch and their labels, whose value is `[1]`.
    #[must_use]
    pub fn with_autodiff_loss(
        self,
        loss: impl Fn(Tensor<B, 2>, &[i64]) -> Tensor<B, 1> + 'static,
    ) -> Self
    where
        B: 'static,
    {
        self.with_loss(AutodiffLoss::<B, _>::new(loss))
    }

    pub(crate) fn there(
        model: M,
        config: &EngineConfig,
        device: DeviceOf<B>,
    ) -> Result<Self, EngineError> {
        (config.precision).check::<B>(&model, &device.device, device.name())?;
        // Burn draws random weights when they are first looked at: now, in the order of the model.
        model.visit(&mut Draw);
        let objective = Objective::new(&config.loss, config.seed)?;
        let settings = config.optimiser.clone();
        let (model, optimiser) = settings.init(model);
        let average = settings.average.map(|_| model.valid());
        Ok(Self {
            device,
            model: Held::new(model),
            optimiser,
            average,
            scale: LossScale::of(config.precision),
            objective,
            preparation: Preparation {
                standardise: config.standardise,
                precision: config.precision,
            },
            settings,
            config: config.model.clone(),
            grid: config.model.patch_grid(config.image),
            ranks: Arc::new(Solo),
        })
    }

    /// The weights that are judged.
    fn judged(&self) -> M::InnerModule {
        let average = self.average.clone();
        average.unwrap_or_else(|| self.model.valid())
    }

    /// The images at another size, embedded; larger ones a few at a time.
    fn embedded_at(
        &self,
        model: &M::InnerModule,
        pixels: Pixels<'_>,
        factor: f64,
    ) -> Tensor<B::InnerBackend, 2> {
        let (sides, device) = (Sides::of(&self.config), &self.device.device);
        let count = pixels.count();
        let larger = factor.max(1.0);
        let at_once = ((count as f64 / (larger * larger)) as usize).max(1);
        let parts = (0..count).step_by(at_once).map(|first| {
            let rows = first..(first + at_once).min(count);
            let images = (self.preparation.standardise).images(pixels, rows, device);
            model.embed(self.preparation.taken(sides.resized(images, factor)))
        });
        Tensor::cat(parts.collect(), 0)
    }

    /// Refuses inputs that are not what they say, or that the model does not take.
    fn check(&self, inputs: &Inputs<'_>) -> Result<(), EngineError> {
        inputs.check()?;
        match Embedder::<B>::refusal(&*self.model, inputs) {
            Some(why) => Err(EngineError::Batch(why)),
            None => Ok(()),
        }
    }

    /// Goes on with `model`, whose weights are other ones.
    fn begin_with(&mut self, model: M) {
        let (model, optimiser) = self.settings.init(model);
        self.model = Held::new(model);
        self.optimiser = optimiser;
        self.scale = LossScale::of(self.preparation.precision);
        self.average = self.settings.average.map(|_| self.model.valid());
    }
}

impl<B> OnDevice<B, Network<B>>
where
    B: EngineBackend,
{
    /// The model that `config` names on `device`, with random weights that are the same on every backend: what
    /// [`Device::engine`] creates, open to a loss of your own.
    ///
    /// # Errors
    ///
    /// [`EngineError::OwnModel`] or [`EngineError::Loss`].
    pub fn of_config(config: &EngineConfig, device: &B::Device) -> Result<Self, EngineError> {
        Self::standard(
            config,
            DeviceOf {
                device: device.clone(),
                memory: crate::memory::of_process_or_untold::<B>,
            },
        )
    }

    pub(crate) fn standard(
        config: &EngineConfig,
        device: DeviceOf<B>,
    ) -> Result<Self, EngineError> {
        let (image, seed) = (config.image, config.seed);
        let model = config.model.draw::<B>(image, seed, &device.device)?;
        Self::there(model, config, device)
    }
}

impl<B, M> Engine for OnDevice<B, M>
where
    B: EngineBackend,
    M: AutodiffModule<B, InnerModule: Embedder<B::InnerBackend>> + Embedder<B>,
{
    fn device(&self) -> &dyn Device {
        &self.device
    }

    fn parameters(&self) -> usize {
        self.model.num_params()
    }

    fn join(&mut self, ranks: Arc<dyn Collective>) -> Result<(), EngineError> {
        // A mixed input is made of two images, which may be with two ranks.
        if ranks.size() > 1 && self.objective.mixes_inputs() {
            return Err(EngineError::NotShared("loss.input_mixup"));
        }
        self.ranks = ranks;
        Ok(())
    }

    fn weights_hash(&self) -> String {
        weights_hash(&*self.model, self.objective.trained())
    }

    fn embed(&self, inputs: Inputs<'_>) -> Result<Embeddings, EngineError> {
        self.check(&inputs)?;
        let device = &self.device.device;
        let model = self.judged();
        on_host(embedded(
            &model,
            inputs,
            0..inputs.count(),
            self.preparation,
            device,
        ))
    }

    fn embed_at(&self, pixels: Pixels<'_>, scales: &Scales) -> Result<Embeddings, EngineError> {
        if scales.are_plain() {
            return self.embed(pixels.into());
        }
        scales.check()?;
        self.check(&pixels.into())?;
        let model = self.judged();
        let at_each = scales.factors.iter().map(|&factor| {
            scales.raised::<B::InnerBackend>(self.embedded_at(&model, pixels, factor))
        });
        match at_each.reduce(|sum, rows| sum + rows) {
            Some(sum) => on_host(scales.combined(sum)),
            None => self.embed(pixels.into()),
        }
    }

    fn features(&self, pixels: Pixels<'_>) -> Result<Option<Embeddings>, EngineError> {
        self.check(&pixels.into())?;
        if self.config.dropout > 0.0 || self.config.drop_path > 0.0 {
            return Ok(None);
        }
        let (rows, device) = (0..pixels.count(), &self.device.device);
        let images = (self.preparation).images::<B::InnerBackend>(pixels, rows, device);
        let features = self.model.valid().features(images);
        features.map(on_host).transpose()
    }

    fn backbone_hash(&self) -> String {
        backbone_hash(&*self.model)
    }

    fn step(
        &mut self,
        request: &StepRequest<'_>,
        chunk_done: &mut dyn FnMut(usize, usize),
    ) -> Result<StepResult, EngineError> {
        let two_pass = TwoPass {
            chunk: request.chunk,
            seed: request.model_seed,
        };
        let rows = request.inputs.count();
        let ranks = Arc::clone(&self.ranks);
        // A rank has none where there are fewer chunks than ranks.
        if rows > 0 || ranks.size() == 1 {
            self.check(&request.inputs)?;
        }
        if request.labels.len() != rows {
            return Err(EngineError::Batch(format!(
                "there are {} labels for {rows} {}: each needs one",
                request.labels.len(),
                request.inputs.noun()
            )));
        }
        let labels = all_labels(&*ranks, request.labels)?;
        // A step refuses empty chunks in its own words.
        let chunks = rows.div_ceil(request.chunk.max(1));
        let mixture = self.objective.mixture(rows, request.loss_seed)?;
        let mixture = mixture.as_ref();
        let (chunk_done, done) = (RefCell::new(chunk_done), Cell::new(0));
        let mut broken = None;
        let scale = self.scale.as_ref().map(|scale| f64::from(scale.factor));
        let output = two_pass.run_over(
            &*ranks,
            Share {
                first_chunk: request.first_chunk,
                rows,
            },
            &*self.model,
            |model, rows| {
                done.set(done.get() + 1);
                (chunk_done.borrow_mut())(done.get(), 2 * chunks - 1);
                let device = &self.device.device;
                let (inputs, preparation) = (request.inputs, self.preparation);
                embedded_mixed(model, inputs, rows, mixture, preparation, device)
            },
            |embeddings, _| {
                let found = self.objective.value_and_grad(
                    &*ranks,
                    embeddings.clone(),
                    &labels,
                    mixture,
                    request.loss_seed,
                );
                if let Err(LossFault::NonFinite) = found {
                    broken = Some(broken_rows(embeddings));
                }
                found.map(|found| {
                    let grad = found.value.grad.clone();
                    let scaled = match scale {
                        Some(scale) => grad.mul_scalar(scale),
                        None => grad,
                    };
                    (scaled, found)
                })
            },
        );
        if let Some(rows) = broken {
            return Ok(StepResult {
                broken: Some(Broken::Embeddings(rows)),
                ..StepResult::default()
            });
        }
        let mut output = output?;
        if let Some(scale) = scale {
            let gradients = &mut output.gradients;
            (self.optimiser).scale_gradients(&*self.model, gradients, 1.0 / scale);
        }

        let found = output.objective;
        let loss = found.value.loss.clone().into_data();
        let of_model = (self.optimiser).gradient_norm(&*self.model, &output.gradients);
        let of_loss = Objective::<B>::gradient_norm(&found);
        let gradient_norm = match of_loss > 0.0 {
            true => of_model.hypot(of_loss),
            false => of_model,
        };
        let [loss, recall, similarity, gradient_norm, of_loss] = agreed(
            &*ranks,
            [
                loss.iter::<f64>().sum(),
                found.value.recall.clone().map_or(f64::NAN, mean),
                mean_similarity(output.embeddings),
                gradient_norm,
                of_loss,
            ],
        )?;
        let finite = |value: f64| value.is_finite().then_some(value);
        let mut result = StepResult {
            loss: finite(loss),
            recall: finite(recall),
            similarity: finite(similarity),
            gradient_norm: finite(gradient_norm),
            scaling: None,
            broken: None,
        };
        if result.loss.is_none() {
            result.broken = Some(Broken::Loss);
            return Ok(result);
        }
        // What the loss trains has a gradient that went through no backbone.
        let overflowed = result.gradient_norm.is_none() && of_loss.is_finite();
        if let Some(scale) = &mut self.scale {
            result.scaling = scale.after_step(overflowed);
            if result.scaling.is_some_and(|scaling| scaling.overflowed) {
                return Ok(result);
            }
        }
        if result.gradient_norm.is_none() {
            let mut names = self.optimiser.not_finite(&*self.model, &output.gradients);
            if !of_loss.is_finite() {
                names.push("loss.parameters".to_owned());
            }
            result.broken = Some(Broken::Gradients(names));
        } else {
            let (rate, gradients) = (request.learning_rate, output.gradients);
            self.model
                .change(|model| (self.optimiser).step(rate, model, gradients, gradient_norm));
            let shrunk = self.optimiser.shrunk(gradient_norm);
            self.objective.step(found, &self.settings, rate, shrunk);
            if let (Some(average), Some(keep)) = (self.average.take(), self.settings.average) {
                self.average = Some(move_towards(average, &self.model.valid(), keep));
            }
        }
        Ok(result)
    }

    fn try_step(&mut self, inputs: Inputs<'_>, chunk: usize) -> Result<TrialSeconds, EngineError> {
        self.check(&inputs)?;
        Trial {
            model: &mut self.model,
            optimiser: &mut self.optimiser,
            preparation: self.preparation,
            device: &self.device.device,
        }
        .step(inputs, chunk)
    }

    fn try_loss(&self, labels: &[i64], dim: usize) -> Result<f64, EngineError> {
        let seconds = crate::trial::loss(&self.objective, labels, dim, &self.device.device);
        seconds.map_err(|fault| StepError::Objective(fault).into())
    }

    fn forget_trials(&mut self) {
        self.optimiser = self.settings.optimiser(&*self.model);
        self.objective.forget();
    }

    fn forget_loss(&mut self) {
        self.objective.forget();
    }

    fn set_classes(&mut self, classes: usize) {
        self.objective.set_classes(classes);
    }

    fn start_loss(&mut self, means: &[f32], dim: usize) {
        self.objective.start(means, dim, &self.device.device);
    }

    fn start_from(&mut self, statistics: &FeatureStatistics) -> Result<(), EngineError> {
        let model = self.model.clone();
        let started = Embedder::<B>::started(model, self.config.start, statistics)?;
        self.begin_with(started);
        Ok(())
    }

    fn load_pretrained(&mut self, path: &Path) -> Result<LoadedWeights, EngineError> {
        let (model, loaded) = load_weights(self.model.clone(), path, self.grid)
            .map_err(|error| of_another_model(error, self.config.backbone, path))?;
        self.begin_with(model);
        Ok(loaded)
    }

    fn save(&self, files: &ModelFiles) -> Result<(), EngineError> {
        match &self.average {
            Some(average) => {
                save_weights(average, &files.judged)?;
                save_weights(&*self.model, &files.trained)?;
            }
            None => save_weights(&*self.model, &files.judged)?,
        }
        self.objective.save(&files.loss)?;
        let scale = self.scale.as_ref();
        (self.optimiser).save(&*self.model, scale, &files.optimiser)
    }

    fn load(&mut self, files: &ModelFiles) -> Result<(), EngineError> {
        let (model, _) = load_weights(self.model.clone(), &files.trained, self.grid)?;
        self.begin_with(model);
        let scale = (self.optimiser).load(&*self.model, &files.optimiser)?;
        // Of a run in another precision there is none.
        if let (Some(scale), Some(place)) = (scale, &mut self.scale) {
            *place = scale;
        }
        self.objective.load(&files.loss, &self.device.device)?;
        // Into a copy of the model: an average finds the weights it follows by their identity.
        if let Some(average) = self.average.take() {
            self.average = Some(load_weights(average, &files.judged, self.grid)?.0);
        }
        Ok(())
    }

    fn load_judged(&mut self, path: &Path) -> Result<(), EngineError> {
        let (model, _) = load_weights(self.model.clone(), path, self.grid)?;
        self.begin_with(model);
        Ok(())
    }
}

/// Some of the inputs, embedded by `model`.
pub(crate) fn embedded<B: NnBackend + RecallBackend, M: Embedder<B>>(
    model: &M,
    inputs: Inputs<'_>,
    rows: Range<usize>,
    preparation: Preparation,
    device: &B::Device,
) -> Tensor<B, 2> {
    match inputs {
        Inputs::Pixels(pixels) => model.embed(preparation.images(pixels, rows, device)),
        Inputs::Shapes(shapes) => {
            let parts = within(shapes, &rows)
                .map(|(pixels, rows)| model.embed(preparation.images(pixels, rows, device)));
            let mut parts: Vec<_> = parts.collect();
            match parts.len() {
                1 => parts.swap_remove(0),
                _ => Tensor::cat(parts, 0),
            }
        }
        Inputs::Features(features) => model.embed_features(features.rows(rows, device)),
    }
}

fn on_host<B: Backend>(rows: Tensor<B, 2>) -> Result<Embeddings, EngineError> {
    let dim = rows.dims()[1];
    let values = rows.into_data().iter::<f32>().collect();
    Ok(Embeddings::new(values, dim)?)
}

/// Looks at every parameter, which makes Burn draw it.
struct Draw;

impl<B: Backend> ModuleVisitor<B> for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        param.val();
    }
}

fn mean<B: Backend>(values: Tensor<B, 1>) -> f64 {
    let values = values.into_data();
    let count = values.num_elements();
    values.iter::<f64>().sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests;
