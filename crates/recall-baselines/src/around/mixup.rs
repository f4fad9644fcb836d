//! Mixup of inputs (Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018) and of feature maps
//! (Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States", ICML 2019).

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use recall_loss::RecallBackend;

use super::beta::beta;
use crate::dense::indices;
use crate::error::{positive, require};
use crate::{Batch, LossError, MetricLoss};

/// Settings of mixup; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct InputMixupConfig {
    /// Parameter of the beta distribution that λ is drawn from. Default 1: uniform, as for CIFAR. The authors take
    /// 0.1 to 0.4 for ImageNet.
    #[config(default = 1.0)]
    pub alpha: f64,
}

impl InputMixupConfig {
    /// α = 2, which Manifold Mixup takes for feature maps.
    pub fn manifold() -> Self {
        Self::new().with_alpha(2.0)
    }

    /// Checks the settings and makes the mixup.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<InputMixup, LossError> {
        positive("alpha", self.alpha)?;
        Ok(InputMixup(self.clone()))
    }
}

/// Mixes each item of a batch with another: `x̃_i = λ x_i + (1 − λ) x_π(i)` with one `λ ~ Beta(α, α)` and one
/// permutation `π` a batch; made by [`InputMixupConfig::init`].
///
/// [`draw`](Self::draw) a [`Mixture`], [`mix`](Mixture::mix) the inputs of the model, or the feature maps or
/// embeddings anywhere in it, and take the [`loss`](Mixture::loss) of what the model makes of them.
#[derive(Debug, Clone, PartialEq)]
pub struct InputMixup(InputMixupConfig);

impl InputMixup {
    /// What a batch of `items` is mixed by. It follows from the seed alone.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if λ cannot be drawn.
    pub fn draw(&self, items: usize, seed: u64) -> Result<Mixture, LossError> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let lambda = beta(self.0.alpha, &mut random)?;
        let mut partners: Vec<usize> = (0..items).collect();
        partners.shuffle(&mut random);
        Ok(Mixture { lambda, partners })
    }
}

/// What a batch is mixed by.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    lambda: f64,
    partners: Vec<usize>,
}

impl Mixture {
    /// A mixture of `lambda` of each item and the rest of its partner.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if `lambda` is not from 0 to 1, [`LossError::Mixture`] if a partner is not an item.
    pub fn new(lambda: f64, partners: Vec<usize>) -> Result<Self, LossError> {
        require(
            (0.0..=1.0).contains(&lambda),
            "lambda",
            lambda,
            "it must be from 0 to 1",
        )?;
        match partners.iter().find(|&&partner| partner >= partners.len()) {
            Some(partner) => Err(LossError::Mixture(format!(
                "item {partner} is to be mixed into a batch of {}",
                partners.len()
            ))),
            None => Ok(Self { lambda, partners }),
        }
    }

    /// λ, the weight of an item's own part.
    pub fn lambda(&self) -> f64 {
        self.lambda
    }

    /// The item that each is mixed with.
    pub fn partners(&self) -> &[usize] {
        &self.partners
    }

    /// Mixes items, which lie along the first axis: inputs, feature maps or embeddings.
    ///
    /// # Errors
    ///
    /// [`LossError::Mixture`] if their number is another.
    pub fn mix<B: Backend, const D: usize>(
        &self,
        items: Tensor<B, D>,
    ) -> Result<Tensor<B, D>, LossError> {
        self.fits(items.dims()[0])?;
        let partners = indices(&self.partners, &items.device());
        let others = items.clone().select(0, partners);
        Ok(items.mul_scalar(self.lambda) + others.mul_scalar(1.0 - self.lambda))
    }

    /// `λ L(ẽ, y) + (1 − λ) L(ẽ, y_π)` of a batch whose embeddings are those of mixed items, `[1]`. The labels are
    /// those of the items as they came.
    ///
    /// This is meant for losses that are a mean over items, those over proxies: of pairs, only those whose
    /// partners are of one class as well would be known to be alike.
    ///
    /// # Errors
    ///
    /// Those of the loss, and [`LossError::Mixture`] if the number of items is another.
    pub fn loss<B: RecallBackend>(
        &self,
        loss: &(impl MetricLoss<B> + ?Sized),
        batch: Batch<'_, B>,
    ) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        self.fits(batch.labels.len())?;
        let labels: Vec<i64> = (self.partners.iter())
            .map(|&partner| batch.labels[partner])
            .collect();
        loss.evaluate_mixed(batch, &labels, self.lambda)
    }

    fn fits(&self, items: usize) -> Result<(), LossError> {
        match items == self.partners.len() {
            true => Ok(()),
            false => Err(LossError::Mixture(format!(
                "{items} items for a mixture of {}; draw one for each batch",
                self.partners.len()
            ))),
        }
    }
}
