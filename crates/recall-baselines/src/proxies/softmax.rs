//! What the losses share that are a softmax over proxies.

use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use crate::Places;
use crate::dense::{Dense, log, only};
use crate::rows::{
    Found, Measure, Place, RowLoss, Side, Sides, Term, exp, greatest, lanes, rows, suit, walk,
};

/// What takes the place of the similarity with the own proxy.
pub(crate) trait Target: Sync {
    /// Its value at a similarity, and its derivative there.
    fn number(&self, similarity: f64) -> (f64, f64);

    /// The same of a column of similarities, `[n, 1]`.
    fn column<B: Backend>(&self, similarities: Tensor<B, 2>) -> Tensor<B, 2>;

    /// Visits the rows of a softmax, by a call of [`walk`]: a function of each target, see [`RowLoss::visit`].
    fn visit(rows: &Softmax<'_, Self>, sides: &Sides<'_>, wanted: bool) -> Found
    where
        Self: Sized;
}

/// The similarity itself.
pub(crate) struct Plain;

impl Target for Plain {
    fn number(&self, similarity: f64) -> (f64, f64) {
        (similarity, 1.0)
    }

    fn column<B: Backend>(&self, similarities: Tensor<B, 2>) -> Tensor<B, 2> {
        similarities
    }

    fn visit(rows: &Softmax<'_, Self>, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(rows, sides, wanted)
    }
}

/// `mean_i CE(softmax_c (scale · s_ic), y_i)` with `s = e · p`, after the target has replaced those of own proxies.
pub(crate) fn softmax<B: RecallBackend>(
    target: &impl Target,
    scale: f64,
    embeddings: impl Into<Side<B>>,
    proxies: impl Into<Side<B>>,
    labels: &[i64],
) -> Tensor<B, 1> {
    let (embeddings, proxies) = (embeddings.into(), proxies.into());
    let places = Places::with_proxies(labels, proxies.dims()[0], 1);
    if suit::<B>(embeddings.dtype()) {
        return rows(&Softmax { target, scale }, embeddings, proxies, &places);
    }
    let dense = Dense::new(embeddings.tensor(), proxies.tensor(), &places);
    let similarities = dense.similarities();
    let own = target.column(only(similarities.clone(), &dense.positive).sum_dim(1));
    let shape = similarities.dims();
    let replaced = similarities.mask_where(dense.positive, own.clone().expand(shape));
    (log_sums(replaced.mul_scalar(scale)) - own.mul_scalar(scale)).mean()
}

/// The same, without a target, of rows that have two labels each: `share` of it of the first, the rest of the second.
pub(super) fn mixed_softmax<B: RecallBackend>(
    scale: f64,
    embeddings: impl Into<Side<B>>,
    proxies: impl Into<Side<B>>,
    labels: [&[i64]; 2],
    share: f64,
) -> Tensor<B, 1> {
    let (embeddings, proxies) = (embeddings.into(), proxies.into());
    let [own, partners] = labels;
    if suit::<B>(embeddings.dtype()) {
        let mixed = Mixed {
            scale,
            partners,
            share,
        };
        let places = Places::with_proxies(own, proxies.dims()[0], 1);
        return rows(&mixed, embeddings, proxies, &places);
    }
    let (embeddings, proxies) = (embeddings.tensor(), proxies.tensor());
    let [own, others] =
        labels.map(|labels| softmax(&Plain, scale, embeddings.clone(), proxies.clone(), labels));
    own.mul_scalar(share) + others.mul_scalar(1.0 - share)
}

/// `log Σ_c e^x` of each row, `[n, 1]`.
pub(crate) fn log_sums<B: Backend>(logits: Tensor<B, 2>) -> Tensor<B, 2> {
    let greatest = logits.clone().detach().max_dim(1);
    log((logits - greatest.clone()).exp().sum_dim(1)) + greatest
}

/// The rows of a softmax.
pub(crate) struct Softmax<'a, T> {
    /// What the own proxy has instead of its similarity.
    pub target: &'a T,
    /// What similarities are multiplied by.
    pub scale: f64,
}

impl<T: Target> RowLoss for Softmax<'_, T> {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        places.rows.len() as f64
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let value = cross_entropy(row, place.class.start, self.scale, self.target);
        Term::of(value)
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        T::visit(self, sides, wanted)
    }
}

/// The rows of a softmax with two labels.
struct Mixed<'a> {
    scale: f64,
    partners: &'a [i64],
    share: f64,
}

impl RowLoss for Mixed<'_> {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        places.rows.len() as f64
    }

    #[inline(always)]
    fn term(&self, _: &f64, index: usize, place: &Place, row: &mut [f32]) -> Term {
        let targets = [
            (place.class.start, self.scale * self.share),
            (
                self.partners[index] as usize,
                self.scale * (1.0 - self.share),
            ),
        ];
        let of_targets = targets.map(|(proxy, weight)| weight * f64::from(row[proxy]));
        let value = log_sum_exp(row, self.scale) - of_targets.iter().sum::<f64>();
        for (proxy, weight) in targets {
            row[proxy] -= weight as f32;
        }
        Term::of(value)
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

/// The cross-entropy of a row of similarities, which become its derivatives.
#[inline(always)]
pub(super) fn cross_entropy(row: &mut [f32], own: usize, scale: f64, target: &impl Target) -> f64 {
    let (replaced, slope) = target.number(f64::from(row[own]));
    row[own] = replaced as f32;
    let replaced = f64::from(row[own]);
    let value = log_sum_exp(row, scale) - scale * replaced;
    row[own] = (row[own] - scale as f32) * slope as f32;
    value
}

/// `log Σ e^(scale · s)` of a row of similarities, which become its derivatives. Of −∞ it is 0.
#[inline(always)]
pub(super) fn log_sum_exp(row: &mut [f32], scale: f64) -> f64 {
    let (factor, shift) = (scale as f32, greatest(row, |x| x));
    for similarity in row.iter_mut() {
        *similarity = exp(factor * (*similarity - shift));
    }
    let sum = lanes(row, |x| x);
    let each = (scale / sum) as f32;
    for probability in row.iter_mut() {
        *probability *= each;
    }
    scale * f64::from(shift) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minus_infinity_has_no_part_in_a_sum() {
        let mut row = [0.5, f32::NEG_INFINITY, 0.5];
        let value = log_sum_exp(&mut row, 4.0);
        assert!((value - (2.0 + 2.0f64.ln())).abs() < 1e-7);
        assert_eq!(row, [2.0, 0.0, 2.0]);
    }
}
