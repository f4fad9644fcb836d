//! A model after training.

use std::path::Path;
use std::sync::Arc;

use recall_data::{Dataset, ImageSource, ItemId, Loader, names};
use recall_engine::{Device, Engine, EngineConfig, EngineError, Features, Pixels};
use recall_eval::refine::Whitening;
use recall_eval::{Embeddings, EvalError};

use crate::embed::{embed_each, embed_items};
use crate::{Checkpoint, Loading, NamedBackend, Passes, RunError};

/// The model of a checkpoint on a device, which embeds images as its run did. Where the command `whiten` put a whitening
/// into the checkpoint, it stands behind the network.
///
/// ```no_run
/// use recall_train::{NamedBackend, Index, TrainedModel};
///
/// # fn main() -> Result<(), recall_train::RunError> {
/// let model = TrainedModel::open("runs/emoji-001", NamedBackend::AUTO)?;
/// let queries = model.embed_files(&["shoe.jpg", "boot.jpg"])?;
/// for found in Index::open("shop.npy")?.search(&queries, 5)? {
///     println!("{} {:.3}", found[0].name, found[0].similarity);
/// }
/// # Ok(())
/// # }
/// ```
pub struct TrainedModel {
    checkpoint: Checkpoint,
    engine: Box<dyn Engine>,
    /// What stands behind the network.
    whitening: Option<Whitening>,
    loading: Loading,
}

impl TrainedModel {
    /// Opens the model of a run, or of one of its checkpoints: of a run its best, or the last where no
    /// images chose one.
    ///
    /// # Errors
    ///
    /// [`RunError::NoCheckpoint`], what is wrong with its files, or [`RunError::Backend`].
    pub fn open(run: impl AsRef<Path>, backend: NamedBackend) -> Result<Self, RunError> {
        let checkpoint = Checkpoint::open(run.as_ref())?;
        Self::on(&*backend.open()?, checkpoint)
    }

    /// Loads the model of `checkpoint` on `device`.
    ///
    /// # Errors
    ///
    /// [`RunError::Weights`] if a tensor is missing, left over or of another shape; an error for a model
    /// that is a program's own.
    pub fn on(device: &dyn Device, checkpoint: Checkpoint) -> Result<Self, RunError> {
        Self::with_engine(|config| device.engine(config), checkpoint)
    }

    /// Loads the weights of `checkpoint` into the model that `create` puts on a device: the one that a
    /// program brought to [`TrainingRun::train_with`](crate::TrainingRun::train_with).
    ///
    /// # Errors
    ///
    /// [`RunError::Weights`] if it is another model; the error of `create`.
    pub fn with_engine(
        create: impl FnOnce(&EngineConfig) -> Result<Box<dyn Engine>, EngineError>,
        checkpoint: Checkpoint,
    ) -> Result<Self, RunError> {
        let mut engine = create(&checkpoint.config.engine())?;
        engine.load_judged(&checkpoint.weights_file())?;
        let whitening = checkpoint.whitening()?;
        let model = Self {
            engine,
            checkpoint,
            whitening: None,
            loading: Loading::default(),
        };
        model.with_whitening(whitening)
    }

    /// The same with this whitening behind the network, or without any, instead of that of the checkpoint.
    ///
    /// # Errors
    ///
    /// [`RunError::Eval`] if it takes rows of another length than the network gives.
    pub fn with_whitening(self, whitening: Option<Whitening>) -> Result<Self, RunError> {
        let rows = self.checkpoint.config.model.dim;
        match &whitening {
            Some(other) if other.dim() != rows => Err(EvalError::WhiteningDimension {
                rows,
                whitening: other.dim(),
            }
            .into()),
            _ => Ok(Self { whitening, ..self }),
        }
    }

    /// The whitening behind the network: that of the checkpoint, if it has one.
    pub fn whitening(&self) -> Option<&Whitening> {
        self.whitening.as_ref()
    }

    /// Numbers of an embedding.
    pub fn dim(&self) -> usize {
        let of_network = self.checkpoint.config.model.dim;
        self.whitening.as_ref().map_or(of_network, Whitening::out)
    }

    /// The same, with images loaded as `loading` says. By default all cores load them, and one that cannot
    /// be read is an error.
    #[must_use]
    pub fn loading(self, loading: Loading) -> Self {
        Self { loading, ..self }
    }

    /// The checkpoint that the model is of.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Embeds images that are decoded and cut already: `[n, 3, height, width]`, as
    /// [`judged_images`](crate::RunConfig::judged_images) of the checkpoint's `config` sizes them, at each of its
    /// scales. Row `i` has unit length.
    ///
    /// # Errors
    ///
    /// [`RunError::Eval`] if an embedding is not finite.
    pub fn embed(&self, pixels: Pixels<'_>) -> Result<Embeddings, RunError> {
        let rows = self.engine.embed_at(pixels, &self.passes().scales)?;
        self.whitened(rows)
    }

    /// Embeds rows of features, for a head that was trained on such: `[n, dim]` one behind the other, with
    /// as many numbers in a row as it was trained on. Row `i` has unit length.
    ///
    /// # Errors
    ///
    /// [`RunError::Engine`](crate::RunError) for a model that takes images, or rows of another length;
    /// [`RunError::Eval`] if an embedding is not finite.
    pub fn embed_rows(&self, rows: &[f32]) -> Result<Embeddings, RunError> {
        let config = &self.checkpoint.config.model;
        match (config.backbone.takes_features(), config.features) {
            (true, Some(dim)) if rows.len().is_multiple_of(dim) => {
                let features = Features { values: rows, dim };
                self.whitened(self.engine.embed(features.into())?)
            }
            (true, Some(dim)) => Err(RunError::Rows {
                problem: format!("{} numbers are no rows of {dim}", rows.len()),
            }),
            _ => Err(RunError::Rows {
                problem: format!("{} takes images", config.backbone),
            }),
        }
    }

    /// Embeds image files: row `i` belongs to `paths[i]`.
    ///
    /// # Errors
    ///
    /// The first file that cannot be read. Where [`loading`](Self::loading) skips such files, their rows
    /// are missing: [`embed_items`](Self::embed_items) says which.
    pub fn embed_files(&self, paths: &[impl AsRef<Path>]) -> Result<Embeddings, RunError> {
        let images = self.files(paths)?;
        let all: Vec<ItemId> = (0..paths.len()).collect();
        let (embeddings, _) = self.embed_items(&images, &all, |_| Ok(()))?;
        Ok(embeddings)
    }

    /// Image files as images without classes, read as the model's other images are.
    ///
    /// # Errors
    ///
    /// No file at all.
    pub fn files(&self, paths: &[impl AsRef<Path>]) -> Result<Arc<Dataset>, RunError> {
        let named = paths.iter().map(|path| {
            let path = path.as_ref();
            let name = names::escape_os(path.as_os_str());
            (name, ImageSource::File(path.to_owned()))
        });
        let images = Dataset::unlabelled("images", named)?;
        Ok(Arc::new(self.checkpoint.config.image.read_so(images)))
    }

    /// Embeds images of a data set: row `i` belongs to the `i`-th of the returned ids, which are those
    /// asked for without images that were skipped. `progress` gets the number of images done, and ends it
    /// by an error.
    ///
    /// # Errors
    ///
    /// An image that cannot be read, if it is not to be skipped; images of which not one can be read; the
    /// error of `progress`.
    pub fn embed_items(
        &self,
        dataset: &Arc<Dataset>,
        ids: &[ItemId],
        progress: impl FnMut(usize) -> Result<(), RunError>,
    ) -> Result<(Embeddings, Vec<ItemId>), RunError> {
        let loader = self.loader(dataset)?;
        let (rows, kept) = embed_items(&*self.engine, &loader, ids, &self.passes(), progress)?;
        Ok((self.whitened(rows)?, kept))
    }

    /// The same, handed over chunk by chunk: memory does not grow with the number of images.
    ///
    /// # Errors
    ///
    /// As [`embed_items`](Self::embed_items), and those of `take`.
    pub fn embed_each(
        &self,
        dataset: &Arc<Dataset>,
        ids: &[ItemId],
        mut take: impl FnMut(&Embeddings, &[ItemId]) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let loader = self.loader(dataset)?;
        embed_each(
            &*self.engine,
            &loader,
            ids,
            &self.passes(),
            |rows, ids| match &self.whitening {
                Some(_) => take(&self.whitened(rows.clone())?, ids),
                None => take(rows, ids),
            },
        )
    }

    fn whitened(&self, rows: Embeddings) -> Result<Embeddings, RunError> {
        Ok(match &self.whitening {
            // As embeddings that come from a file are whitened.
            Some(whitening) => whitening.apply(&rows.normalised()?)?,
            None => rows,
        })
    }

    fn passes(&self) -> Passes {
        self.checkpoint.config.passes()
    }

    fn loader(&self, dataset: &Arc<Dataset>) -> Result<Loader, RunError> {
        let config = &self.checkpoint.config;
        self.loading
            .loader(dataset, &config.image, config.judged_images(), config.seed)
    }
}
