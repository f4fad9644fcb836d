//! Self-attention (Vaswani et al., NeurIPS 2017), one image and head at a time.

use pulp::Arch;
use rayon::prelude::*;

use super::exp::exp;
use super::product::{Columns, Matrix};
use super::sums::{largest, sums};

/// What each token takes from the tokens of its image, and the weights with which it does.
///
/// Packed is `[n, tokens, 3, heads, each]`, queries, keys and values; the output `[n, tokens, heads,
/// each]`, the weights `[n, heads, tokens, tokens]`, or nothing unless `keep`.
pub(crate) fn forward(
    packed: &[f32],
    n: usize,
    tokens: usize,
    heads: usize,
    each: usize,
    keep: bool,
) -> (Vec<f32>, Vec<f32>) {
    let shape = Shape {
        tokens,
        heads,
        each,
    };
    assert_eq!(packed.len(), n * shape.packed());
    let mut output = vec![0.0; n * shape.mixed()];
    let mut weights = vec![0.0; if keep { n * heads * tokens * tokens } else { 0 }];
    if output.is_empty() {
        return (output, weights);
    }
    let arch = Arch::new();
    let attend = |task: usize, weights: &mut [f32], mut output: Columns<'_>| {
        let [queries, keys, values] = shape.parts(packed, task);
        Columns::all(weights, tokens).multiply(queries, keys.transposed());
        let scale = shape.scale();
        arch.dispatch(
            #[inline(always)]
            || softmax(weights, tokens, scale),
        );
        output.multiply(Matrix::new(weights, tokens, tokens, tokens), values);
    };
    let images = output.chunks_exact_mut(shape.mixed());
    let heads: Vec<Columns<'_>> = images
        .flat_map(|image| Columns::all(image, tokens).split(each))
        .collect();
    let heads = heads.into_par_iter().enumerate();
    if keep {
        heads
            .zip(weights.par_chunks_exact_mut(tokens * tokens))
            .for_each(|((task, output), weights)| attend(task, weights, output));
    } else {
        heads.for_each_init(
            || vec![0.0; tokens * tokens],
            |weights, (task, output)| attend(task, weights, output),
        );
    }
    (output, weights)
}

/// The gradient for packed, given the weights that [`forward`] kept and `grad` for the output.
pub(crate) fn backward(
    packed: &[f32],
    weights: &[f32],
    grad: &[f32],
    n: usize,
    tokens: usize,
    heads: usize,
    each: usize,
) -> Vec<f32> {
    let shape = Shape {
        tokens,
        heads,
        each,
    };
    assert_eq!(packed.len(), n * shape.packed());
    assert_eq!(weights.len(), n * heads * tokens * tokens);
    assert_eq!(grad.len(), n * shape.mixed());
    let mut input = vec![0.0; packed.len()];
    if input.is_empty() {
        return input;
    }
    let arch = Arch::new();
    let scale = shape.scale();
    let images = input.chunks_exact_mut(shape.packed());
    let targets: Vec<[Columns<'_>; 3]> = images
        .flat_map(|image| {
            let [queries, keys, values] = thirds(image, tokens, heads * each);
            let heads = queries.split(each).zip(keys.split(each));
            let heads = heads.zip(values.split(each));
            heads.map(|((queries, keys), values)| [queries, keys, values])
        })
        .collect();
    targets
        .into_par_iter()
        .zip(weights.par_chunks_exact(tokens * tokens))
        .enumerate()
        .for_each_init(
            || vec![0.0; tokens * tokens],
            |scores, (task, (targets, weights))| {
                let [queries, keys, values] = shape.parts(packed, task);
                let [mut query_grads, mut key_grads, mut value_grads] = targets;
                let grad = shape.head(grad, task);
                let weight = Matrix::new(weights, tokens, tokens, tokens);
                value_grads.multiply(weight.transposed(), grad);
                Columns::all(scores, tokens).multiply(grad, values.transposed());
                arch.dispatch(
                    #[inline(always)]
                    || softmax_backward(scores, weights, tokens, scale),
                );
                let scores = Matrix::new(scores, tokens, tokens, tokens);
                query_grads.multiply(scores, keys);
                key_grads.multiply(scores.transposed(), queries);
            },
        );
    input
}

/// The columns of queries, keys and values.
fn thirds(image: &mut [f32], tokens: usize, width: usize) -> [Columns<'_>; 3] {
    let mut parts = Columns::all(image, tokens).split(width);
    [(); 3].map(|()| {
        parts
            .next()
            .expect("the row of a token is three times the width")
    })
}

/// Sizes of one image.
#[derive(Clone, Copy)]
struct Shape {
    tokens: usize,
    heads: usize,
    each: usize,
}

impl Shape {
    fn packed(self) -> usize {
        3 * self.mixed()
    }

    fn mixed(self) -> usize {
        self.tokens * self.heads * self.each
    }

    fn scale(self) -> f32 {
        1.0 / (self.each as f32).sqrt()
    }

    /// Queries, keys and values of an image and head, each `[tokens, each]`.
    fn parts(self, packed: &[f32], task: usize) -> [Matrix<'_>; 3] {
        let (image, head) = (task / self.heads, task % self.heads);
        let width = self.heads * self.each;
        [0, 1, 2].map(|part| {
            let first = image * self.packed() + part * width + head * self.each;
            Matrix::new(&packed[first..], self.tokens, self.each, 3 * width)
        })
    }

    /// The columns `[tokens, each]` of an image and head in `[n, tokens, heads, each]`.
    fn head(self, mixed: &[f32], task: usize) -> Matrix<'_> {
        let (image, head) = (task / self.heads, task % self.heads);
        let first = image * self.mixed() + head * self.each;
        Matrix::new(
            &mixed[first..],
            self.tokens,
            self.each,
            self.heads * self.each,
        )
    }
}

/// Makes of each row of scores, times `scale`, weights that add up to one. A row with NaN is all NaN.
#[inline(always)]
fn softmax(scores: &mut [f32], tokens: usize, scale: f32) {
    for row in scores.chunks_exact_mut(tokens) {
        let largest = largest(row);
        for score in row.iter_mut() {
            *score = exp(scale * (*score - largest));
        }
        let [sum] = sums([row], |[weight]| [weight]);
        let inverse = 1.0 / sum;
        for weight in row {
            *weight *= inverse;
        }
    }
}

/// Makes of the gradient of the weights that of the scores.
#[inline(always)]
fn softmax_backward(grads: &mut [f32], weights: &[f32], tokens: usize, scale: f32) {
    let rows = grads.chunks_exact_mut(tokens);
    for (grads, weights) in rows.zip(weights.chunks_exact(tokens)) {
        let [mean] = sums([grads, weights], |[grad, weight]| [grad * weight]);
        for (grad, &weight) in grads.iter_mut().zip(weights) {
            *grad = scale * weight * (*grad - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, assert_same_bits, random, slopes, wide};
    use super::*;

    /// `[n, tokens, heads, each]`: n, tokens, heads, each.
    type Sizes = [usize; 4];

    /// Output and weights.
    fn naive(packed: &[f64], [n, tokens, heads, each]: Sizes) -> (Vec<f64>, Vec<f64>) {
        let part = |image: usize, token: usize, part: usize, head: usize| {
            let first = (((image * tokens + token) * 3 + part) * heads + head) * each;
            &packed[first..first + each]
        };
        let mut output = vec![0.0; n * tokens * heads * each];
        let mut weights = Vec::new();
        for image in 0..n {
            for head in 0..heads {
                for to in 0..tokens {
                    let query = part(image, to, 0, head);
                    let scores = (0..tokens).map(|from| {
                        let products = query.iter().zip(part(image, from, 1, head));
                        products.map(|(a, b)| a * b).sum::<f64>() / (each as f64).sqrt()
                    });
                    let powers: Vec<f64> = scores.map(f64::exp).collect();
                    let sum: f64 = powers.iter().sum();
                    for (from, power) in powers.into_iter().enumerate() {
                        weights.push(power / sum);
                        let first = ((image * tokens + to) * heads + head) * each;
                        for (i, value) in part(image, from, 2, head).iter().enumerate() {
                            output[first + i] += power / sum * value;
                        }
                    }
                }
            }
        }
        (output, weights)
    }

    fn naive_backward(packed: &[f64], grad: &[f64], sizes: Sizes) -> Vec<f64> {
        let [n, tokens, heads, each] = sizes;
        let (_, weights) = naive(packed, sizes);
        let at = |image: usize, token: usize, part: usize, head: usize| {
            (((image * tokens + token) * 3 + part) * heads + head) * each
        };
        let mut input = vec![0.0; packed.len()];
        for image in 0..n {
            for head in 0..heads {
                for to in 0..tokens {
                    let first = ((image * tokens + to) * heads + head) * each;
                    let grad = &grad[first..first + each];
                    let first = ((image * heads + head) * tokens + to) * tokens;
                    let weights = &weights[first..first + tokens];
                    let grads: Vec<f64> = (0..tokens)
                        .map(|from| {
                            let value = &packed[at(image, from, 2, head)..][..each];
                            grad.iter().zip(value).map(|(a, b)| a * b).sum()
                        })
                        .collect();
                    let mean: f64 = grads.iter().zip(weights).map(|(a, b)| a * b).sum();
                    for from in 0..tokens {
                        let score = weights[from] * (grads[from] - mean) / (each as f64).sqrt();
                        let (query, key) = (at(image, to, 0, head), at(image, from, 1, head));
                        for i in 0..each {
                            input[query + i] += score * packed[key + i];
                            input[key + i] += score * packed[query + i];
                            input[at(image, from, 2, head) + i] += weights[from] * grad[i];
                        }
                    }
                }
            }
        }
        input
    }

    #[test]
    fn values_and_gradients_are_those_of_naive_loops() {
        for sizes in [
            [1, 1, 1, 1],
            [2, 1, 3, 4],
            [3, 7, 1, 5],
            [2, 17, 3, 16],
            [2, 50, 2, 64],
            [1, 197, 2, 64],
        ] {
            let [n, tokens, heads, each] = sizes;
            let packed = random(1, n * tokens * 3 * heads * each);
            let grad = random(2, n * tokens * heads * each);
            let (output, weights) = forward(&packed, n, tokens, heads, each, true);
            let (expected, expected_weights) = naive(&wide(&packed), sizes);
            assert_close(&output, &expected, 1e-5);
            assert_close(&weights, &expected_weights, 1e-5);
            let without = forward(&packed, n, tokens, heads, each, false);
            assert_eq!(without, (output, Vec::new()));
            let input = backward(&packed, &weights, &grad, n, tokens, heads, each);
            let expected = naive_backward(&wide(&packed), &wide(&grad), sizes);
            assert_close(&input, &expected, 1e-5);
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let sizes @ [n, tokens, heads, each] = [2, 5, 2, 3];
        let packed = random(3, n * tokens * 3 * heads * each);
        let grad = random(4, n * tokens * heads * each);
        let (_, weights) = forward(&packed, n, tokens, heads, each, true);
        let input = backward(&packed, &weights, &grad, n, tokens, heads, each);
        let grad = wide(&grad);
        let expected = slopes(&wide(&packed), |packed| {
            let output = naive(packed, sizes).0;
            output.iter().zip(&grad).map(|(a, b)| a * b).sum()
        });
        assert_close(&input, &expected, 1e-5);
    }

    #[test]
    fn large_scores_do_not_overflow() {
        // The second token's key fits both queries by far: both take its value.
        let packed = [1e3, 1.0, 5.0, 1e3, 1e3, 7.0];
        let (output, weights) = forward(&packed, 1, 2, 1, 1, true);
        assert_eq!(output, [7.0, 7.0]);
        assert_eq!(weights, [0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn nan_goes_where_the_formula_takes_it() {
        let [n, tokens, heads, each] = [2, 18, 2, 3];
        let mut packed = random(5, n * tokens * 3 * heads * each);
        // A query of the first image's token 4 and second head.
        packed[4 * 3 * heads * each + each + 1] = f32::NAN;
        let (output, weights) = forward(&packed, n, tokens, heads, each, true);
        for (index, value) in output.iter().enumerate() {
            let (token, head) = (index / (heads * each), index / each % heads);
            assert_eq!(value.is_nan(), token == 4 && head == 1);
        }
        // A key reaches all tokens of its image and head.
        packed[(4 * 3 + 1) * heads * each + each + 1] = f32::NAN;
        let (output, _) = forward(&packed, n, tokens, heads, each, false);
        for (index, value) in output.iter().enumerate() {
            let (image, head) = (index / (tokens * heads * each), index / each % heads);
            assert_eq!(value.is_nan(), image == 0 && head == 1);
        }
        let grad = random(6, output.len());
        let input = backward(&packed, &weights, &grad, n, tokens, heads, each);
        assert!(input.iter().any(|value| value.is_nan()));
        // Two infinite scores leave nothing to tell them apart.
        let packed = [1.0, f32::INFINITY, 1.0, 1.0, f32::INFINITY, 2.0];
        let (output, _) = forward(&packed, 1, 2, 1, 1, false);
        assert!(output.iter().all(|value| value.is_nan()));
    }

    #[test]
    fn no_images_no_output() {
        assert_eq!(forward(&[], 0, 5, 2, 4, true), (Vec::new(), Vec::new()));
        assert!(backward(&[], &[], &[], 0, 5, 2, 4).is_empty());
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let [n, tokens, heads, each] = [3, 50, 3, 16];
        let packed = random(7, n * tokens * 3 * heads * each);
        let grad = random(8, n * tokens * heads * each);
        assert_same_bits(|| {
            let (output, weights) = forward(&packed, n, tokens, heads, each, true);
            let input = backward(&packed, &weights, &grad, n, tokens, heads, each);
            vec![output, weights, input]
        });
    }
}
