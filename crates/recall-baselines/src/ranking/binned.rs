//! Average precision of rankings in bins, which listwise AP and FastAP have in common.
//!
//! Similarities are put into a soft histogram whose nodes go down from the greatest. With the weights `h⁺` of the
//! positives, and the sums `H⁺`, `H` of the weights of positives and of all up to a node,
//! `AP = Σ_m h⁺_m H⁺_m / H_m / |P|`. A similarity that moves between two nodes moves weight from one to the other, so
//! its derivative depends on nothing but those two: a table for each query.

use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use super::blocks::{BLOCK, Gradients, OfBlock, in_blocks, with_gradients};
use crate::dense::{Dense, column_like};
use crate::rows::{Bins, Found, Measure, Place, RowLoss, Sides, Term, rows, suit, walk};
use crate::{LossError, Places};

/// The average precision of each query that has a positive.
#[derive(Debug, Clone, PartialEq)]
pub struct AveragePrecisions {
    /// Rows of the batch, in ascending order.
    pub queries: Vec<usize>,
    /// From 0 to 1, one for each of them.
    pub values: Vec<f64>,
}

/// A loss over average precisions in bins.
pub(crate) struct Binned {
    pub loss: &'static str,
    /// From the greatest similarity down.
    pub bins: Bins,
    /// Whether the query is in its own list, and a positive, with the constant similarity 1.
    pub query_included: bool,
}

/// Keeps what would be 0 / 0 at 0.
const LITTLE: f64 = 1e-16;

impl Binned {
    /// `1 −` the mean average precision of queries that have a positive, `[1]`.
    pub fn between<B: RecallBackend>(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.check(places)?;
        if suit::<B>(queries.dtype()) {
            return Ok(rows(self, queries, references, places));
        }
        let wanted = B::ad_enabled(&queries.device());
        let sides = [queries.clone(), references.clone()].map(Tensor::detach);
        let (precisions, gradients) = self.in_blocks(sides, places, wanted, BLOCK);
        let value = precisions.sum_dim(0).reshape([1]);
        let value = (value.mul_scalar(-1.0 / lists(places))).add_scalar(1.0);
        Ok(with_gradients(value, queries, references, gradients))
    }

    pub fn average_precisions<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<AveragePrecisions, LossError> {
        let rows = embeddings.dims()[0];
        if rows != labels.len() {
            return Err(LossError::LabelCount {
                labels: labels.len(),
                embeddings: rows,
            });
        }
        let places = Places::within(labels);
        self.check(&places)?;
        let embeddings = embeddings.detach();
        let sides = [embeddings.clone(), embeddings];
        let (precisions, _) = self.in_blocks(sides, &places, false, BLOCK);
        let precisions = precisions.into_data();
        let mut found: Vec<(usize, f64)> = precisions
            .iter::<f64>()
            .zip(&places.rows)
            .zip(&places.queries)
            .filter(|((_, place), _)| place.positive_count() > 0)
            .map(|((precision, _), &query)| (query, precision))
            .collect();
        found.sort_by_key(|&(query, _)| query);
        let (queries, values) = found.into_iter().unzip();
        Ok(AveragePrecisions { queries, values })
    }

    /// Whether a query is a positive of its own list.
    fn includes(&self, place: &Place) -> bool {
        self.query_included && place.own.is_some()
    }

    fn check(&self, places: &Places) -> Result<(), LossError> {
        match places.have_positives() {
            true => Ok(()),
            false => Err(LossError::Lacking {
                loss: self.loss,
                needs: "two items of a class",
                items: places.rows.len(),
                remedy: "sample at least two items of a class",
            }),
        }
    }

    /// The average precisions `[n, 1]` of all places, 0 for those without positives, and the gradients of the
    /// loss.
    fn in_blocks<B: Backend>(
        &self,
        [queries, references]: [Tensor<B, 2>; 2],
        places: &Places,
        wanted: bool,
        block: usize,
    ) -> (Tensor<B, 2>, Option<Gradients<B>>) {
        let lists = lists(places);
        in_blocks(queries, references, places, block, |dense, places, _| {
            self.of_block(dense, places, lists, wanted)
        })
    }

    /// The average precisions of a block of queries, 0 for those without positives.
    fn of_block<B: Backend>(
        &self,
        dense: &Dense<B>,
        places: &Places,
        lists: f64,
        wanted: bool,
    ) -> OfBlock<B> {
        let similarities = dense.similarities();
        let others = dense.positive.clone().bool_or(dense.negative.clone());
        let own = others.clone().bool_not();
        let located = self.bins.located(similarities.mask_fill(own.clone(), 1.0));
        let (positive, all) = match self.query_included {
            true => (
                dense.positive.clone().bool_or(own.clone()),
                others.bool_or(own.clone()),
            ),
            false => (dense.positive.clone(), others),
        };
        let positives = located.weights(&positive);
        let all = located.weights(&all).cumsum(1).add_scalar(LITTLE);
        let precisions = positives.clone().cumsum(1) / all.clone();
        let count = |place: &Place| match place.positive_count() {
            0 => 0.0,
            count => 1.0 / (count + usize::from(self.includes(place))) as f64,
        };
        let each = column_like(&all, places.rows.iter().map(count).collect());
        let precision = (positives.clone() * precisions.clone()).sum_dim(1) * each.clone();
        if !wanted {
            return OfBlock {
                values: precision,
                slopes: None,
            };
        }
        let slope = each.mul_scalar(-self.bins.per_unit() / lists);
        let share = positives / all;
        let of_negatives = share.clone() * precisions.clone() * slope.clone();
        let [block, nodes] = precisions.dims();
        let last = precisions.clone().slice([0..block, nodes - 1..nodes]);
        let next = precisions.clone().slice([0..block, 1..nodes]);
        let next = Tensor::cat(vec![next, last], 1);
        let of_positives = (next - precisions - share) * slope + of_negatives.clone();
        let slopes = located
            .look_up(of_negatives)
            .mask_where(dense.positive.clone(), located.look_up(of_positives))
            .mask_fill(own, 0.0);
        OfBlock {
            values: precision,
            slopes: Some(slopes),
        }
    }
}

/// How many queries have a positive.
fn lists(places: &Places) -> f64 {
    let rows = places.rows.iter();
    rows.filter(|row| row.positive_count() > 0).count() as f64
}

impl RowLoss for Binned {
    type Note = ();
    /// How many queries there are.
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        lists(places)
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        if place.positive_count() == 0 {
            row.fill(0.0);
            return Term::default();
        }
        let bins = &self.bins;
        let [mut negatives, mut positives] = [bins.counts(), bins.counts()];
        for range in place.negatives(row.len()) {
            bins.count(&row[range], &mut negatives);
        }
        bins.count(&row[place.class.clone()], &mut positives);
        if let Some(own) = place.own {
            bins.discount(row[own], &mut positives);
        }
        if self.includes(place) {
            bins.count(&[1.0], &mut positives);
        }
        let [negatives, positives] =
            [negatives, positives].map(|counts| bins.weights(counts.iter().map(Bins::sums)));
        let found = tables(bins, &negatives, &positives);
        for range in place.negatives(row.len()) {
            bins.look_up(&mut row[range], &found.of_negatives);
        }
        bins.look_up(&mut row[place.class.clone()], &found.of_positives);
        if let Some(own) = place.own {
            row[own] = 0.0;
        }
        Term::of(1.0 - found.precision)
    }

    fn scale(&self, lists: &f64, _: u64) -> f64 {
        1.0 / lists
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

struct Tables {
    precision: f64,
    /// The derivatives of `1 − AP` with respect to a similarity, by bucket.
    of_negatives: Vec<f32>,
    of_positives: Vec<f32>,
}

/// The average precision of a query, and its derivatives, of the weights of all nodes.
fn tables(bins: &Bins, negatives: &[f64], positives: &[f64]) -> Tables {
    let nodes = bins.nodes();
    let count: f64 = positives.iter().sum();
    let slope = -bins.per_unit() / count;
    let mut tables = Tables {
        precision: 0.0,
        of_negatives: vec![0.0; nodes + 1],
        of_positives: vec![0.0; nodes + 1],
    };
    let (mut above, mut all) = (0.0, 0.0);
    // What the node before has of positives, and the precision there, both divided by all up to it.
    let mut before: Option<[f64; 2]> = None;
    for (node, (&positive, &negative)) in positives.iter().zip(negatives).enumerate() {
        above += positive;
        all += positive + negative;
        let (share, precision) = (positive / (all + LITTLE), above / (all + LITTLE));
        tables.precision += positive * precision / count;
        if let Some([share, precision_before]) = before {
            let of_negatives = share * precision_before;
            tables.of_negatives[node] = (slope * of_negatives) as f32;
            tables.of_positives[node] =
                (slope * (precision - precision_before - share + of_negatives)) as f32;
        }
        before = Some([share, precision]);
    }
    tables
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use burn_flex::Flex;
    use burn_ndarray::NdArray;

    use super::*;

    /// Rows and columns are of the kind that a memory has: some items are there once, some twice.
    fn places() -> Places {
        let labels: Vec<i64> = (0..50).map(|i| i * i % 11).collect();
        let own: Vec<Option<usize>> = (0..50).map(|i| (i < 30).then_some(i)).collect();
        Places::between(&labels, &labels[..40], &own)
    }

    fn of() -> Binned {
        Binned {
            loss: "tested",
            bins: Bins::new(9, 1.0, -0.25),
            query_included: true,
        }
    }

    fn sides<B: Backend>() -> [Tensor<B, 2>; 2] {
        let device = Default::default();
        B::seed(&device, 3);
        [50, 40].map(|rows| {
            Tensor::<B, 2>::random([rows, 6], Distribution::Uniform(-0.5, 0.5), &device)
        })
    }

    fn same<B: Backend>(a: Tensor<B, 2>, b: Tensor<B, 2>, error: f64) {
        let numbers = |of: Tensor<B, 2>| of.into_data().iter::<f64>().collect::<Vec<_>>();
        let (a, b) = (numbers(a), numbers(b));
        let size = a.iter().fold(0.0, |most, x| x.abs().max(most));
        assert!(size > 0.0);
        for (a, b) in a.into_iter().zip(b) {
            assert!((a - b).abs() <= error * size, "{a} is not {b}");
        }
    }

    #[test]
    fn blocks_of_rows_are_the_whole_matrix() {
        let (of, places) = (of(), places());
        let (whole, gradients) = of.in_blocks(sides(), &places, true, 1 << 20);
        let (parts, gradients_too) = of.in_blocks(sides::<NdArray<f64>>(), &places, true, 1);
        let (a, b) = (gradients.unwrap(), gradients_too.unwrap());
        same(whole, parts, 1e-12);
        same(a.0, b.0, 1e-12);
        same(a.1.unwrap(), b.1.unwrap(), 1e-12);
    }

    #[test]
    fn tensor_operations_in_single_precision_are_rows() {
        type Tested = burn::backend::Autodiff<Flex>;
        let (of, places) = (of(), places());
        let [queries, references] = sides::<Tested>().map(Tensor::require_grad);
        let gradients = of
            .between(queries.clone(), references.clone(), &places)
            .unwrap()
            .backward();
        let sides = [queries.clone().detach(), references.clone().detach()];
        let (_, found) = of.in_blocks(sides, &places, true, 500);
        let (on_queries, on_references) = found.unwrap();
        same(queries.grad(&gradients).unwrap(), on_queries.inner(), 1e-5);
        same(
            references.grad(&gradients).unwrap(),
            on_references.unwrap().inner(),
            1e-5,
        );
    }
}
