//! One set of embeddings and how long it takes to judge it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_eval::{
    Embeddings, EmptyQueries, Metric, Retrieval, evaluate, read_labels, save_labels,
};
use serde::{Deserialize, Serialize};

use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

/// What one process measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub embeddings: PathBuf,
    pub labels: PathBuf,
    pub items: usize,
    pub dim: usize,
    pub class: usize,
    pub threads: usize,
}

/// What it found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// From the embeddings in memory to all metrics.
    pub seconds: f64,
    /// What the products of all pairs take alone, at the rate of a large square product.
    pub product_seconds: f64,
    pub peak_bytes: usize,
    pub values: BTreeMap<String, f64>,
}

/// What both sides take.
const METRICS: [Metric; 6] = [
    Metric::RecallAt(1),
    Metric::RecallAt(10),
    Metric::RecallAt(100),
    Metric::RecallAt(1000),
    Metric::RPrecision,
    Metric::MapAtR,
];

/// Noise beside a class's centre: hard enough that positives lie far down some rankings.
const NOISE: f32 = 2.5;

impl Case {
    /// Makes up classes around random centres, of unit length, and writes them to files.
    pub fn write(
        folder: &Path,
        items: usize,
        dim: usize,
        class: usize,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut values = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|_| random.random::<f32>() + random.random::<f32>() - 1.0)
                .collect()
        };
        let classes = items.div_ceil(class);
        let centres = values(classes * dim);
        let labels: Vec<i64> = (0..items).map(|item| (item % classes) as i64).collect();
        let mut data = values(items * dim);
        for (row, &label) in data.chunks_exact_mut(dim).zip(&labels) {
            for (value, centre) in row.iter_mut().zip(&centres[label as usize * dim..]) {
                *value = centre + NOISE * *value;
            }
        }
        let case = Self {
            embeddings: folder.join(format!("{items}-{class}.npy")),
            labels: folder.join(format!("{items}-{class}.labels.npy")),
            items,
            dim,
            class,
            threads,
        };
        Embeddings::new(data, dim)?
            .normalised()?
            .save(&case.embeddings)?;
        save_labels(&case.labels, &labels)?;
        Ok(case)
    }

    /// By Burn's product on the CPU, of 4,000 rows, which has its best rate there.
    fn product_seconds(&self) -> f64 {
        use burn::tensor::{Distribution, Tensor};
        type Cpu = burn_flex::Flex;
        const ROWS: usize = 4_000;
        let device = Default::default();
        let rows = Tensor::<Cpu, 2>::random([ROWS, self.dim], Distribution::Default, &device);
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            let product = rows.clone().matmul(rows.clone().transpose());
            std::hint::black_box(product.into_data());
            best = best.min(start.elapsed().as_secs_f64());
        }
        best * (self.items as f64 / ROWS as f64).powi(2)
    }
}

impl Measure for Case {
    const COMMAND: &'static str = "eval-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()?;
        let embeddings = Embeddings::open(&self.embeddings)?;
        let labels = read_labels(&self.labels)?;
        let start = Instant::now();
        let evaluation = pool.install(|| {
            let ranks = Retrieval::each_against_rest(&embeddings, &labels)?.ranks()?;
            evaluate(&ranks, &METRICS, EmptyQueries::Skip)
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let peak_bytes = peak_memory()?;
        let values = evaluation.values.iter();
        Ok(Measured {
            seconds,
            product_seconds: self.product_seconds(),
            peak_bytes,
            values: values
                .map(|(metric, value)| (metric.to_string(), *value))
                .collect(),
        })
    }
}
