//! The classes that a checkpoint was trained on, beside the images that a command takes.

use std::sync::Arc;

use anyhow::bail;
use clap::ValueEnum;
use recall_data::{DataSpec, Dataset, ItemId, Protocol};
use serde::Serialize;

use super::common::{CommonArgs, DistractorArgs};
use super::terminal::Terminal;
use crate::run::{Checkpoint, PartRecord, SeenClasses, reopen};
use crate::{RunError, judge::Judgement};

/// What is done with test images of classes that were trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TrainedClasses {
    /// Nothing is judged.
    Refuse,
    /// The other classes are judged.
    LeaveOut,
    /// All are judged, and the figures say so.
    Judge,
}

/// A checkpoint and the images it is set to.
pub(super) struct Images<'a> {
    checkpoint: &'a Checkpoint,
    pub data: DataSpec,
    pub dataset: Arc<Dataset>,
}

/// The images that are judged.
pub(super) struct Judged {
    pub ids: Vec<ItemId>,
    /// Those of trained classes, if there were some, and whether they are among `ids`.
    trained: Option<(SeenClasses, bool)>,
}

/// A judgement with what has to be said of the classes in it.
#[derive(Serialize)]
struct Labelled<'a> {
    #[serde(flatten)]
    judgement: &'a Judgement,
    #[serde(skip_serializing_if = "Option::is_none")]
    trained_classes: Option<Label>,
}

#[derive(Serialize)]
struct Label {
    classes: usize,
    of: usize,
    images: usize,
    judged: bool,
}

impl<'a> Images<'a> {
    /// The data set of `--data`, or the one that the checkpoint was trained on.
    pub fn open(args: &CommonArgs, checkpoint: &'a Checkpoint) -> anyhow::Result<Self> {
        Self::open_with(args, &DistractorArgs::default(), checkpoint)
    }

    /// The same with distractors in its gallery, if some were named.
    pub fn open_with(
        args: &CommonArgs,
        distractors: &DistractorArgs,
        checkpoint: &'a Checkpoint,
    ) -> anyhow::Result<Self> {
        let config = &checkpoint.config;
        let corrupt = args.loading().corrupt;
        let (data, dataset) = match args.data()? {
            Some(data) => {
                let dataset = config.image.open(&data, corrupt)?;
                (data, dataset)
            }
            None => {
                let dataset = reopen(&config.image, &config.data, corrupt)?;
                (config.data.clone(), dataset)
            }
        };
        let dataset = distractors.added(dataset, |others| others.open_for(corrupt))?;
        check_inputs(checkpoint, &data, &dataset)?;
        Ok(Self {
            checkpoint,
            data,
            dataset: Arc::new(dataset),
        })
    }

    /// Of the test images `ids`, those to judge.
    ///
    /// # Errors
    ///
    /// Classes that were trained on, if they are refused, or no others.
    pub fn judged(
        &self,
        ids: &[ItemId],
        policy: TrainedClasses,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Judged> {
        let all = Judged {
            ids: ids.to_vec(),
            trained: None,
        };
        // Where lists say what to find, classes mean nothing.
        if self.dataset.protocols() == [Protocol::Lists] {
            return Ok(all);
        }
        let Some(record) = self.checkpoint.data()? else {
            terminal.say(&format!(
                "{} was written by an earlier version, which did not record the classes that it was \
                 trained on: some of the test classes may be among them",
                self.checkpoint.path().display()
            ));
            return Ok(all);
        };
        let now = PartRecord::new(&self.dataset, ids)?;
        let Some(differences) = record.test_differences(&now) else {
            return Ok(all);
        };
        if self.data.absolute().ok() == self.checkpoint.config.data.absolute().ok() {
            terminal.say(&format!(
                "the test images of {} are not those that the run began with: {differences}",
                self.data
            ));
        }
        let seen = record.seen_classes(&self.data, &self.dataset, ids)?;
        if seen.names.is_empty() {
            return Ok(all);
        }
        let said = seen.said("test classes");
        if seen.as_in_the_run {
            terminal.say(&format!("{said}, as in the run itself"));
            return Ok(all);
        }
        match policy {
            TrainedClasses::Refuse => bail!(
                "{said}, so these are no test of unseen classes; --trained-classes leave-out judges the \
                 others, --trained-classes judge judges all and says so"
            ),
            TrainedClasses::Judge => Ok(Judged {
                trained: Some((seen, true)),
                ..all
            }),
            TrainedClasses::LeaveOut => {
                let ids: Vec<ItemId> = (ids.iter().copied())
                    .filter(|id| seen.images.binary_search(id).is_err())
                    .collect();
                if ids.is_empty() {
                    bail!("{said}: without them nothing is left to judge");
                }
                terminal.say(&format!("{said}: they are left out"));
                Ok(Judged {
                    ids,
                    trained: Some((seen, false)),
                })
            }
        }
    }

    /// Says how many of the images `ids` are of trained classes, if any are.
    pub fn note(&self, ids: &[ItemId], terminal: &mut Terminal) -> Result<(), RunError> {
        let Some(record) = self.checkpoint.data()? else {
            return Ok(());
        };
        let seen = record.seen_classes(&self.data, &self.dataset, ids)?;
        if !seen.names.is_empty() {
            let (images, all) = (seen.images.len(), ids.len());
            let said = seen.said("classes");
            terminal.say(&format!("{said}: {images} of the {all} images"));
        }
        Ok(())
    }
}

/// A backbone embeds images, and a head rows of as many numbers as it was trained on.
fn check_inputs(checkpoint: &Checkpoint, data: &DataSpec, dataset: &Dataset) -> anyhow::Result<()> {
    let model = &checkpoint.config.model;
    let place = checkpoint.path().display();
    match (model.features, dataset.features().map(|rows| rows.dim())) {
        (None, None) => Ok(()),
        (Some(wanted), Some(found)) if wanted == found => Ok(()),
        (Some(wanted), Some(found)) => {
            bail!("the rows of {data} have {found} numbers, and the head of {place} takes {wanted}")
        }
        (Some(wanted), None) => bail!(
            "the head of {place} takes rows of {wanted} numbers, and {data} has images: give --data \
             embeddings:FILE"
        ),
        (None, Some(_)) => bail!(
            "{} of {place} takes images, and {data} has rows of features",
            model.backbone
        ),
    }
}

impl Judged {
    /// All of `ids`, whatever was trained on.
    pub fn all(ids: Vec<ItemId>) -> Self {
        Self { ids, trained: None }
    }

    /// The judgement for people: with a line about trained classes in it.
    pub fn text(&self, judgement: &Judgement) -> String {
        match &self.trained {
            Some((seen, true)) => {
                let said = seen.said("test classes");
                format!("{judgement}\n{said}: not a test of unseen classes alone")
            }
            _ => judgement.to_string(),
        }
    }

    /// The same for programs.
    pub fn json(&self, judgement: &Judgement) -> serde_json::Result<String> {
        let label = |(seen, judged): &(SeenClasses, bool)| Label {
            classes: seen.names.len(),
            of: seen.of,
            images: seen.images.len(),
            judged: *judged,
        };
        serde_json::to_string(&Labelled {
            judgement,
            trained_classes: self.trained.as_ref().map(label),
        })
    }
}
