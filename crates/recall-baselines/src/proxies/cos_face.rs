//! CosFace (Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018).

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use super::softmax::{Softmax, Target, softmax};
use super::{around_zero, proxies};
use crate::error::{not_negative, positive};
use crate::rows::{Found, Side, Sides, walk};
use crate::{Batch, LossError, MetricLoss, Parameters};

/// Settings of CosFace; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct CosFaceConfig {
    /// What cosines are multiplied by. Default 64.
    #[config(default = 64.0)]
    pub scale: f64,
    /// What is subtracted from the cosine with the own proxy. Default 0.35.
    #[config(default = 0.35)]
    pub margin: f64,
}

impl CosFaceConfig {
    /// The margin of insightface, 0.4. (CosFace_pytorch has it, too, with scale 30.)
    pub fn insightface() -> Self {
        Self::new().with_margin(0.4)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<CosFace, LossError> {
        positive("scale", self.scale)?;
        not_negative("margin", self.margin)?;
        Ok(CosFace(self.clone()))
    }
}

/// `mean_i CE(softmax_c (s (cos θ_ic − m [c = y_i])), y_i)`, where `θ_ic` is the angle between row `i` and the proxy
/// of class `c`; made by [`CosFaceConfig::init`], and trained by [`Trained`](crate::Trained).
///
/// Rows and proxies may be of any length: both are normalised. Labels are the numbers of proxies. Lonely items
/// count like all others.
#[derive(Debug, Clone, PartialEq)]
pub struct CosFace(CosFaceConfig);

impl<B: RecallBackend> MetricLoss<B> for CosFace {
    /// As insightface begins: around the origin, with a standard deviation of 0.01.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        around_zero(classes, dim, 0.01)
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies("CosFace", &batch, 1)?);
        let rows = Side::unit(batch.embeddings);
        Ok(softmax(self, self.0.scale, rows, proxies, batch.labels))
    }
}

impl Target for CosFace {
    fn number(&self, cosine: f64) -> (f64, f64) {
        (cosine - self.0.margin, 1.0)
    }

    fn column<B: Backend>(&self, cosines: Tensor<B, 2>) -> Tensor<B, 2> {
        cosines.sub_scalar(self.0.margin)
    }

    fn visit(rows: &Softmax<'_, Self>, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(rows, sides, wanted)
    }
}
