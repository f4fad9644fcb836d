//! Recipes by name: those of the paper, and the default.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use recall_data::{Benchmark, DataSpec, EvalTransform, SmallClasses, TrainTransform};

use super::keys::nearest;
use super::{
    BatchConfig, BatchSize, ChunkSize, ConfigError, EvaluationConfig, ImageConfig, LossConfig,
    RunConfig,
};
use crate::{
    Backbone, Extent, ModelConfig, OptimiserConfig, OptimiserKind, Pooling, Standardisation,
};

/// Settings under a name: `emoji`, which is the default, or a recipe of the paper, such as
/// `sop-resnet50` and, with similarity mixup, `sop-resnet50-simix`.
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
pub struct Preset {
    /// None is the default.
    paper: Option<Paper>,
}

/// A row of the paper's table, a column of it, and whether there is mixup.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Paper {
    recipe: &'static Recipe,
    backbone: Backbone,
    mixup: bool,
}

/// How the paper trains on a data set.
#[derive(Debug, PartialEq)]
struct Recipe {
    benchmark: Benchmark,
    title: &'static str,
    /// Images in a batch.
    batch: usize,
    resnet50: Column,
    vit_b32: Column,
    vit_b16: Column,
}

/// What depends on the backbone.
#[derive(Debug, PartialEq)]
struct Column {
    /// Images with a graph at once.
    chunk: usize,
    epochs: u64,
    milestones: &'static [u64],
    learning_rate: f64,
}

const fn column(
    chunk: usize,
    epochs: u64,
    milestones: &'static [u64],
    learning_rate: f64,
) -> Column {
    Column {
        chunk,
        epochs,
        milestones,
        learning_rate,
    }
}

/// The backbones of the paper.
const BACKBONES: [Backbone; 3] = [Backbone::Resnet50, Backbone::VitB32, Backbone::VitB16];

/// The paper's table.
static RECIPES: [Recipe; 5] = [
    Recipe {
        benchmark: Benchmark::Sop,
        title: "Stanford Online Products",
        batch: 4000,
        resnet50: column(200, 55, &[25, 50], 2e-4),
        vit_b32: column(200, 55, &[25, 50], 5e-5),
        vit_b16: column(100, 55, &[25, 50], 5e-5),
    },
    Recipe {
        benchmark: Benchmark::Inat2018,
        title: "iNaturalist 2018",
        batch: 4000,
        resnet50: column(200, 90, &[40, 70], 1e-4),
        vit_b32: column(200, 90, &[10, 40, 70], 5e-5),
        vit_b16: column(100, 90, &[10, 40, 70], 5e-5),
    },
    Recipe {
        benchmark: Benchmark::VehicleId,
        title: "VehicleID",
        batch: 4000,
        resnet50: column(200, 90, &[40, 70], 1e-4),
        vit_b32: column(200, 90, &[40, 70], 1e-4),
        vit_b16: column(100, 90, &[40, 70], 5e-5),
    },
    Recipe {
        benchmark: Benchmark::Cars196,
        title: "Cars196",
        batch: 392,
        resnet50: column(98, 170, &[80, 140], 1e-4),
        vit_b32: column(98, 50, &[20, 30, 40], 3e-5),
        vit_b16: column(98, 50, &[20, 30, 40], 1e-5),
    },
    Recipe {
        benchmark: Benchmark::Cub,
        title: "CUB-200-2011",
        batch: 400,
        resnet50: column(100, 40, &[10, 20, 30], 1e-4),
        vit_b32: column(100, 40, &[10, 20, 30], 3e-5),
        vit_b16: column(100, 40, &[10, 20, 30], 1e-5),
    },
];

impl Recipe {
    fn column(&self, backbone: Backbone) -> &Column {
        match backbone {
            Backbone::VitB32 => &self.vit_b32,
            Backbone::VitB16 => &self.vit_b16,
            _ => &self.resnet50,
        }
    }
}

impl Preset {
    /// The default configuration, on the embedded emoji.
    pub const EMOJI: Self = Self { paper: None };

    /// Every preset: `emoji`, then those of the paper by data set, backbone and mixup.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::EMOJI];
        for recipe in &RECIPES {
            for backbone in BACKBONES {
                all.extend([false, true].map(|mixup| Self {
                    paper: Some(Paper {
                        recipe,
                        backbone,
                        mixup,
                    }),
                }));
            }
        }
        all
    }

    /// Its name.
    pub fn name(self) -> String {
        match self.paper {
            None => "emoji".to_owned(),
            Some(Paper {
                recipe,
                backbone,
                mixup,
            }) => {
                let simix = if mixup { "-simix" } else { "" };
                format!("{}-{backbone}{simix}", recipe.benchmark)
            }
        }
    }

    /// What it is, in a line.
    pub fn description(self) -> String {
        match self.paper {
            None => "The embedded emoji, in minutes on a CPU (the default)".to_owned(),
            Some(paper) => format!(
                "{} with {} as in the paper, {} similarity mixup",
                paper.recipe.title,
                paper.title(),
                if paper.mixup { "with" } else { "without" }
            ),
        }
    }

    /// The benchmark it is for, whose folder has to be named; none for `emoji`.
    pub fn benchmark(self) -> Option<Benchmark> {
        self.paper.map(|paper| paper.recipe.benchmark)
    }

    /// The name of its data set in publications.
    pub fn title(self) -> &'static str {
        self.paper.map_or("emoji", |paper| paper.recipe.title)
    }

    /// Its settings. Those of the paper have the folder `DIR` in `data` and start from random weights:
    /// both are for [`RunConfig::for_training`] to ask for.
    pub fn config(self) -> RunConfig {
        self.paper
            .map_or_else(RunConfig::default, |paper| paper.config())
    }

    /// Its settings as a document with a line about them; the folder of the data is `DIR`, the file of
    /// the weights `FILE`.
    pub fn to_toml(self) -> String {
        let mut config = self.config();
        let asked = match self.benchmark() {
            None => "",
            Some(_) => {
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

impl Paper {
    fn title(&self) -> &'static str {
        match self.backbone {
            Backbone::VitB32 => "ViT-B/32",
            Backbone::VitB16 => "ViT-B/16",
            _ => "ResNet-50",
        }
    }

    fn config(&self) -> RunConfig {
        let default = RunConfig::default();
        let column = self.recipe.column(self.backbone);
        let (kind, pooling) = match self.backbone {
            Backbone::Resnet50 => (OptimiserKind::Adam, Pooling::Gem),
            _ => (OptimiserKind::AdamW, Pooling::Cls),
        };
        RunConfig {
            data: DataSpec::Benchmark(self.recipe.benchmark, PathBuf::from("DIR")),
            epochs: column.epochs,
            batch: BatchConfig {
                size: BatchSize::Images(self.recipe.batch),
                samples_per_class: 4,
                chunk: ChunkSize::Images(column.chunk),
                // As the released code.
                small_classes: SmallClasses::LeaveOut,
                super_classes: None,
            },
            model: ModelConfig {
                backbone: self.backbone,
                dim: 512,
                pooling,
                dropout: 0.0,
                drop_path: 0.0,
                weights: None,
                ..default.model
            },
            loss: LossConfig {
                mixup: self.mixup,
                ..default.loss
            },
            optimiser: OptimiserConfig {
                kind,
                learning_rate: column.learning_rate,
                weight_decay: 4e-4,
                // From the first step at the full rate.
                warmup_steps: Extent::Whole(0),
                milestones: column
                    .milestones
                    .iter()
                    .copied()
                    .map(Extent::Whole)
                    .collect(),
                factor: 0.3,
                backbone_rate: 1.0,
                head_rate: 1.0,
                decay_norms_and_biases: true,
                freeze_stages: 0,
                freeze_backbone: false,
                clip_norm: None,
                average: None,
                ..default.optimiser
            },
            image: ImageConfig {
                // 224 x 224, scale 0.08 to 1, ratio 3/4 to 4/3, every other image mirrored.
                train: TrainTransform::default(),
                // 256, then the middle 224.
                eval: EvalTransform::default(),
                // The paper's for every backbone. timm's ViT weights were trained on images between -1
                // and 1 (mean and deviation 0.5): who wants that sets `image.standardise`.
                standardise: Standardisation::IMAGENET,
                ..default.image
            },
            evaluation: EvaluationConfig {
                every: 5,
                // The paper trains on all training classes.
                validation: 0.0,
                select: None,
                test_during_training: false,
                ks: self.recipe.benchmark.ks().to_vec(),
                ..default.evaluation
            },
            ..default
        }
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
    use super::*;

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
        let mut seen = 1;
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
                assert_eq!(config.loss.mixup, simix, "{name}");
            }
        }
        assert_eq!(seen, Preset::all().len());
    }

    #[test]
    fn what_all_recipes_share() {
        for preset in Preset::all().into_iter().skip(1) {
            let config = preset.config();
            let resnet = config.model.backbone == Backbone::Resnet50;
            assert_eq!(config.batch.samples_per_class, 4);
            assert_eq!(config.batch.small_classes, SmallClasses::LeaveOut);
            assert_eq!(config.model.dim, 512);
            let pooling = if resnet { Pooling::Gem } else { Pooling::Cls };
            assert_eq!(config.model.pooling, pooling);
            assert_eq!(config.optimiser.weight_decay, 4e-4);
            assert!(config.optimiser.decay_norms_and_biases);
            assert_eq!(config.loss.ks, [1, 2, 4, 8, 16]);
            assert_eq!(
                (config.loss.tau_rank, &config.loss.tau_k[..]),
                (0.01, &[1.0][..])
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
            config.loss.surrogate().init().unwrap();
            // As many classes as the batch asks for, and the batch in whole chunks.
            let classes = config.batch.size.most() / config.batch.samples_per_class;
            let labels: Vec<u32> = (0..4 * classes as u32).map(|item| item / 4).collect();
            let ids: Vec<usize> = (0..labels.len()).collect();
            let sampler = config.sampler().init(&ids, &labels).unwrap();
            assert_eq!(sampler.steps_per_epoch(), 1, "{name}");
            let ChunkSize::Images(chunk) = config.batch.chunk else {
                panic!("{name}: {}", config.batch.chunk);
            };
            assert_eq!(config.batch.size.most() % chunk, 0, "{name}");
        }
    }

    #[test]
    fn the_learning_rate_falls_at_each_milestone_and_nowhere_else() {
        for preset in Preset::all().into_iter().skip(1) {
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

    #[cfg(feature = "flex")]
    #[test]
    fn every_model_can_be_made_and_trained() {
        use burn::backend::Autodiff;
        use burn::module::Module;
        use burn_flex::Flex;

        let device = Default::default();
        let mut made = Vec::new();
        for preset in Preset::all() {
            let config = preset.config();
            if made.contains(&config.model) {
                continue;
            }
            let model = config.init_model::<Autodiff<Flex>>(&device);
            let parameters = model.num_params();
            let (model, _) = config.optimiser.init(model);
            assert_eq!(model.num_params(), parameters);
            let millions = match config.model.backbone {
                Backbone::Convnet => 0..2,
                Backbone::Resnet50 => 24..26,
                _ => 85..89,
            };
            assert!(
                millions.contains(&(parameters / 1_000_000)),
                "{preset}: {parameters}"
            );
            made.push(config.model);
        }
        assert_eq!(made.len(), 4);
    }

    #[test]
    fn the_document_of_a_preset_is_the_preset() {
        for preset in Preset::all() {
            let text = preset.to_toml();
            let mut config = RunConfig::read(Some(("file", &text)), &[]).unwrap();
            let asked = preset.benchmark().is_some();
            assert_eq!(text.contains("data = \"emoji\""), !asked, "{text}");
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
