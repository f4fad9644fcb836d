//! Recipes by name: those of the paper, and the default.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use recall_data::Benchmark;

use super::features::features;
use super::keys::nearest;
use super::landmarks::Landmark;
use super::recipe::Paper;
use super::rivals::Rival;
use super::{ConfigError, RunConfig};

/// Settings under a name: `emoji`, which is the default; `features`, for a head on embeddings that there are
/// already; a recipe of the paper, such as `sop-resnet50` and, with similarity mixup, `sop-resnet50-simix`; one of
/// the losses that it is compared with, such as `sop-resnet50-smooth-ap`; or one for landmarks, such as
/// `sfm120k-resnet101-gem`.
///
/// ```
/// use recall_train::{BatchSize, ChunkSize, Extent, Preset};
///
/// let preset: Preset = "cub-vit-b16".parse()?;
/// let config = preset.config();
/// assert_eq!((config.batch.size, config.epochs), (BatchSize::Images(400), 40));
/// assert_eq!(config.batch.chunk, ChunkSize::Images(100));
/// assert_eq!(config.optimiser.milestones, [10, 20, 30].map(Extent::Whole));
/// # Ok::<(), recall_train::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset(Kind);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Emoji,
    Features,
    Paper(Paper),
    Rival(&'static Rival),
    Landmark(&'static Landmark),
}

impl Preset {
    /// The default configuration, on the embedded emoji.
    pub const EMOJI: Self = Self(Kind::Emoji);

    /// A head on rows of features, the whole set as one batch.
    pub const FEATURES: Self = Self(Kind::Features);

    /// Every preset: `emoji`, `features`, those of the paper by data set, backbone and mixup, then those of
    /// other losses and those for landmarks.
    pub fn all() -> Vec<Self> {
        let papers = Paper::all().into_iter().map(Kind::Paper);
        let rivals = Rival::all().iter().map(Kind::Rival);
        let all = [Kind::Emoji, Kind::Features].into_iter().chain(papers);
        let landmarks = Landmark::all().iter().map(Kind::Landmark);
        all.chain(rivals).chain(landmarks).map(Self).collect()
    }

    /// Its name.
    pub fn name(self) -> String {
        match self.0 {
            Kind::Emoji => "emoji".to_owned(),
            Kind::Features => "features".to_owned(),
            Kind::Paper(paper) => paper.name(),
            Kind::Rival(rival) => rival.name(),
            Kind::Landmark(landmark) => landmark.name(),
        }
    }

    /// What it is, in a line.
    pub fn description(self) -> String {
        match self.0 {
            Kind::Emoji => "The embedded emoji, in minutes on a CPU (the default)".to_owned(),
            Kind::Features => {
                "A head on embeddings that you have, the whole set as one batch (the default for them)"
                    .to_owned()
            }
            Kind::Paper(paper) => paper.description(),
            Kind::Rival(rival) => rival.description(),
            Kind::Landmark(landmark) => landmark.description(),
        }
    }

    /// The benchmark it is for, whose folder has to be named; none for `emoji` and `features`.
    pub fn benchmark(self) -> Option<Benchmark> {
        match self.0 {
            Kind::Emoji | Kind::Features => None,
            Kind::Paper(paper) => Some(paper.benchmark()),
            Kind::Rival(rival) => Some(rival.benchmark()),
            Kind::Landmark(landmark) => Some(landmark.benchmark()),
        }
    }

    /// The name of its data set in publications.
    pub fn title(self) -> &'static str {
        match self.0 {
            Kind::Emoji => "emoji",
            Kind::Features => "features",
            Kind::Paper(paper) => paper.title(),
            Kind::Rival(rival) => rival.title(),
            Kind::Landmark(landmark) => landmark.title(),
        }
    }

    /// Its settings. Those of the paper have the folder `DIR` in `data` and start from random weights, and
    /// `features` has `FILE` there: all that is for [`RunConfig::for_training`] to ask for.
    pub fn config(self) -> RunConfig {
        match self.0 {
            Kind::Emoji => RunConfig::default(),
            Kind::Features => features(),
            Kind::Paper(paper) => paper.config(),
            Kind::Rival(rival) => rival.config(),
            Kind::Landmark(landmark) => landmark.config(),
        }
    }

    /// Its settings as a document with a line about them; the folder of the data is `DIR`, the file of
    /// the weights `FILE`.
    pub fn to_toml(self) -> String {
        let mut config = self.config();
        let asked = match (self.0, self.benchmark()) {
            (Kind::Features, _) => "\n# Replace FILE by the rows of features.",
            (_, None) => "",
            (_, Some(_)) => {
                config.model.weights = Some(PathBuf::from("FILE"));
                "\n# Replace DIR and FILE by the folder of the data and the weights to start from."
            }
        };
        format!(
            "# {}: {}.{asked}\n\n{}",
            self.name(),
            self.description(),
            config.to_toml()
        )
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for Preset {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let found = Self::all().into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| ConfigError::UnknownPreset {
            name: name.to_owned(),
            nearest: nearest(name, Self::all().into_iter().map(Self::name).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use recall_data::{Sampling, SmallClasses};

    use super::super::{BatchSize, ChunkSize};
    use super::*;
    use crate::{Backbone, Extent, OptimiserKind, Pooling, Standardisation};

    /// A row of the table that was written down from the paper, apart from the code.
    #[derive(serde::Deserialize)]
    struct Row {
        preset: String,
        batch: usize,
        chunk: usize,
        epochs: u64,
        milestones: String,
        optimiser: OptimiserKind,
        learning_rate: f64,
    }

    #[test]
    fn recipes_are_those_of_the_paper() {
        let table = include_str!("../../tests/fixtures/paper-recipes.csv");
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .from_reader(table.as_bytes());
        // The default and the one for features are not in the paper.
        let mut seen = 2;
        for row in reader.deserialize() {
            let row: Row = row.unwrap();
            for simix in [false, true] {
                let name = format!("{}{}", row.preset, if simix { "-simix" } else { "" });
                let preset: Preset = name.parse().unwrap();
                let config = preset.config();
                seen += 1;
                assert_eq!(preset.name(), name);
                let (data, backbone) = (
                    preset.benchmark().unwrap().name(),
                    config.model.backbone.name(),
                );
                assert_eq!(format!("{data}-{backbone}"), row.preset);
                assert_eq!(config.batch.size, BatchSize::Images(row.batch), "{name}");
                assert_eq!(config.batch.chunk, ChunkSize::Images(row.chunk), "{name}");
                assert_eq!(config.epochs, row.epochs, "{name}");
                let milestones: Vec<Extent> = (row.milestones.split(' '))
                    .map(|epoch| Extent::Whole(epoch.parse().unwrap()))
                    .collect();
                assert_eq!(config.optimiser.milestones, milestones, "{name}");
                assert_eq!(config.optimiser.kind, row.optimiser, "{name}");
                assert_eq!(config.optimiser.learning_rate, row.learning_rate, "{name}");
                assert_eq!(config.loss.mixup, Some(simix), "{name}");
            }
        }
        let others = Rival::all().len() + Landmark::all().len();
        assert_eq!(seen + others, Preset::all().len());
    }

    fn papers() -> impl Iterator<Item = Preset> {
        let all = Preset::all().into_iter();
        all.filter(|preset| matches!(preset.0, Kind::Paper(_)))
    }

    #[test]
    fn rivals_differ_from_the_paper_in_the_loss_and_what_its_authors_say() {
        for rival in Rival::all() {
            let preset = Preset(Kind::Rival(rival));
            let config = preset.config();
            let name = preset.name();
            let benchmark = preset.benchmark().unwrap().name();
            let paper: Preset = format!("{benchmark}-resnet50").parse().unwrap();
            let mut same = config.clone();
            let paper = paper.config();
            same.loss = paper.loss.clone();
            same.batch = paper.batch.clone();
            same.model.dim = paper.model.dim;
            same.optimiser.kind = paper.optimiser.kind;
            same.optimiser.learning_rate = paper.optimiser.learning_rate;
            assert_eq!(same, paper, "{name}");
            assert_ne!(config.loss.kind, crate::LossKind::RecallAtK, "{name}");
        }
        // Every loss but that of the paper has one.
        for kind in crate::LossKind::ALL {
            let has = Rival::all()
                .iter()
                .any(|rival| rival.config().loss.kind == kind);
            assert_eq!(has, kind != crate::LossKind::RecallAtK, "{kind}");
        }
    }

    #[test]
    fn what_all_recipes_share() {
        for preset in papers() {
            let config = preset.config();
            let resnet = config.model.backbone == Backbone::Resnet50;
            assert_eq!(config.batch.samples_per_class, 4);
            assert_eq!(config.batch.small_classes, SmallClasses::LeaveOut);
            assert_eq!(config.model.dim, 512);
            let pooling = if resnet { Pooling::Gem } else { Pooling::Cls };
            assert_eq!(config.model.pooling, pooling);
            assert_eq!(config.optimiser.weight_decay, 4e-4);
            assert!(config.optimiser.decay_norms_and_biases);
            assert_eq!(config.loss.ks, Some(vec![1, 2, 4, 8, 16]));
            assert_eq!(
                (config.loss.tau_rank, config.loss.tau_k.clone()),
                (Some(0.01), Some(vec![1.0]))
            );
            let train = &config.image.train;
            assert_eq!((train.size, train.horizontal_flip), ([224, 224], 0.5));
            let crop = train.random_resized_crop.unwrap();
            assert_eq!((crop.scale, crop.ratio), ((0.08, 1.0), (0.75, 4.0 / 3.0)));
            assert_eq!((&train.random_affine, &train.colour_jitter), (&None, &None));
            assert_eq!(
                (config.image.eval.resize, config.image.eval.crop),
                (256, 224)
            );
            assert_eq!(config.image.standardise, Standardisation::IMAGENET);
            assert_eq!(config.evaluation.ks, preset.benchmark().unwrap().ks());
            assert_eq!(
                (config.evaluation.validation, config.evaluation.every),
                (0.0, 5)
            );
        }
    }

    #[test]
    fn every_preset_is_a_valid_configuration() {
        for preset in Preset::all() {
            let config = preset.config();
            let name = preset.name();
            let read = RunConfig::layered(Some(preset), None, &[]);
            assert_eq!(read.unwrap(), config, "{name}");
            let read = RunConfig::read(Some((&name, &config.to_toml())), &[]);
            assert_eq!(read.unwrap(), config, "{name}");

            config.image.train.validate().unwrap();
            config.image.eval.validate().unwrap();
            config.loss.check().unwrap();
            let ChunkSize::Images(chunk) = config.batch.chunk else {
                panic!("{name}: {}", config.batch.chunk);
            };
            if config.batch.size == BatchSize::All {
                continue;
            }
            // As many classes as the batch asks for, and the batch in whole chunks.
            assert_eq!(config.batch.size.most() % chunk, 0, "{name}");
            if config.batch.sampling == Sampling::Shuffled || config.batch.super_classes.is_some() {
                continue;
            }
            let each = config.batch.samples_per_class;
            let classes = config.batch.size.most() / each;
            let labels: Vec<u32> = (0..(each * classes) as u32)
                .map(|item| item / each as u32)
                .collect();
            let ids: Vec<usize> = (0..labels.len()).collect();
            let sampler = config.sampler().init(&ids, &labels).unwrap();
            assert_eq!(sampler.steps_per_epoch(), 1, "{name}");
        }
    }

    #[test]
    fn the_learning_rate_falls_at_each_milestone_and_nowhere_else() {
        for preset in papers() {
            let config = preset.config();
            let optimiser = &config.optimiser;
            let rate = |epoch| optimiser.learning_rate_at(epoch, epoch, config.epochs);
            assert_eq!(rate(0), optimiser.learning_rate);
            for epoch in 1..config.epochs {
                let factor = match optimiser.milestones.contains(&Extent::Whole(epoch)) {
                    true => 0.3,
                    false => 1.0,
                };
                let off = rate(epoch) / rate(epoch - 1) - factor;
                assert!(off.abs() < 1e-12, "{preset} at {epoch}");
            }
            assert_eq!(optimiser.never_reached(config.epochs), None);
        }
    }

    #[test]
    fn every_preset_is_documented_with_its_numbers() {
        let documented = super::super::page::documented();
        for preset in Preset::all() {
            let name = preset.name();
            let row = documented
                .iter()
                .find(|(first, _)| first == name.trim_end_matches("-simix"));
            let (_, cells) = row.unwrap_or_else(|| panic!("{name}"));
            let config = preset.config();
            let milestones = config.optimiser.milestones.iter();
            let milestones: Vec<String> = milestones.map(Extent::to_string).collect();
            let optimiser = format!(
                "{:?} {:e}",
                config.optimiser.kind, config.optimiser.learning_rate
            );
            let expected = [
                config.batch.size.to_string(),
                config.batch.chunk.to_string(),
                config.epochs.to_string(),
                milestones.join(", "),
                optimiser,
            ];
            assert_eq!(cells[1..], expected, "{name}");
        }
    }

    #[test]
    fn every_model_can_be_created() {
        let device = (recall_flex::BACKEND.open)(0);
        let mut made = Vec::new();
        let own = [Preset::EMOJI, Preset::FEATURES].into_iter();
        for preset in own.chain(papers()) {
            let mut config = preset.config();
            if made.contains(&config.model) {
                continue;
            }
            if config.model.backbone.takes_features() {
                config.model.features = Some(64);
            }
            let parameters = device.engine(&config.engine()).unwrap().parameters();
            let millions = match config.model.backbone {
                Backbone::Convnet | Backbone::Residual => 0..2,
                Backbone::Resnet50 => 24..26,
                _ => 85..89,
            };
            assert!(
                millions.contains(&(parameters / 1_000_000)),
                "{preset}: {parameters}"
            );
            made.push(config.model);
        }
        assert_eq!(made.len(), 5);
    }

    #[test]
    fn the_document_of_a_preset_is_the_preset() {
        for preset in Preset::all() {
            let text = preset.to_toml();
            let mut config = RunConfig::read(Some(("file", &text)), &[]).unwrap();
            let asked = preset.benchmark().is_some();
            let is_default = preset == Preset::EMOJI;
            assert_eq!(text.contains("data = \"emoji\""), is_default, "{text}");
            assert_eq!(config.model.weights.take().is_some(), asked);
            assert_eq!(config, preset.config());
        }
    }

    #[test]
    fn the_nearest_name_is_told() {
        for (given, meant) in [
            ("sop-resnet", "did you mean sop-resnet50? "),
            ("SOP-ResNet50", "did you mean sop-resnet50? "),
            ("cars-vit-b16", "did you mean cars196-vit-b16? "),
            ("xyz", ""),
        ] {
            let message = given.parse::<Preset>().unwrap_err().to_string();
            let expected =
                format!("there is no preset {given}; {meant}`recall-train presets` lists them");
            assert_eq!(message, expected);
        }
    }
}
