//! Triplets as tensor operations: a pass over the matrix for each member of a class.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Int, Tensor, TensorData};
use recall_loss::{RecallBackend, plain::gather_in_rows};

use super::{Triplet, TripletMining};
use crate::Places;
use crate::dense::{Dense, only};

/// Stands for a distance beyond all others.
const FAR: f64 = 1e30;

impl Triplet {
    /// The sum of the terms of one negative for a positive, and how many are not zero.
    pub(super) fn dense_choice<B: RecallBackend>(
        &self,
        of: &Dense<B>,
        distances: Tensor<B, 2>,
        places: &Places,
    ) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let device = distances.device();
        let fixed = distances.clone().detach();
        let others = of.negative.clone().bool_not();
        let (positives, negatives, some) = match self.0.mining {
            TripletMining::BatchHard => {
                let not_positive = of.positive.clone().bool_not();
                let some = places.rows.iter().map(|row| row.positive_count() > 0);
                (
                    fixed.clone().mask_fill(not_positive, -1.0).argmax(1),
                    fixed.mask_fill(others, FAR).argmin(1),
                    numbers(some.map(i64::from).collect(), &device),
                )
            }
            _ => {
                let farthest = fixed.clone().mask_fill(others, -1.0).argmax(1);
                let members = (0..most(places)).map(|nth| {
                    let (column, some) = member(places, nth, &device);
                    let positive = gather_in_rows(fixed.clone(), column.clone());
                    let farther = (fixed.clone())
                        .greater(positive.expand(fixed.dims()))
                        .bool_and(of.negative.clone());
                    let values = fixed.clone().mask_fill(farther.bool_not(), FAR);
                    let nearest = values.clone().argmin(1);
                    let none = gather_in_rows(values, nearest.clone()).greater_equal_elem(FAR);
                    (column, nearest.mask_where(none, farthest.clone()), some)
                });
                let members: Vec<_> = members.collect();
                let joined = |of: &dyn Fn(&Member<B>) -> Tensor<B, 2, Int>| {
                    Tensor::cat(members.iter().map(of).collect(), 1)
                };
                (
                    joined(&|member| member.0.clone()),
                    joined(&|member| member.1.clone()),
                    joined(&|member| member.2.clone()),
                )
            }
        };
        // Whoever has no negative has no triplet.
        let columns = places.references.len();
        let opposed = places
            .rows
            .iter()
            .map(|row| row.negative_count(columns) > 0);
        let opposed = numbers(opposed.map(i64::from).collect(), &device);
        let some = (some * opposed).equal_elem(1);
        let gaps =
            gather_in_rows(distances.clone(), positives) - gather_in_rows(distances, negatives);
        let terms = match self.0.soft {
            true => log_sigmoid(gaps.neg()).neg(),
            false => gaps.add_scalar(self.0.margin).clamp_min(0.0),
        };
        let terms = only(terms, &some);
        let count = ones(&terms, terms.clone().greater_elem(0.0)).sum();
        (terms.sum(), count)
    }

    /// The sum of the terms of windows, and how many there are: one pass over the matrix for each positive of a
    /// row. The sum is linear in the distances, so passes find values and weights, and one product is tracked.
    pub(super) fn dense_windows<B: RecallBackend>(
        &self,
        of: &Dense<B>,
        distances: Tensor<B, 2>,
        places: &Places,
    ) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let fixed = distances.clone().detach();
        let shape = fixed.dims();
        let numbers = Tensor::<B, 1, Int>::arange(0..shape[1] as i64, &fixed.device());
        let numbers = numbers.reshape([1, shape[1]]).expand(shape);
        let mut weights = fixed.zeros_like();
        let mut value = fixed.zeros_like().sum();
        let mut count = value.clone();
        for nth in 0..most(places) {
            let (column, some) = member(places, nth, &fixed.device());
            let some = some.equal_elem(1).expand(shape);
            let positive = gather_in_rows(fixed.clone(), column.clone()).expand(shape);
            let gaps = fixed.clone() - positive;
            let inside = gaps.clone().lower_elem(self.0.margin);
            let inside = match self.0.mining {
                TripletMining::SemihardWindow => inside.bool_and(gaps.clone().greater_elem(0.0)),
                TripletMining::HardWindow => inside.bool_and(gaps.clone().lower_equal_elem(0.0)),
                _ => inside,
            };
            let inside = inside.bool_and(of.negative.clone()).bool_and(some.clone());
            let short = gaps.neg().add_scalar(self.0.margin);
            value = value + only(short, &inside).sum();
            let inside = ones(&fixed, inside);
            let counts = inside.clone().sum_dim(1);
            count = count + counts.clone().sum();
            let here = numbers.clone().equal(column.expand(shape)).bool_and(some);
            weights = weights - inside + only(counts.expand(shape), &here);
        }
        let pull = (distances * weights).sum();
        (value + (pull.clone() - pull.detach()), count)
    }
}

/// The columns of a positive and of its negative in each row, and 1 where there are such.
type Member<B> = (Tensor<B, 2, Int>, Tensor<B, 2, Int>, Tensor<B, 2, Int>);

/// The size of the largest class.
fn most(places: &Places) -> usize {
    let sizes = places.rows.iter().map(|row| row.class.len());
    sizes.max().unwrap_or(0)
}

/// The column of the `nth` item of each row's class, `[n, 1]`, and 1 where that is a positive.
fn member<B: RecallBackend>(
    places: &Places,
    nth: usize,
    device: &B::Device,
) -> (Tensor<B, 2, Int>, Tensor<B, 2, Int>) {
    let (columns, some): (Vec<i64>, Vec<i64>) = (places.rows.iter())
        .map(|row| {
            let column = row.class.start + nth;
            match column < row.class.end && Some(column) != row.own {
                true => (column as i64, 1),
                false => (0, 0),
            }
        })
        .unzip();
    (numbers(columns, device), numbers(some, device))
}

/// Whole numbers as a column.
fn numbers<B: RecallBackend>(values: Vec<i64>, device: &B::Device) -> Tensor<B, 2, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count, 1]), device)
}

/// 1 where the mask is true, in the type of `like`.
fn ones<B: RecallBackend>(
    like: &Tensor<B, 2>,
    mask: Tensor<B, 2, burn::tensor::Bool>,
) -> Tensor<B, 2> {
    like.clone().detach().zeros_like().mask_fill(mask, 1.0)
}
