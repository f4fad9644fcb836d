//! Losses with a trained vector for each class.

mod arc_face;
mod cos_face;
mod norm_softmax;
mod proxy_anchor;
mod proxy_nca;
mod proxy_nca_pp;
mod soft_triple;
mod softmax;
mod sphere_face;

use burn::tensor::{Tensor, backend::Backend};

use crate::{Batch, LossError, Parameters};

pub use arc_face::{ArcFace, ArcFaceConfig};
pub use cos_face::{CosFace, CosFaceConfig};
pub use norm_softmax::{NormSoftmax, NormSoftmaxConfig};
pub use proxy_anchor::{ProxyAnchor, ProxyAnchorConfig};
pub use proxy_nca::{ProxyNca, ProxyNcaConfig};
pub use proxy_nca_pp::{ProxyNcaPp, ProxyNcaPpConfig};
pub use soft_triple::{SoftTriple, SoftTripleConfig};
pub use sphere_face::{SphereFace, SphereFaceConfig};

pub(crate) use softmax::{Plain, Softmax, log_sums, softmax};

/// The proxies of a batch whose items have those of `partners` as second labels, once all labels fit.
fn proxies_of_both<B: Backend>(
    loss: &'static str,
    batch: &Batch<'_, B>,
    partners: &[i64],
) -> Result<Tensor<B, 2>, LossError> {
    let of_partners = Batch {
        labels: partners,
        ..batch.clone()
    };
    proxies(loss, &of_partners, 1)?;
    proxies(loss, batch, 1)
}

/// The proxies of a batch, `[C · each, d]`, once labels and shapes fit: `each` vectors of a class lie one behind the other.
pub(crate) fn proxies<B: Backend>(
    loss: &'static str,
    batch: &Batch<'_, B>,
    each: usize,
) -> Result<Tensor<B, 2>, LossError> {
    let [items, dim] = batch.dims()?;
    if items == 0 {
        return Err(LossError::Lacking {
            loss,
            needs: "an item",
            items,
            remedy: "leave empty batches out",
        });
    }
    let shape = batch.parameters.as_ref().map(|proxies| proxies.dims());
    let fits =
        shape.is_some_and(|[count, width]| width == dim && count > 0 && count.is_multiple_of(each));
    let (Some(proxies), true) = (&batch.parameters, fits) else {
        let most = batch
            .labels
            .iter()
            .max()
            .map_or(1, |&label| label.max(0) as usize + 1);
        return Err(LossError::Parameters {
            loss,
            expected: [most * each, dim],
            got: shape.map_or_else(Vec::new, |shape| shape.to_vec()),
        });
    };
    let classes = proxies.dims()[0] / each;
    let wrong = |&label: &i64| label < 0 || label as usize >= classes;
    match batch.labels.iter().position(wrong) {
        Some(row) => Err(LossError::Label {
            row,
            label: batch.labels[row],
            classes,
        }),
        None => Ok(proxies.clone()),
    }
}

/// Says what a batch lacks whose items have nothing to be told from.
fn other_classes(
    loss: &'static str,
    batch: &Batch<'_, impl Backend>,
    classes: usize,
) -> Result<(), LossError> {
    match classes > 1 {
        true => Ok(()),
        false => Err(LossError::Lacking {
            loss,
            needs: "a proxy of another class",
            items: batch.labels.len(),
            remedy: "train on at least two classes",
        }),
    }
}

/// Proxies around the origin.
fn around_zero(classes: usize, dim: usize, std: f64) -> Option<Parameters> {
    Some(Parameters {
        shape: [classes, dim],
        mean: 0.0,
        std,
    })
}
