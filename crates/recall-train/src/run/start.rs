//! How a run begins, or goes on.

use std::path::{Path, PathBuf};

use recall_data::{DataSpec, Dataset};
use recall_engine::Engine;

use super::checkpoint::{Checkpoint, CheckpointState, Checkpoints};
use super::data::{DATA, DataRecord};
use super::folder::{Attempt, RunFolder};
use super::images::{Images, Items};
use super::records::Records;
use super::resume::{self, folder_of};
use super::{CONFIG, Place, Progress, Ranks, TrainingRun};
use crate::{RunConfig, RunError};

/// Where a run begins or goes on, looked up before anything is computed.
pub(super) enum Start {
    /// In this folder, or the next free one.
    New(Option<PathBuf>),
    /// After this checkpoint; none if the run was stopped before its first.
    Begun {
        folder: RunFolder,
        checkpoint: Option<Box<Checkpoint>>,
    },
}

/// A run that has its folder and is about to take a step.
pub(super) struct Begun {
    pub folder: RunFolder,
    pub checkpoints: Checkpoints,
    pub records: Records,
    pub state: CheckpointState,
    /// Of a new run, what takes its folder away again should it come to nothing.
    pub attempt: Option<Attempt>,
}

impl Start {
    /// Refuses a folder that is taken and a run that cannot go on.
    pub fn find(run: &TrainingRun) -> Result<Self, RunError> {
        match &run.place {
            Place::New(out) => {
                let free = out.as_deref().filter(|_| run.ranks.leads());
                free.map(RunFolder::check_free).transpose()?;
                // None of the others may come before it was looked at.
                run.ranks.wait()?;
                Ok(Self::New(out.clone()))
            }
            Place::Resume(path) => Self::go_on(path, &run.config, &run.ranks),
        }
    }

    /// In the folder of the run that `path` names, from its last checkpoint or the one that `path` is.
    /// Which one that is is up to the rank that writes.
    fn go_on(path: &Path, config: &RunConfig, ranks: &Ranks) -> Result<Self, RunError> {
        let place = folder_of(path)?;
        let (folder, checkpoint) = match ranks.leads() {
            true => {
                let folder = RunFolder::reopen(&place)?;
                let checkpoints = Checkpoints::new(&folder, config.checkpoint.keep);
                checkpoints.adopt_copies()?;
                let checkpoint = match place == path {
                    true => checkpoints.latest()?,
                    false => Some(Checkpoint::open(path)?),
                };
                ranks.tell(&checkpoint.as_ref().map(Checkpoint::path))?;
                (folder, checkpoint)
            }
            false => {
                let told: Option<PathBuf> = ranks.hear()?;
                let checkpoint = told.map(|path| Checkpoint::open(&path)).transpose()?;
                (RunFolder::followed(place.clone()), checkpoint)
            }
        };
        if let Some(checkpoint) = &checkpoint
            && !checkpoint.config.agrees_but_for_paths(config)
        {
            return Err(RunError::Resume {
                path: checkpoint.path().to_owned(),
                problem: format!(
                    "it was made with other settings than those in {}",
                    place.join(CONFIG).display()
                ),
            });
        }
        let checkpoint = checkpoint.map(Box::new);
        Ok(Self::Begun { folder, checkpoint })
    }

    /// Whether the run was begun before.
    pub fn is_begun(&self) -> bool {
        matches!(self, Self::Begun { .. })
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::New(_) => None,
            Self::Begun { checkpoint, .. } => checkpoint.as_deref(),
        }
    }

    /// Gives a new engine what it begins with: a checkpoint of this run or of another one, or the weights
    /// of a file. Without these it keeps its random ones.
    pub fn prepare(
        &self,
        engine: &mut dyn Engine,
        config: &RunConfig,
        progress: &mut dyn Progress,
    ) -> Result<(), RunError> {
        if let Some(checkpoint) = self.checkpoint() {
            return Ok(engine.load(&checkpoint.model_files())?);
        }
        if let Some(path) = &config.from {
            let from = Checkpoint::open_last(path)?;
            refuse_other_moments(&from, config)?;
            engine.load(&from.model_files())?;
            from.note().into_iter().for_each(|note| progress.note(note));
            progress.note(&format!(
                "begins with the weights and the optimiser's state of {}, taken after its step {}",
                from.path().display(),
                from.state.step
            ));
            return Ok(());
        }
        if let Some(weights) = &config.model.weights {
            let loaded = engine.load_pretrained(weights)?;
            let file = weights.display();
            for note in loaded.notes() {
                progress.note(&format!("{file}: {note}"));
            }
        }
        Ok(())
    }

    /// Whether what the loss trains and remembers begins anew: in a new run, unless it begins with another one
    /// with the same kind of loss and the same classes.
    pub fn begins_loss(
        &self,
        config: &RunConfig,
        record: &DataRecord,
        engine: &mut dyn Engine,
    ) -> Result<bool, RunError> {
        if self.checkpoint().is_some() {
            return Ok(false);
        }
        if let Some(path) = &config.from {
            let from = Checkpoint::open_last(path)?;
            let classes = from.data()?;
            let same = classes.is_some_and(|of| of.trained_classes().eq(record.trained_classes()));
            if same && from.config.loss.kind == config.loss.kind {
                return Ok(false);
            }
            engine.forget_loss();
        }
        Ok(true)
    }

    /// Whether a model has learned nothing yet: neither in this run, nor in another one, nor from a file.
    pub fn is_at_its_beginning(&self, config: &RunConfig) -> bool {
        self.checkpoint().is_none() && config.from.is_none() && config.model.weights.is_none()
    }

    /// Refuses to go on with other images than those that the run began with.
    pub fn refuse_others(
        &self,
        data: &DataSpec,
        now: &DataRecord,
        dataset: &Dataset,
        items: &Items,
    ) -> Result<(), RunError> {
        match self {
            Self::New(_) => Ok(()),
            Self::Begun { folder, checkpoint } => {
                resume::began_with(folder, checkpoint.as_deref())?
                    .refuse_others(data, now, dataset, items)
            }
        }
    }

    /// Says so if the run began on another backend.
    pub fn compare_backend(&self, backend: &str, progress: &mut dyn Progress) {
        if let Some(checkpoint) = self.checkpoint()
            && checkpoint.state.backend != backend
        {
            progress.warn(&format!(
                "the run began on {} and goes on on {backend}: numbers will differ by rounding",
                checkpoint.state.backend
            ));
        }
    }

    /// Creates the folder of a new run, or brings that of one that was begun to where it goes on.
    pub fn begin(
        self,
        run: &TrainingRun,
        images: &Images,
        backend: &str,
        progress: &mut dyn Progress,
    ) -> Result<Begun, RunError> {
        let config = &run.config;
        let data = images.record.to_json();
        let (folder, checkpoint, attempt) = match self {
            Self::Begun { folder, checkpoint } => {
                // Where the images are today is where they are looked for the next time.
                folder.update(DATA, &data)?;
                folder.update(CONFIG, config.to_toml().as_bytes())?;
                (folder, checkpoint, None)
            }
            Self::New(_) if !run.ranks.leads() => {
                (RunFolder::followed(run.ranks.hear()?), None, None)
            }
            Self::New(out) => {
                let folder = RunFolder::create(out.as_deref(), images.dataset.name())?;
                let attempt = Attempt::new(&folder);
                // The configuration comes last: with it, the folder is that of a run.
                folder.write(DATA, &data)?;
                folder.write(CONFIG, config.to_toml().as_bytes())?;
                run.ranks.tell(&folder.path())?;
                (folder, None, Some(attempt))
            }
        };
        let Items {
            train,
            validation,
            test,
        } = &images.items;
        let noun = images.dataset.noun();
        let of_ranks = match run.ranks.size() {
            1 => String::new(),
            size => format!(", {size} ranks"),
        };
        progress.note(&format!(
            "backend {backend}{of_ranks}: {} training {noun} of {} classes, {} validation and {} test {noun}, \
             writing to {}",
            train.len(),
            images.training_classes().len(),
            validation.len(),
            test.len(),
            folder.path().display(),
        ));
        let records = match &checkpoint {
            Some(checkpoint) => {
                let state = &checkpoint.state;
                Records::resume(&folder, state.records, state.step + 1)?
            }
            None => Records::create(&folder)?,
        };
        let checkpoints = Checkpoints::new(&folder, config.checkpoint.keep);
        let state = CheckpointState {
            backend: backend.to_owned(),
            data: images.record.fingerprint().to_owned(),
            ..CheckpointState::default()
        };
        let state = match checkpoint {
            Some(checkpoint) => {
                report_place(&checkpoint, config, &folder, progress);
                let mut state = CheckpointState {
                    backend: state.backend,
                    data: state.data,
                    ..checkpoint.state
                };
                if checkpoints.forget_lost_best(&mut state) {
                    progress.warn(
                        "the checkpoint that was the best so far is not there; the best is chosen among \
                         those to come",
                    );
                }
                checkpoints.point(&state)?;
                checkpoints.tidy(&state)?;
                state
            }
            None => state,
        };
        // What of the checkpoints is still there was seen by the rank that writes.
        let state = match run.ranks.leads() {
            true => run.ranks.tell(&state).map(|()| state),
            false => run.ranks.hear(),
        }?;
        Ok(Begun {
            folder,
            checkpoints,
            records,
            state,
            attempt,
        })
    }
}

/// Says where a run goes on, and where it cannot.
fn report_place(
    checkpoint: &Checkpoint,
    config: &RunConfig,
    folder: &RunFolder,
    progress: &mut dyn Progress,
) {
    progress.note(&format!(
        "goes on after step {}, from {}",
        checkpoint.state.step,
        checkpoint.path().display()
    ));
    checkpoint
        .note()
        .into_iter()
        .for_each(|note| progress.warn(note));
    if checkpoint.state.epoch >= config.epochs {
        progress.note(&format!(
            "all {} epochs are trained; for more start a new run from its weights and \
             optimiser: recall-train --from {} --set epochs=N",
            config.epochs,
            folder.path().display()
        ));
    }
}

/// Refuses to take over the moments of another kind of optimiser, which mean something else to this one,
/// and those of a model of which something else was frozen: what is frozen has none.
fn refuse_other_moments(from: &Checkpoint, config: &RunConfig) -> Result<(), RunError> {
    let (before, now) = (&from.config.optimiser, &config.optimiser);
    let different = [
        ("optimiser.kind", before.kind != now.kind),
        (
            "optimiser.freeze_stages",
            before.freeze_stages != now.freeze_stages,
        ),
        (
            "optimiser.freeze_backbone",
            before.freeze_backbone != now.freeze_backbone,
        ),
    ];
    match different.into_iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((key, _)) => Err(RunError::Start {
            path: from.path().to_owned(),
            problem: format!(
                "its optimiser has another {key}; to take the weights alone: --weights {}",
                from.weights_file().display()
            ),
        }),
    }
}
