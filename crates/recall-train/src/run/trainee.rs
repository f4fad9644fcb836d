//! What training starts with, and what it goes on with.

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use recall_data::random::Key;

use super::Checkpoint;
use super::randomness::{MODEL, SeedFor};
use crate::{Network, Optimiser, RunConfig, RunError, load_weights};

/// What training changes.
pub(super) struct Trainee<B: AutodiffBackend> {
    pub model: Network<B>,
    pub optimiser: Optimiser<B>,
    /// The moving average of the weights, if one is wanted.
    pub average: Option<Network<B::InnerBackend>>,
}

impl<B: AutodiffBackend> Trainee<B> {
    /// What a run begins with: random weights, those of a file, or a checkpoint of another run; and what
    /// is worth a note of them.
    pub fn new(config: &RunConfig, device: &B::Device) -> Result<(Self, Vec<String>), RunError> {
        let mut notes = Vec::new();
        let key = Key {
            seed: config.seed,
            ..Key::default()
        };
        B::seed(device, key.seed_for(MODEL));
        if let Some(path) = &config.from {
            let from = Checkpoint::open_last(path)?;
            notes.extend(from.note().map(str::to_owned));
            notes.push(format!(
                "begins with the weights and the optimiser's state of {}, taken after its step {}",
                from.path().display(),
                from.state.step
            ));
            return Ok((Self::of_another_run(&from, config, device)?, notes));
        }
        let mut model = config.init_model::<B>(device);
        if let Some(weights) = &config.model.weights {
            let (filled, loaded) = load_weights(model, weights, config.patch_grid())?;
            let file = weights.display();
            notes.extend(loaded.notes().iter().map(|note| format!("{file}: {note}")));
            model = filled;
        }
        let (model, optimiser) = config.optimiser.init(model);
        let average = config.optimiser.average.map(|_| model.valid());
        let trainee = Self {
            model,
            optimiser,
            average,
        };
        Ok((trainee, notes))
    }

    /// What `checkpoint` was taken of.
    pub fn resumed(checkpoint: &Checkpoint, device: &B::Device) -> Result<Self, RunError> {
        Self::taken_up(checkpoint, &checkpoint.config, device)
    }

    /// The same, for a run with other settings.
    fn of_another_run(
        from: &Checkpoint,
        config: &RunConfig,
        device: &B::Device,
    ) -> Result<Self, RunError> {
        // The moments of one kind mean something else to the other, and what is frozen has none.
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
            None => Self::taken_up(from, config, device),
            Some((key, _)) => Err(RunError::Start {
                path: from.path().to_owned(),
                problem: format!(
                    "its optimiser has another {key}; to take the weights alone: --weights {}",
                    from.weights_file().display()
                ),
            }),
        }
    }

    fn taken_up(
        checkpoint: &Checkpoint,
        config: &RunConfig,
        device: &B::Device,
    ) -> Result<Self, RunError> {
        let model = config.init_model::<B>(device);
        let (model, _) = load_weights(model, &checkpoint.trained_file(), config.patch_grid())?;
        let (model, mut optimiser) = config.optimiser.init(model);
        optimiser.load(&model, &checkpoint.optimiser())?;
        let average = match config.optimiser.average {
            // Into a copy of the model: an average finds the weights it follows by their identity.
            Some(_) => {
                let file = checkpoint.weights_file();
                Some(load_weights(model.valid(), &file, config.patch_grid())?.0)
            }
            None => None,
        };
        Ok(Self {
            model,
            optimiser,
            average,
        })
    }
}
