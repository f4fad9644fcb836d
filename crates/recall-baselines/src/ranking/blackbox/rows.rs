//! Both losses, row by row: in single precision where rows are, in double elsewhere.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use rayon::prelude::*;

use super::noise::Noise;
use super::objective::{Lists, Objective};
use super::score::Score;
use crate::Places;
use crate::dense::{Dense, column_like};
use crate::ranking::blocks::OfBlock;
use crate::rows::{Found, Measure, Place, RowLoss, Sides, Term, walk};

/// A batch's comparisons, and what its losses are.
pub(super) struct Rows<'a> {
    pub objective: &'a Objective,
    pub lists: Lists,
    pub places: &'a Places,
    pub noise: Option<Noise<'a>>,
}

impl Rows<'_> {
    fn of_row<F: Score>(&self, index: usize, place: &Place, row: &mut [F]) -> f64 {
        if place.positive_count() == 0 {
            row.fill(F::of(0.0));
            return 0.0;
        }
        let noise = self.noise.map(|noise| {
            let query = self.places.queries[index];
            let own = place.own.map(|own| self.places.references[own]);
            let noise = noise.of_query(query, row.len() - usize::from(own.is_some()));
            let of_item = |&item: &usize| match own {
                Some(own) if item == own => 0.0,
                Some(own) => noise[item - usize::from(item > own)],
                None => noise[item],
            };
            self.places
                .references
                .iter()
                .map(of_item)
                .collect::<Vec<_>>()
        });
        let ranked = (self.objective).pulled(self.lists, row, place, noise.as_deref());
        ranked.value
    }

    /// The same of a block of queries from `start` on, in double precision on the host.
    pub fn of_block<B: Backend>(
        &self,
        dense: &Dense<B>,
        places: &Places,
        start: usize,
        wanted: bool,
    ) -> OfBlock<B> {
        let similarities = dense.similarities();
        let ([_, columns], like) = (similarities.dims(), similarities.clone());
        let mut numbers: Vec<f64> = similarities.into_data().iter::<f64>().collect();
        let values: Vec<f64> = numbers
            .par_chunks_mut(columns)
            .zip(&places.rows)
            .enumerate()
            .map(|(index, (row, place))| self.of_row(start + index, place, row))
            .collect();
        let shape = [values.len(), columns];
        let options = (&like.device(), like.dtype());
        OfBlock {
            values: column_like(&like, values),
            slopes: wanted.then(|| Tensor::from_data(TensorData::new(numbers, shape), options)),
        }
    }
}

impl RowLoss for Rows<'_> {
    type Note = ();
    type Whole = ();
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, _: &Places) {}

    #[inline(always)]
    fn term(&self, (): &(), index: usize, place: &Place, row: &mut [f32]) -> Term {
        Term::of(self.of_row(index, place, row))
    }

    // Slopes are differences of ranks, which are no multiples of what comes in: all is multiplied already.
    fn scale(&self, (): &(), _: u64) -> f64 {
        1.0
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
