//! Recipes for landmarks: ResNet-101 with GeM and a projection that whitens, judged by whole images of up to 1,024 pixels
//! at three sizes, as this literature does it.
//!
//! Of GeM (Radenović, Tolias and Chum, TPAMI 2019) network, loss, margin, rate, decay and sizes are those of its released
//! code, and of listwise AP (Revaud et al., ICCV 2019) batch, rate and size of training images. For Recall@k and
//! Smooth-AP on Google Landmarks v2 no recipe is published in full: theirs is that of listwise AP with another loss.

use std::path::PathBuf;

use recall_data::{Benchmark, DataSpec, EvalTransform, TrainTransform};
use recall_engine::{
    Extent, Head, LossConfig, LossForm, LossKind, ModelConfig, OptimiserConfig, OptimiserKind,
    Pooling,
};

use super::{BatchConfig, BatchSize, ChunkSize, EvaluationConfig, ImageConfig, RunConfig};
use crate::{Backbone, Standardisation};

/// A data set and a loss, and what is trained with them.
#[derive(Debug, PartialEq)]
pub(super) struct Landmark {
    benchmark: Benchmark,
    title: &'static str,
    /// The name of the preset, behind that of data and backbone.
    name: &'static str,
    kind: LossKind,
    batch: usize,
    chunk: usize,
    /// Images of a class in a batch.
    each: usize,
    epochs: u64,
    learning_rate: f64,
    /// Side of the squares that are trained on, or of those whose area images have in their ratio.
    side: usize,
    keep_ratio: bool,
}

static LANDMARKS: [Landmark; 4] = [
    Landmark {
        benchmark: Benchmark::Sfm120k,
        title: "Retrieval-SfM-120k",
        name: "gem",
        kind: LossKind::Contrastive,
        batch: 256,
        chunk: 32,
        each: 2,
        epochs: 100,
        learning_rate: 5e-7,
        // A photograph, 4:3, becomes 272 x 363 pixels then: its longest side is that of the released code, 362.
        side: 314,
        keep_ratio: true,
    },
    google("recall-at-k", LossKind::RecallAtK),
    google("smooth-ap", LossKind::SmoothAp),
    google("listwise-ap", LossKind::ListwiseAp),
];

const fn google(name: &'static str, kind: LossKind) -> Landmark {
    Landmark {
        benchmark: Benchmark::Gldv2,
        title: "Google Landmarks v2",
        name,
        kind,
        batch: 4096,
        chunk: 32,
        each: 4,
        // 352 steps; its authors take 200 on a smaller set.
        epochs: 1,
        learning_rate: 1e-4,
        side: 800,
        keep_ratio: false,
    }
}

impl Landmark {
    pub(super) fn all() -> &'static [Self] {
        &LANDMARKS
    }

    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}", self.benchmark, Backbone::Resnet101, self.name)
    }

    /// What it is, in a line.
    pub(super) fn description(&self) -> String {
        let what = match self.name {
            "gem" => "GeM by its authors' loss, rate and sizes; batches replace their pairs",
            "listwise-ap" => "listwise AP by its authors' batch, rate and size",
            other => &format!("{other} in place of listwise AP"),
        };
        format!("{} with ResNet-101 and {what}", self.title)
    }

    pub(super) fn benchmark(&self) -> Benchmark {
        self.benchmark
    }

    /// The name of the data set in publications.
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    pub(super) fn config(&self) -> RunConfig {
        let default = RunConfig::default();
        RunConfig {
            data: DataSpec::Benchmark(self.benchmark, PathBuf::from("DIR")),
            epochs: self.epochs,
            batch: BatchConfig {
                size: BatchSize::Images(self.batch),
                samples_per_class: self.each,
                chunk: ChunkSize::Images(self.chunk),
                ..default.batch
            },
            model: ModelConfig {
                backbone: Backbone::Resnet101,
                dim: 2048,
                pooling: Pooling::Gem,
                head: Head::Whitening,
                weights: None,
                ..default.model
            },
            loss: self.loss(),
            optimiser: OptimiserConfig {
                kind: OptimiserKind::Adam,
                learning_rate: self.learning_rate,
                weight_decay: 1e-4,
                warmup_steps: Extent::Whole(0),
                // By e^-0.01 each epoch over 100 of them, or in a straight line to nothing: here in nine steps.
                milestones: (1..10)
                    .map(|tenth| Extent::Share(f64::from(tenth) / 10.0))
                    .collect(),
                factor: match self.kind {
                    LossKind::Contrastive => 0.905,
                    _ => 0.75,
                },
                backbone_rate: 1.0,
                // As the exponent of GeM in its released code.
                head_rate: 10.0,
                decay_norms_and_biases: true,
                freeze_stages: 0,
                freeze_backbone: false,
                clip_norm: None,
                average: None,
                ..default.optimiser
            },
            image: ImageConfig {
                keep_ratio: self.keep_ratio,
                // The whole image.
                train: TrainTransform {
                    size: [self.side; 2],
                    random_resized_crop: None,
                    horizontal_flip: 0.0,
                    random_affine: None,
                    colour_jitter: None,
                },
                eval: EvalTransform {
                    longest_side: Some(1024),
                    ..EvalTransform::default()
                },
                standardise: Standardisation::IMAGENET,
                ..default.image
            },
            evaluation: EvaluationConfig {
                scales: vec![1.0, 0.5_f64.sqrt(), 0.5],
                ks: vec![1, 10],
                // Eight images of 1,024 x 1,024 at once.
                chunk: 168,
                ..default.evaluation
            },
            ..default
        }
    }

    fn loss(&self) -> LossConfig {
        match self.kind {
            LossKind::Contrastive => LossConfig {
                margin: Some(0.85),
                ..LossConfig::of_form(self.kind, Some(LossForm::Squared), None)
            },
            LossKind::RecallAtK => LossConfig {
                mixup: Some(false),
                ..LossConfig::of(self.kind)
            },
            kind => LossConfig::of(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_judged_whole_and_at_three_sizes() {
        for landmark in Landmark::all() {
            let config = landmark.config();
            config.check().unwrap();
            let passes = config.passes();
            assert_eq!(passes.chunk, 8, "{}", landmark.name());
            assert_eq!(passes.scales.factors.len(), 3);
            assert_eq!(config.largest_judged(), [1024, 1024]);
            assert!(!config.judges_one_size());
        }
    }
}
