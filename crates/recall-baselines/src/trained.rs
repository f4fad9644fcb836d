use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, backend::Backend};
use recall_loss::RecallBackend;

use crate::loss::{check_finite, drawn_seed, on_host};
use crate::{Batch, LossError, MetricLoss};

/// A loss together with what it trains: a Burn module, to be handed to an optimiser beside the model.
///
/// Proxies learn well at a rate far above that of the model: give them an optimiser of their own.
///
/// ```
/// use burn::tensor::{Distribution, Int, Tensor};
/// use recall_baselines::{NormSoftmaxConfig, Trained};
///
/// type Backend = burn::backend::Autodiff<burn_flex::Flex>;
///
/// # fn main() -> Result<(), recall_baselines::LossError> {
/// let device = Default::default();
/// // Three classes, embeddings of 8 numbers.
/// let loss = Trained::<Backend, _>::init(NormSoftmaxConfig::new().init()?, 3, 8, &device);
/// let embeddings = Tensor::random([4, 8], Distribution::Normal(0.0, 0.35), &device);
/// let labels = Tensor::<Backend, 1, Int>::from_ints([2, 0, 2, 1], &device);
///
/// let gradients = loss.forward(embeddings, labels)?.backward();
/// // What an optimiser takes as `GradientsParams::from_grads(gradients, &loss)`:
/// assert_eq!(loss.parameters.grad(&gradients).unwrap().dims(), [3, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Trained<B: Backend, L: Clone + Send + core::fmt::Debug> {
    /// Proxies, centres or boundaries, in the shape of [`MetricLoss::parameters`].
    pub parameters: Param<Tensor<B, 2>>,
    #[module(skip)]
    loss: L,
}

impl<B: RecallBackend, L: MetricLoss<B> + Clone + Send + core::fmt::Debug> Trained<B, L> {
    /// A loss with fresh parameters for `classes` classes and embeddings of `dim` numbers, drawn by the
    /// random generator of the backend. A loss that trains nothing gets an empty tensor.
    pub fn init(loss: L, classes: usize, dim: usize, device: &B::Device) -> Self {
        let parameters = loss.parameters(classes, dim);
        let parameters = parameters.map_or_else(
            || Tensor::zeros([0, dim], device),
            |parameters| parameters.draw(device),
        );
        Self::with_parameters(loss, parameters)
    }

    /// A loss with given parameters.
    pub fn with_parameters(loss: L, parameters: Tensor<B, 2>) -> Self {
        Self {
            parameters: Param::from_tensor(parameters),
            loss,
        }
    }

    /// The loss of embeddings `[n, d]` with labels `[n]`, from 0 and below the number of classes, `[1]`.
    ///
    /// # Errors
    ///
    /// [`LossError`] if the batch lacks what the loss needs, or does not fit together.
    pub fn forward(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
    ) -> Result<Tensor<B, 1>, LossError> {
        let labels = on_host(labels);
        check_finite(&embeddings)?;
        let seed = drawn_seed::<B>(&embeddings.device());
        self.loss.evaluate(Batch {
            embeddings,
            labels: &labels,
            parameters: Some(self.parameters.val()),
            seed,
        })
    }
}
