//! Inputs that are mixed before the model sees them (mixup).

use std::ops::Range;

use burn::tensor::{Tensor, backend::Backend};
use recall_baselines::Mixture;
use recall_loss::RecallBackend;
use recall_nn::NnBackend;

use crate::on_device::embedded;
use crate::precision::Preparation;
use crate::{Embedder, Features, Inputs, Pixels};

/// Some rows of a batch, embedded by `model`: each mixed with its partner, if there is a mixture.
pub(crate) fn embedded_mixed<B: NnBackend + RecallBackend, M: Embedder<B>>(
    model: &M,
    inputs: Inputs<'_>,
    rows: Range<usize>,
    mixture: Option<&Mixture>,
    preparation: Preparation,
    device: &B::Device,
) -> Tensor<B, 2> {
    let Some(mixture) = mixture else {
        return embedded(model, inputs, rows, preparation, device);
    };
    // A configuration that mixes inputs has images of one size.
    let partners = &mixture.partners()[rows.clone()];
    let count = rows.len();
    match inputs {
        Inputs::Pixels(pixels) => {
            let [_, channels, height, width] = pixels.shape;
            let bytes = gathered(pixels.bytes, channels * height * width, partners);
            let others = Pixels {
                bytes: &bytes,
                shape: [count, channels, height, width],
            };
            let standardise = preparation.standardise;
            let own = standardise.images(pixels, rows, device);
            let others = standardise.images(others, 0..count, device);
            model.embed(preparation.taken(mix(own, others, mixture.lambda())))
        }
        Inputs::Shapes(_) => embedded(model, inputs, rows, preparation, device),
        Inputs::Features(features) => {
            let values = gathered(features.values, features.dim, partners);
            let others = Features {
                values: &values,
                dim: features.dim,
            };
            let own = features.rows(rows, device);
            let others = others.rows(0..count, device);
            model.embed_features(mix(own, others, mixture.lambda()))
        }
    }
}

fn mix<B: Backend, const D: usize>(
    own: Tensor<B, D>,
    others: Tensor<B, D>,
    lambda: f64,
) -> Tensor<B, D> {
    own.mul_scalar(lambda) + others.mul_scalar(1.0 - lambda)
}

/// The rows `of` values that lie one behind the other.
fn gathered<T: Copy>(values: &[T], size: usize, of: &[usize]) -> Vec<T> {
    let rows = of
        .iter()
        .flat_map(|&row| &values[row * size..(row + 1) * size]);
    rows.copied().collect()
}
