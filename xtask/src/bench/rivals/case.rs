//! Our side of a case.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use serde::{Deserialize, Serialize};

use super::inputs;
use super::kind::Kind;
use super::work::{Backend, step};
use crate::bench::agreement::Computed;
use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

/// A loss and a batch, whose numbers are in a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub kind: Kind,
    pub items: usize,
    pub dim: usize,
    pub classes: usize,
    pub folder: PathBuf,
    /// How often the time is taken.
    pub repeat: usize,
}

/// What is measured of a case, ours or a peer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Of a step, forward and backward: the median.
    pub seconds: f64,
    /// The least and the most.
    pub range: [f64; 2],
    pub loss: f64,
    /// Euclidean norm of the gradient with respect to the embeddings.
    pub grad_norm: f64,
    /// The same without what is along the embeddings, which is nothing to whoever normalises them.
    pub tangent_grad_norm: f64,
    /// Of the whole process.
    pub peak_mb: f64,
    /// The part of it that was there before the case was.
    #[serde(alias = "import_mb")]
    pub start_mb: f64,
}

impl Measured {
    /// What has to be the same on both sides.
    pub fn computed(&self) -> Computed {
        Computed {
            loss: self.loss,
            grad_norm: self.grad_norm,
        }
    }

    /// The same of whoever normalises the embeddings.
    pub fn computed_along_the_sphere(&self) -> Computed {
        Computed {
            loss: self.loss,
            grad_norm: self.tangent_grad_norm,
        }
    }

    /// What the case took beside the program.
    pub fn case_mb(&self) -> f64 {
        self.peak_mb - self.start_mb
    }
}

/// No more repetitions after this, as in `peers/rivals.py`.
const ENOUGH: Duration = Duration::from_secs(60);

impl Measure for Case {
    const COMMAND: &'static str = "rivals-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Measured> {
        let start_mb = peak_memory()? as f64 / 1e6;
        let leaf = |values: Vec<f32>, rows: usize| {
            let width = values.len() / rows;
            let data = TensorData::new(values, [rows, width]);
            Tensor::<Backend, 2>::from_data(data, &Default::default()).require_grad()
        };
        let embeddings = leaf(inputs::floats(&self.folder, "embeddings.f32")?, self.items);
        let parameters = match self.kind {
            Kind::Margin => Some(("beta.f32", self.classes)),
            Kind::HardNegativeMixing => Some(("keys.f32", self.items)),
            kind => kind
                .proxies()
                .map(|each| ("proxies.f32", each * self.classes)),
        };
        let parameters = parameters
            .map(|(name, rows)| anyhow::Ok(leaf(inputs::floats(&self.folder, name)?, rows)))
            .transpose()?;
        let step = step(self)?;
        let timed = || -> anyhow::Result<(f64, Tensor<Backend, 1>, Tensor<Flex, 2>)> {
            let start = Instant::now();
            let loss = step(embeddings.clone(), parameters.clone())?;
            let gradients = loss.backward();
            let seconds = start.elapsed().as_secs_f64();
            let gradient = embeddings.grad(&gradients);
            Ok((seconds, loss, gradient.context("there is no gradient")?))
        };

        let begin = Instant::now();
        let (_, loss, gradient) = timed()?;
        let mut times = Vec::with_capacity(self.repeat);
        while times.is_empty() || (times.len() < self.repeat && begin.elapsed() < ENOUGH) {
            times.push(timed()?.0);
        }
        times.sort_by(f64::total_cmp);
        let peak_mb = peak_memory()? as f64 / 1e6;
        let loss = loss.into_data().iter::<f64>().sum();
        let [grad_norm, tangent_grad_norm] = self.norms(gradient, embeddings.inner());
        ensure!(
            f64::is_finite(loss) && grad_norm.is_finite(),
            "the loss is {loss} and the norm of its gradient {grad_norm}"
        );
        Ok(Measured {
            seconds: times[times.len() / 2],
            range: [times[0], times[times.len() - 1]],
            loss,
            grad_norm,
            tangent_grad_norm,
            peak_mb,
            start_mb,
        })
    }
}

impl Case {
    /// Of a gradient, and of what of it is not along the rows.
    fn norms(&self, gradient: Tensor<Flex, 2>, rows: Tensor<Flex, 2>) -> [f64; 2] {
        let [gradient, rows] = [gradient, rows].map(|of| {
            let data = of.into_data();
            data.iter::<f64>().collect::<Vec<_>>()
        });
        let (mut all, mut tangent) = (0.0, 0.0);
        for (slope, row) in gradient.chunks(self.dim).zip(rows.chunks(self.dim)) {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            let along = dot(slope, row) / dot(row, row);
            all += dot(slope, slope);
            let across = slope.iter().zip(row).map(|(g, x)| (g - along * x).powi(2));
            tangent += across.sum::<f64>();
        }
        [all.sqrt(), tangent.sqrt()]
    }
}
