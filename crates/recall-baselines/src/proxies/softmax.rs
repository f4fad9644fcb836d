//! What the losses share that are a softmax over proxies.

use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use crate::Places;
use crate::dense::{Dense, only};
use crate::rows::{Measure, Place, RowLoss, Term, exp, lanes, rows, suit};

/// What takes the place of the similarity with the own proxy.
pub(super) trait Target: Sync {
    /// Its value at a similarity, and its derivative there.
    fn number(&self, similarity: f64) -> (f64, f64);

    /// The same of a column of similarities, `[n, 1]`.
    fn column<B: Backend>(&self, similarities: Tensor<B, 2>) -> Tensor<B, 2>;
}

/// The similarity itself.
pub(super) struct Plain;

impl Target for Plain {
    fn number(&self, similarity: f64) -> (f64, f64) {
        (similarity, 1.0)
    }

    fn column<B: Backend>(&self, similarities: Tensor<B, 2>) -> Tensor<B, 2> {
        similarities
    }
}

/// `mean_i CE(softmax_c (scale · s_ic), y_i)` with `s = e · p`, after the target has replaced those of own proxies.
pub(super) fn softmax<B: RecallBackend>(
    target: &impl Target,
    scale: f64,
    embeddings: Tensor<B, 2>,
    proxies: Tensor<B, 2>,
    labels: &[i64],
) -> Tensor<B, 1> {
    let places = Places::with_proxies(labels, proxies.dims()[0], 1);
    if suit::<B>(embeddings.dtype()) {
        return rows(&Rows { target, scale }, embeddings, proxies, &places);
    }
    let dense = Dense::new(embeddings, proxies, &places);
    let similarities = dense.similarities();
    let own = target.column(only(similarities.clone(), &dense.positive).sum_dim(1));
    let shape = similarities.dims();
    let replaced = similarities.mask_where(dense.positive, own.clone().expand(shape));
    (log_sums(replaced.mul_scalar(scale)) - own.mul_scalar(scale)).mean()
}

/// `log Σ_c e^x` of each row, `[n, 1]`.
pub(crate) fn log_sums<B: Backend>(logits: Tensor<B, 2>) -> Tensor<B, 2> {
    let greatest = logits.clone().detach().max_dim(1);
    (logits - greatest.clone()).exp().sum_dim(1).log() + greatest
}

struct Rows<'a, T> {
    target: &'a T,
    scale: f64,
}

impl<T: Target> RowLoss for Rows<'_, T> {
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
        Term { value, counted: 0 }
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
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
    let (factor, shift) = (scale as f32, greatest(row));
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

/// The greatest of some numbers; far below all others if there are none.
#[inline(always)]
pub(super) fn greatest(values: &[f32]) -> f32 {
    // Maxima beside each other, as those of one chain would wait for each other.
    const LANES: usize = 16;
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut greatest = [f32::MIN; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for lane in whole {
        for (greatest, &x) in greatest.iter_mut().zip(lane) {
            *greatest = larger(x, *greatest);
        }
    }
    for (greatest, &x) in greatest.iter_mut().zip(rest) {
        *greatest = larger(x, *greatest);
    }
    greatest.into_iter().fold(f32::MIN, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_is_found_wherever_it_is() {
        for length in [1, 15, 16, 17, 40] {
            for place in 0..length {
                let mut values = vec![-3.0; length];
                values[place] = -2.0;
                assert_eq!(greatest(&values), -2.0, "{place} of {length}");
            }
        }
        assert_eq!(greatest(&[]), f32::MIN);
    }

    #[test]
    fn what_is_minus_infinity_has_no_part_in_a_sum() {
        let mut row = [0.5, f32::NEG_INFINITY, 0.5];
        let value = log_sum_exp(&mut row, 4.0);
        assert!((value - (2.0 + 2.0f64.ln())).abs() < 1e-7);
        assert_eq!(row, [2.0, 0.0, 2.0]);
    }
}
