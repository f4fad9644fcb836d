mod features;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use recall_eval::{EmbeddingsWriter, Precision, save_labels};

use super::classes::Classes;
use super::common::{BackboneArgs, CheckpointArg, CommonArgs, holds_labels};
use super::origin::Origin;
use super::output::{ForceArg, Inputs, Staged};
use super::print::print;
use super::split::SplitName;
use super::terminal::Terminal;
use super::trained::Images;
use super::whitening::WhiteningArgs;
use crate::TrainedModel;
use crate::run::{Progress, missing, sentence};

/// Options of embedding.
#[derive(Debug, Args)]
pub(super) struct EmbedArgs {
    #[command(flatten)]
    checkpoint: CheckpointArg,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    common: CommonArgs,
    /// Which images to embed.
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    split: SplitName,
    /// Rows of features for a head, .npy or .safetensors, instead of a data set: all of them, in their order,
    /// however many. Labels that the file holds are passed on.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "split"])]
    features: Option<PathBuf>,
    /// How many bits a number of an embedding has: f32, or f16, which halves the file.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = PrecisionName::F32, hide_possible_values = true)]
    precision: PrecisionName,
    #[command(flatten)]
    whitening: WhiteningArgs,
    /// Where to write: NAME.npy (labels go to NAME.labels.npy) or NAME.safetensors (with labels).
    /// Beside it: NAME.txt, the names of the images, a line each in the same order; NAME.classes.csv,
    /// the name behind each label; NAME.json, which model embedded which images.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    force: ForceArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionName {
    F32,
    F16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::F16 => Self::F16,
        }
    }
}

impl EmbedArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let checkpoint = self.backbone.of(self.checkpoint.open()?)?;
        if let Some(file) = &self.features {
            return self.embed_features(&checkpoint, file);
        }
        let images = Images::open(&self.common, &checkpoint)?;
        let dataset = &images.dataset;
        let ids = self.split.items(dataset, &checkpoint.config)?;
        let files = self.files(dataset.is_labelled());
        let mut inputs = Inputs::default();
        inputs.add_data("--data", &images.data, dataset);
        inputs.add("--checkpoint", checkpoint.path());
        self.whitening.add_to(&mut inputs);
        self.force.check(&files.all(), &inputs)?;
        let mut writer = EmbeddingsWriter::create_in(&files.embeddings, self.precision.into())?;
        let mut terminal = Terminal::new(self.common.quiet);
        terminal.notes(dataset);
        images.note(&ids, &mut terminal)?;
        let device = self.common.backend.open()?;
        let model = TrainedModel::on(&*device, checkpoint.clone())?.loading(self.common.loading());
        let model = self.whitening.behind(model)?;
        terminal.count("embedding", ids.len());
        let (mut unit_length, mut kept) = (true, Vec::with_capacity(ids.len()));
        model.embed_each(dataset, &ids, |rows, ids| {
            writer.push(rows)?;
            unit_length &= rows.is_normalised();
            kept.extend_from_slice(ids);
            terminal.counted(kept.len());
            Ok(())
        })?;
        terminal.counting_done();
        let (classes, labels) = Classes::of(dataset, &kept)?;
        let names: Vec<_> = kept
            .iter()
            .map(|&id| dataset.items()[id].name.as_str())
            .collect();

        let (rows, dim) = (writer.rows(), writer.dim());
        let split = self.split.to_possible_value();
        let split = split.map_or_else(String::new, |split| split.get_name().to_owned());
        let origin = Origin::new(&model, &images.data, split, [rows, dim], unit_length)?;
        let mut staged = Staged::default();
        if let Some(path) = &files.labels {
            staged.add(path, |place| save_labels(place, &labels))?;
        }
        staged.add_text(&files.names, &(names.join("\n") + "\n"))?;
        if let Some(path) = &files.classes {
            staged.add_text(path, &classes.to_csv()?)?;
        }
        staged.add_text(&files.origin, &origin.to_json()?)?;
        let inside = dataset.is_labelled() && files.labels.is_none();
        writer.finish(inside.then_some(&labels[..]))?;
        staged.publish()?;
        print(&format!("{rows} embeddings of {dim} numbers"))?;
        for file in files.all() {
            print(&format!("wrote  {}", file.display()))?;
        }
        if let Some(told) = sentence(missing(dataset, &ids, &kept)) {
            print(&told)?;
        }
        Ok(())
    }

    /// Images of which nobody knows the classes get no labels.
    fn files(&self, labelled: bool) -> Files {
        let beside = |ending: &str| self.output.with_extension(ending);
        let is_tensors = holds_labels(&self.output);
        Files {
            embeddings: self.output.clone(),
            labels: (labelled && !is_tensors).then(|| beside("labels.npy")),
            names: beside("txt"),
            classes: labelled.then(|| beside("classes.csv")),
            origin: Origin::path_beside(&self.output),
        }
    }
}

/// The files that are written.
struct Files {
    embeddings: PathBuf,
    /// Where there are labels, and not in the file of the embeddings.
    labels: Option<PathBuf>,
    names: PathBuf,
    /// Where there are labels.
    classes: Option<PathBuf>,
    origin: PathBuf,
}

impl Files {
    fn all(&self) -> Vec<PathBuf> {
        [
            Some(&self.embeddings),
            self.labels.as_ref(),
            Some(&self.names),
            self.classes.as_ref(),
            Some(&self.origin),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }
}
