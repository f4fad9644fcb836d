//! The losses that Recall@k is compared with, as their authors train with them: batch, sampler, length of an
//! embedding, rate of proxies and the settings of the loss are theirs. All else is as for Recall@k on the same data
//! with ResNet-50, so that what differs is the loss.

use recall_data::{Benchmark, Sampling};
use recall_engine::{
    LossConfig, LossForm, LossKind, LossStart, MemoryConfig, OptimiserKind, SynthesisConfig,
};

use super::recipe::Paper;
use super::{BatchSize, ChunkSize, RunConfig};

/// A loss and what its authors train it with.
#[derive(Debug, PartialEq)]
pub(super) struct Rival {
    /// The name of the preset, behind that of data and backbone.
    name: &'static str,
    kind: LossKind,
    benchmark: Benchmark,
    batch: usize,
    /// Images of a class in a batch; 0 for shuffled batches.
    each: usize,
    dim: usize,
    /// Kind and rate of the optimiser, where they are known to be others.
    optimiser: Option<(OptimiserKind, f64)>,
}

use Benchmark::{Cars196, Cub, Sop};
use OptimiserKind::{Adam, AdamW};

const fn rival(
    kind: LossKind,
    name: &'static str,
    benchmark: Benchmark,
    [batch, each, dim]: [usize; 3],
) -> Rival {
    Rival {
        name,
        kind,
        benchmark,
        batch,
        each,
        dim,
        optimiser: None,
    }
}

const fn with(optimiser: OptimiserKind, rate: f64, rival: Rival) -> Rival {
    Rival {
        optimiser: Some((optimiser, rate)),
        ..rival
    }
}

/// By family. Where a paper leaves the batch open, it is 128 images, 4 of each class.
static RIVALS: [Rival; 28] = [
    rival(LossKind::SmoothAp, "smooth-ap", Sop, [384, 4, 512]),
    rival(LossKind::ListwiseAp, "listwise-ap", Sop, [4096, 4, 512]),
    with(
        Adam,
        1e-5,
        rival(LossKind::FastAp, "fast-ap", Sop, [256, 4, 512]),
    ),
    rival(LossKind::BlackboxAp, "blackbox-ap", Sop, [128, 4, 512]),
    rival(
        LossKind::BlackboxRecall,
        "blackbox-recall",
        Sop,
        [128, 4, 512],
    ),
    rival(LossKind::Contrastive, "contrastive", Sop, [64, 4, 128]),
    rival(LossKind::Contrastive, "xbm", Sop, [64, 4, 128]),
    rival(LossKind::Triplet, "triplet", Cub, [128, 4, 128]),
    rival(LossKind::Margin, "margin", Cub, [70, 5, 128]),
    rival(LossKind::NPair, "n-pair", Cub, [120, 2, 512]),
    rival(LossKind::Lifted, "lifted", Sop, [128, 4, 512]),
    rival(
        LossKind::MultiSimilarity,
        "multi-similarity",
        Cub,
        [80, 5, 512],
    ),
    rival(LossKind::Histogram, "histogram", Cub, [256, 4, 512]),
    rival(LossKind::Angular, "angular", Cub, [128, 2, 512]),
    rival(LossKind::SupCon, "sup-con", Cub, [128, 4, 512]),
    rival(LossKind::InfoNce, "info-nce", Cub, [128, 4, 512]),
    rival(LossKind::ProxyNca, "proxy-nca", Cub, [32, 0, 64]),
    rival(LossKind::ProxyNcaPp, "proxy-nca-pp", Cub, [32, 4, 512]),
    with(
        AdamW,
        1e-4,
        rival(LossKind::ProxyAnchor, "proxy-anchor", Cub, [120, 0, 512]),
    ),
    rival(LossKind::SoftTriple, "soft-triple", Cub, [32, 0, 512]),
    rival(LossKind::NormSoftmax, "norm-softmax", Cub, [75, 3, 512]),
    rival(LossKind::SphereFace, "sphere-face", Cub, [128, 0, 512]),
    rival(LossKind::CosFace, "cos-face", Cub, [128, 0, 512]),
    rival(LossKind::ArcFace, "arc-face", Cub, [128, 0, 512]),
    rival(LossKind::Metrix, "metrix", Cub, [100, 4, 512]),
    rival(
        LossKind::HardNegativeMixing,
        "hard-negative-mixing",
        Cub,
        [128, 4, 512],
    ),
    rival(
        LossKind::SymmetricalSynthesis,
        "symmetrical-synthesis",
        Cub,
        [128, 2, 512],
    ),
    rival(
        LossKind::NormSoftmax,
        "proxy-synthesis",
        Cars196,
        [128, 0, 512],
    ),
];

impl Rival {
    pub(super) fn all() -> &'static [Self] {
        &RIVALS
    }

    fn paper(&self) -> Paper {
        Paper::with_resnet50(self.benchmark)
    }

    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.paper().name(), self.name)
    }

    /// What it is, in a line.
    pub(super) fn description(&self) -> String {
        format!(
            "{} with ResNet-50 and {} as its authors set it, all else as for Recall@k",
            self.title(),
            self.name
        )
    }

    pub(super) fn benchmark(&self) -> Benchmark {
        self.benchmark
    }

    /// The name of the data set in publications.
    pub(super) fn title(&self) -> &'static str {
        self.paper().title()
    }

    pub(super) fn config(&self) -> RunConfig {
        let mut config = self.paper().config();
        config.loss = self.loss();
        config.batch.size = BatchSize::Images(self.batch);
        config.batch.chunk = ChunkSize::Images(chunk(self.batch));
        match self.each {
            0 => config.batch.sampling = Sampling::Shuffled,
            each => config.batch.samples_per_class = each,
        }
        if self.kind == LossKind::FastAp {
            // Half of each batch from each of two super-classes.
            config.batch.super_classes = Some(2);
        }
        config.model.dim = self.dim;
        if let Some((kind, rate)) = self.optimiser {
            config.optimiser.kind = kind;
            config.optimiser.learning_rate = rate;
        }
        config
    }

    fn loss(&self) -> LossConfig {
        let mut loss = LossConfig::of(self.kind);
        if self.kind.has_proxies() {
            loss.parameter_rate = Some(100.0);
            loss.start = Some(LossStart::Random);
        }
        match self.name {
            "xbm" => {
                loss.memory = Some(MemoryConfig {
                    size: 55_000,
                    ..MemoryConfig::default()
                });
            }
            // Their boundaries learn at 0.1.
            "margin" => loss.parameter_rate = Some(1_000.0),
            "proxy-synthesis" => {
                loss.temperature = Some(1.0 / 23.0);
                loss.synthesis = Some(SynthesisConfig::default());
            }
            "blackbox-recall" => loss.form = Some(LossForm::LogLog),
            _ => {}
        }
        loss
    }
}

/// The largest chunk of at most 128 images that a batch is whole chunks of.
fn chunk(batch: usize) -> usize {
    let fits = |chunk: &usize| batch.is_multiple_of(*chunk);
    (1..=128).rev().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_parts_of_a_batch() {
        for (batch, expected) in [
            (64, 64),
            (128, 128),
            (384, 128),
            (4096, 128),
            (75, 75),
            (131, 1),
        ] {
            assert_eq!(chunk(batch), expected);
        }
    }
}
