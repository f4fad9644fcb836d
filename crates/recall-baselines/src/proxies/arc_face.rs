//! ArcFace (Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019).

use std::f64::consts::PI;

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use super::softmax::{Softmax, Target, softmax};
use super::{around_zero, proxies};
use crate::dense::root;
use crate::error::{positive, require};
use crate::rows::{Found, Side, Sides, walk};
use crate::{Batch, LossError, MetricLoss, Parameters};

/// Settings of ArcFace; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct ArcFaceConfig {
    /// What cosines are multiplied by. Default 64.
    #[config(default = 64.0)]
    pub scale: f64,
    /// What is added to the angle with the own proxy, in radians. Default 0.5, which is 28.6°.
    #[config(default = 0.5)]
    pub margin: f64,
    /// Whether `cos θ − m sin m` stands for `cos(θ + m)` where `θ + m` exceeds π and the cosine would rise
    /// again, as in the authors' first code. Default true.
    #[config(default = true)]
    pub fallback: bool,
    /// Whether the derivative of the target by the cosine is taken to be 1, as insightface's PyTorch code has it, and
    /// not `sin(θ + m) / sin θ`. The value is the same. Default false.
    #[config(default = false)]
    pub straight_through: bool,
}

impl ArcFaceConfig {
    /// The loss as insightface's PyTorch code trains it: the margin has no part in the gradient of the target,
    /// and there is no fallback.
    pub fn insightface() -> Self {
        Self::new().with_fallback(false).with_straight_through(true)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<ArcFace, LossError> {
        positive("scale", self.scale)?;
        require(
            (0.0..PI).contains(&self.margin),
            "margin",
            self.margin,
            "it must be an angle in radians, from 0 and below π",
        )?;
        Ok(ArcFace(self.clone()))
    }
}

/// `mean_i CE(softmax_c (s cos(θ_ic + m [c = y_i])), y_i)`, where `θ_ic` is the angle between row `i` and the proxy
/// of class `c`; made by [`ArcFaceConfig::init`], and trained by [`Trained`](crate::Trained).
///
/// Rows and proxies may be of any length: both are normalised. Labels are the numbers of proxies. Lonely items
/// count like all others. No arc cosine is taken, so that cosines of ±1, or beyond by rounding, do no harm.
///
/// Elsewhere: insightface's PyTorch code takes arc cosines of cosines above 1, which is NaN; Revisiting Deep
/// Metric Learning clamps cosines at 0, where they lose their gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct ArcFace(ArcFaceConfig);

impl<B: RecallBackend> MetricLoss<B> for ArcFace {
    /// As insightface begins: around the origin, with a standard deviation of 0.01.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        around_zero(classes, dim, 0.01)
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies("ArcFace", &batch, 1)?);
        let rows = Side::unit(batch.embeddings);
        Ok(softmax(self, self.0.scale, rows, proxies, batch.labels))
    }
}

impl Target for ArcFace {
    fn number(&self, cosine: f64) -> (f64, f64) {
        let (turn, lift) = self.0.margin.sin_cos();
        let (target, slope) = match self.0.fallback && cosine < -lift {
            true => (cosine - self.0.margin * turn, 1.0),
            false => {
                let sine = ((1.0 - cosine) * (1.0 + cosine)).max(0.0).sqrt();
                let falling = if sine > 0.0 { cosine / sine } else { 0.0 };
                (cosine * lift - sine * turn, lift + falling * turn)
            }
        };
        match self.0.straight_through {
            true => (target, 1.0),
            false => (target, slope),
        }
    }

    fn column<B: Backend>(&self, cosines: Tensor<B, 2>) -> Tensor<B, 2> {
        let (turn, lift) = self.0.margin.sin_cos();
        let squares = cosines.clone().neg().add_scalar(1.0) * cosines.clone().add_scalar(1.0);
        let target = cosines.clone().mul_scalar(lift) - root(squares).mul_scalar(turn);
        let target = match self.0.fallback {
            false => target,
            true => {
                let instead = cosines.clone().sub_scalar(self.0.margin * turn);
                target.mask_where(cosines.clone().lower_elem(-lift), instead)
            }
        };
        match self.0.straight_through {
            true => cosines.clone() + (target - cosines).detach(),
            false => target,
        }
    }

    fn visit(rows: &Softmax<'_, Self>, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(rows, sides, wanted)
    }
}
