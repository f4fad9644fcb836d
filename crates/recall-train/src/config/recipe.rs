//! How the paper trains.

use std::path::PathBuf;

use recall_data::{Benchmark, DataSpec, EvalTransform, SmallClasses, TrainTransform};

use super::{
    BatchConfig, BatchSize, ChunkSize, EvaluationConfig, ImageConfig, LossConfig, RunConfig,
};
use crate::{
    Backbone, Extent, ModelConfig, OptimiserConfig, OptimiserKind, Pooling, Standardisation,
};

/// A row of the paper's table, a column of it, and whether there is mixup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Paper {
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

impl Paper {
    /// Every one of them: by data set, backbone and mixup.
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for recipe in &RECIPES {
            for backbone in BACKBONES {
                all.extend([false, true].map(|mixup| Self {
                    recipe,
                    backbone,
                    mixup,
                }));
            }
        }
        all
    }

    /// That of a data set with ResNet-50, without mixup. Of one that the paper has not, Stanford Online Products.
    pub(super) fn with_resnet50(benchmark: Benchmark) -> Self {
        let recipe = RECIPES.iter().find(|recipe| recipe.benchmark == benchmark);
        Self {
            recipe: recipe.unwrap_or(&RECIPES[0]),
            backbone: Backbone::Resnet50,
            mixup: false,
        }
    }

    pub(super) fn name(&self) -> String {
        let simix = if self.mixup { "-simix" } else { "" };
        format!("{}-{}{simix}", self.recipe.benchmark, self.backbone)
    }

    /// What it is, in a line.
    pub(super) fn description(&self) -> String {
        format!(
            "{} with {} as in the paper, {} similarity mixup",
            self.recipe.title,
            self.architecture(),
            if self.mixup { "with" } else { "without" }
        )
    }

    pub(super) fn benchmark(&self) -> Benchmark {
        self.recipe.benchmark
    }

    /// The name of the data set in publications.
    pub(super) fn title(&self) -> &'static str {
        self.recipe.title
    }

    fn architecture(&self) -> &'static str {
        match self.backbone {
            Backbone::VitB32 => "ViT-B/32",
            Backbone::VitB16 => "ViT-B/16",
            _ => "ResNet-50",
        }
    }

    pub(super) fn config(&self) -> RunConfig {
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
                ..default.batch
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
                mixup: Some(self.mixup),
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
