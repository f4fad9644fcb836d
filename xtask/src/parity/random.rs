//! Seeded random batches that take every path through the kernels, solved in f64.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use recall_loss::{Mixup, RecallAtKLossConfig};

use super::case::{Case, Outcome};
use crate::gpu::Extent;

/// Class sizes with few positives and singletons, in no order.
const FEW: &[usize] = &[1, 4, 2, 1, 3, 7, 4, 4, 1, 5];
/// With few and with many positives, both sides of the border, and singletons.
const MANY: &[usize] = &[1, 70, 33, 2, 34, 1, 4, 45];

pub fn cases(extent: Extent) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    let paper = RecallAtKLossConfig::new;
    for (shape, sizes) in [("few", FEW), ("many", MANY)] {
        for query_in_rank in [false, true] {
            for cap in [false, true] {
                let batch = Batch::random(sizes, 24, 0.5);
                let name = format!("{shape}, self {query_in_rank}, cap {cap}");
                let settings = paper().with_query_in_rank(query_in_rank).with_cap_at_k(cap);
                cases.push(batch.case(&name, settings, None)?);
            }
        }
        for tau in [0.1, 0.001] {
            let batch = Batch::random(sizes, 13, 0.5);
            let name = format!("{shape}, τ_rank {tau}");
            cases.push(batch.case(&name, paper().with_tau_rank(tau), None)?);
        }
        let batch = Batch::random(sizes, 9, 0.3);
        let settings = paper()
            .with_ks(vec![1, 5, 50, 1000])
            .with_tau_k(vec![0.5, 1.0, 2.0, 3.0]);
        cases.push(batch.case(&format!("{shape}, other k"), settings, None)?);
        let batch = Batch::random(sizes, 24, 0.5);
        let settings = paper().with_tau_rank(1e-5);
        cases.push(batch.case(&format!("{shape}, saturated"), settings, None)?);
        let batch = Batch::equal(sizes, 5);
        cases.push(batch.case(&format!("{shape}, all alike"), paper(), None)?);
    }

    for (shape, sizes) in [("few", FEW), ("many", [3, 12, 1, 9, 2].as_slice())] {
        for query_in_rank in [false, true] {
            let batch = Batch::random(sizes, 16, 0.5);
            let mixup = Mixup::all_pairs(&batch.labels, 5);
            let name = format!("{shape} mixed, self {query_in_rank}");
            let settings = paper().with_query_in_rank(query_in_rank);
            cases.push(batch.case(&name, settings, Some(mixup))?);
        }
        let batch = Batch::random(sizes, 16, 0.5);
        let (first, second) = batch.some_pairs();
        let alpha = (0..first.len()).map(|i| (i % 5) as f64 / 4.0).collect();
        let mixup = Mixup::new(first, second, alpha)?;
        cases.push(batch.case(&format!("{shape} mixed, ends of α"), paper(), Some(mixup))?);
    }
    let batch = Batch::random(&[2], 3, 0.5);
    cases.push(batch.case("two items", paper(), None)?);

    if extent == Extent::Whole {
        let batch = Batch::random(&[4; 1275], 32, 0.5);
        cases.push(batch.case("1,275 classes of 4, several blocks", paper(), None)?);
        let batch = Batch::random(&[300, 301, 4, 7, 302, 1], 64, 0.5);
        cases.push(batch.case("classes of 300", paper(), None)?);
        let batch = Batch::random(&[4; 650], 32, 0.5);
        let mixup = Mixup::all_pairs(&batch.labels, 5);
        cases.push(batch.case(
            "650 classes of 4 mixed, several blocks",
            paper(),
            Some(mixup),
        )?);
    }
    Ok(cases)
}

pub struct Batch {
    pub embeddings: Vec<f64>,
    dim: usize,
    pub labels: Vec<i64>,
}

impl Batch {
    /// Unit rows in random order, each up to `noise` away from the centre of its class.
    pub fn random(sizes: &[usize], dim: usize, noise: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(sizes.len() as u64);
        let mut rows = Vec::new();
        for (class, &size) in sizes.iter().enumerate() {
            let centre: Vec<f64> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
            for _ in 0..size {
                let stray = |centre: &f64| centre + noise * rng.random_range(-1.0..1.0);
                let row: Vec<f64> = centre.iter().map(stray).collect();
                let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                // Exactly what an f32 backend will see.
                let row: Vec<f64> = row.iter().map(|v| f64::from((v / length) as f32)).collect();
                rows.push((100 - 7 * class as i64, row));
            }
        }
        rows.shuffle(&mut rng);
        Self {
            labels: rows.iter().map(|&(label, _)| label).collect(),
            embeddings: rows.into_iter().flat_map(|(_, row)| row).collect(),
            dim,
        }
    }

    /// The same row for every item.
    fn equal(sizes: &[usize], dim: usize) -> Self {
        let mut batch = Self::random(sizes, dim, 0.5);
        let row = batch.embeddings[..batch.dim].to_vec();
        batch.embeddings = row.repeat(batch.labels.len());
        batch
    }

    /// Each item with the next one of its class, some rows more than once, one with itself.
    pub fn some_pairs(&self) -> (Vec<usize>, Vec<usize>) {
        let mut pairs = vec![(0, 0)];
        for (a, label) in self.labels.iter().enumerate() {
            let next = self.labels[a + 1..].iter().position(|other| other == label);
            pairs.extend(next.map(|distance| (a + 1 + distance, a)));
        }
        pairs.into_iter().unzip()
    }

    fn case(
        &self,
        name: &str,
        settings: RecallAtKLossConfig,
        mixup: Option<Mixup>,
    ) -> anyhow::Result<Case> {
        // A similarity is off by its last digit, and a sharper comparison sees more of that.
        let sharper = (0.001 / settings.tau_rank).max(1.0);
        Case {
            name: name.to_owned(),
            embeddings: self.embeddings.clone(),
            labels: self.labels.clone(),
            mixup,
            loss: settings.init()?,
            expected: Outcome::default(),
            bounds: (1e-5 * sharper, 1e-4 * sharper),
        }
        .solved()
    }
}
