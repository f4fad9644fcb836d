//! Losses against Flex: shares of a batch by the kernels, and what CubeCL's backends compute by tensor operations, which
//! is Smooth-AP and the losses of recall-baselines, which Burn differentiates.

use std::io::Write;
use std::ops::Range;

use anyhow::Context;
use burn::backend::Autodiff;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use burn_flex::Flex;
use recall_baselines::{
    ArcFaceConfig, Batch, ContrastiveConfig, FastApConfig, HardNegativeMixingConfig, MetricLoss,
    MultiSimilarityConfig, ProxyAnchorConfig, TripletConfig,
};
use recall_loss::{Mixup, Objective, RecallAtKLossConfig, RecallBackend, SmoothApConfig, plain};

use super::random;

/// How far value and gradient may be off, as a share of Flex's, where products are those of f32, and where they are
/// rounded to ten digits.
const EXACT: f64 = 1e-4;
const TF32: f64 = 5e-2;

/// Classes of two alone, which have one positive to a query, and others. Fused kernels write four numbers at a time
/// where the number of items is a multiple of four.
const PAIRS: [usize; 8] = [2; 8];
const MIXED: [usize; 7] = [1, 2, 2, 3, 2, 4, 2];
const DIM: usize = 8;

/// A batch, and the proxies that some losses compare it with.
struct Subject {
    embeddings: Vec<f32>,
    /// The same in ten digits, so that similarities are exact where products are rounded to them: a triplet is mined
    /// or not by the last digit.
    coarse: Vec<f32>,
    labels: Vec<i64>,
    mixup: Mixup,
}

/// A value and its gradient.
struct Found {
    value: f64,
    gradient: Vec<f64>,
}

/// Prints a row for each loss, and gives the number of failures. Where products are not `exact` Smooth-AP, which has no
/// kernels, is left out. `by_tensors`: whether both are computed by tensor operations of `B` itself, too. Those of
/// recall-baselines, whose kernels take a while to compile, are only looked at if `differentiated`.
pub fn check<B: RecallBackend>(
    name: &str,
    exact: bool,
    by_tensors: bool,
    differentiated: bool,
) -> anyhow::Result<usize> {
    println!(
        "\n{name}: shares and tensor operations, against the CPU\n{:<42} {:>8} {:>8}",
        "", "loss", "gradient"
    );
    let mut failures = 0;
    let mut row = |name: String, expected: &Found, found: &Found, tolerance: f64| {
        let errors = expected.errors(found);
        let ok = errors.iter().all(|error| *error <= tolerance);
        failures += usize::from(!ok);
        let [value, gradient] = errors;
        println!(
            "{name:<42} {value:>8.0e} {gradient:>8.0e}  {}",
            if ok { "ok" } else { "WRONG" }
        );
        std::io::stdout().flush()
    };
    for (shape, sizes) in [("pairs", PAIRS.as_slice()), ("mixed", &MIXED)] {
        let subject = Subject::new(sizes)?;
        for (loss, objective) in objectives()? {
            let by_kernels = matches!(objective, Objective::RecallAtK(_));
            for (shares, mixup) in [(1, None), (3, None), (2, Some(&subject.mixup))] {
                let mixed = if mixup.is_some() { ", mixup" } else { "" };
                let name = format!("{loss}, {shape}{mixed}");
                let expected = subject.in_shares::<Flex>(&objective, 1, mixup)?;
                if exact || by_kernels {
                    let found = subject.in_shares::<B>(&objective, shares, mixup)?;
                    row(
                        format!("{name}, shares: {shares}"),
                        &expected,
                        &found,
                        EXACT,
                    )?;
                }
                if by_tensors && shares < 3 {
                    let found = subject.by_plain::<B>(&objective, mixup)?;
                    row(format!("{name}, plain"), &expected, &found, EXACT)?;
                }
            }
        }
        if !differentiated {
            continue;
        }
        let tolerance = if exact { EXACT } else { TF32 };
        let ours = losses::<Autodiff<Flex>>()?;
        let theirs = losses::<Autodiff<B>>()?;
        for ((loss, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            row(
                format!("{loss}, {shape}"),
                &subject.by_autodiff::<Flex>(&**ours)?,
                &subject.by_autodiff::<B>(&**theirs)?,
                tolerance,
            )?;
        }
    }
    Ok(failures)
}

/// Blocks of few queries, so that some have but pairs, and the last has one query.
fn objectives() -> anyhow::Result<[(&'static str, Objective); 2]> {
    let recall = RecallAtKLossConfig::new().with_block_size(5).init()?;
    let smooth = SmoothApConfig::new().with_block_size(5).init()?;
    Ok([
        ("Recall@k", (&recall).into()),
        ("Smooth-AP", (&smooth).into()),
    ])
}

type Losses<B> = Vec<(&'static str, Box<dyn MetricLoss<B>>)>;

fn losses<B: RecallBackend>() -> anyhow::Result<Losses<B>> {
    let mixing = HardNegativeMixingConfig::new()
        .with_hardest(4)
        .with_mixtures(1)
        .with_query_mixtures(1);
    Ok(vec![
        (
            "triplet, semi-hard",
            Box::new(TripletConfig::tensorflow_addons().init()?),
        ),
        (
            "triplet, window",
            Box::new(TripletConfig::semihard_window().init()?),
        ),
        (
            "triplet, batch hard",
            Box::new(TripletConfig::batch_hard().init()?),
        ),
        ("contrastive", Box::new(ContrastiveConfig::cosine().init()?)),
        (
            "multi-similarity",
            Box::new(MultiSimilarityConfig::new().init()?),
        ),
        ("FastAP", Box::new(FastApConfig::new().init()?)),
        ("hard negatives mixed", Box::new(mixing.init()?)),
        ("ArcFace", Box::new(ArcFaceConfig::new().init()?)),
        ("Proxy-Anchor", Box::new(ProxyAnchorConfig::new().init()?)),
    ])
}

impl Subject {
    fn new(sizes: &[usize]) -> anyhow::Result<Self> {
        let batch = random::Batch::random(sizes, DIM, 0.5);
        let coarse = |&value: &f64| (value * 1024.0).round() as f32 / 1024.0;
        let (first, second) = batch.some_pairs();
        let alpha = (0..first.len()).map(|pair| (pair % 5) as f64 / 4.0);
        Ok(Self {
            embeddings: batch.embeddings.iter().map(|&value| value as f32).collect(),
            coarse: batch.embeddings.iter().map(coarse).collect(),
            mixup: Mixup::new(first, second, alpha.collect())?,
            // From 0 on, as losses with proxies want them.
            labels: batch.labels.iter().map(|label| (100 - label) / 7).collect(),
        })
    }

    /// The sums of what all shares come to.
    fn in_shares<B: RecallBackend>(
        &self,
        objective: &Objective,
        shares: usize,
        mixup: Option<&Mixup>,
    ) -> anyhow::Result<Found> {
        let count = self.labels.len();
        let bound = |share: usize| share * count / shares;
        let mut all = Found {
            value: 0.0,
            gradient: vec![0.0; self.embeddings.len()],
        };
        for share in 0..shares {
            let rows: Range<usize> = bound(share)..bound(share + 1);
            let labels = TensorData::new(self.labels.clone(), [count]);
            let labels = Tensor::<B, 1, Int>::from_data(labels, &Default::default());
            let part =
                objective.value_and_grad_of(rows, tensor::<B>(&self.embeddings), labels, mixup)?;
            let part = Found::new(part.loss, part.grad);
            all.value += part.value;
            for (sum, part) in all.gradient.iter_mut().zip(part.gradient) {
                *sum += part;
            }
        }
        Ok(all)
    }

    /// By tensor operations alone.
    fn by_plain<B: Backend>(
        &self,
        objective: &Objective,
        mixup: Option<&Mixup>,
    ) -> anyhow::Result<Found> {
        let batch = match objective {
            Objective::RecallAtK(loss) => loss.batch(&self.labels, mixup),
            Objective::SmoothAp(loss) => loss.batch(&self.labels, mixup),
            other => anyhow::bail!("how to make a batch for {other:?} is not known here"),
        }?;
        let (values, gradient) = plain::recall_and_grad(tensor::<B>(&self.embeddings), &batch);
        Ok(Found::new(values.mean().neg().add_scalar(1.0), gradient))
    }

    fn by_autodiff<B: RecallBackend>(
        &self,
        loss: &dyn MetricLoss<Autodiff<B>>,
    ) -> anyhow::Result<Found> {
        let embeddings = tensor::<Autodiff<B>>(&self.coarse).require_grad();
        let classes = self
            .labels
            .iter()
            .max()
            .map_or(0, |last| *last as usize + 1);
        let parameters = loss.parameters(classes, DIM).map(|parameters| {
            let [rows, columns] = parameters.shape;
            let values = (0..rows * columns).map(|at| ((at * at + 3) % 17) as f32 / 16.0 - 0.5);
            let values = TensorData::new(values.collect::<Vec<_>>(), [rows, columns]);
            Tensor::from_data(values, &Default::default())
        });
        let value = loss.evaluate(Batch {
            embeddings: embeddings.clone(),
            labels: &self.labels,
            parameters,
            seed: 5,
        })?;
        let gradients = value.backward();
        let gradient = embeddings.grad(&gradients).context("no gradient")?;
        Ok(Found::new(value.inner(), gradient))
    }
}

fn tensor<B: Backend>(rows: &[f32]) -> Tensor<B, 2> {
    let data = TensorData::new(rows.to_vec(), [rows.len() / DIM, DIM]);
    Tensor::from_data(data, &Default::default())
}

impl Found {
    fn new<B: Backend>(value: Tensor<B, 1>, gradient: Tensor<B, 2>) -> Self {
        Self {
            value: value.into_data().iter::<f64>().sum(),
            gradient: gradient.into_data().iter::<f64>().collect(),
        }
    }

    /// Of the value and of the gradient, as a share of this one.
    fn errors(&self, other: &Self) -> [f64; 2] {
        let norm = |values: &mut dyn Iterator<Item = f64>| {
            values.map(|value| value * value).sum::<f64>().sqrt()
        };
        let mut differences = self
            .gradient
            .iter()
            .zip(&other.gradient)
            .map(|(a, b)| a - b);
        [
            (self.value - other.value).abs() / self.value.abs(),
            norm(&mut differences) / norm(&mut self.gradient.iter().copied()),
        ]
    }
}
