//! What both losses are: a function of the ranks of positives, and how these change as scores are moved.

use burn::tensor::Tensor;
use recall_loss::RecallBackend;

use super::noise::Noise;
use super::rows::Rows;
use super::score::Score;
use super::{BlackboxWeight, RankedScores};
use crate::dense::constant;
use crate::error::require;
use crate::ranking::blocks::{BLOCK, in_blocks, with_gradients};
use crate::rows::{Place, rows, suit};
use crate::{LossError, Places};

/// What both losses are: a function of the ranks of positives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Objective {
    pub loss: &'static str,
    pub lambda: f64,
    pub margin: f64,
    pub of: Of,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    Recall {
        weight: BlackboxWeight,
        released_length: bool,
    },
    Ap {
        /// Added to the number of positives.
        little: f64,
    },
}

/// How many lists there are, and what the terms of a list are multiplied by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lists {
    count: f64,
    share: f64,
}

/// What the positives of a list come to.
pub(super) struct Ranked {
    /// Its part of the loss.
    pub value: f64,
    /// Its positives, the first-ranked first.
    positives: Vec<RankedPositive>,
}

pub(super) struct RankedPositive {
    column: usize,
    rank: usize,
    on_rank: f64,
}

impl Objective {
    pub fn between<B: RecallBackend>(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
        noise: Option<Noise<'_>>,
    ) -> Result<Tensor<B, 1>, LossError> {
        let counts = places.rows.iter().map(Place::positive_count);
        let lists = self.lists(counts, places.rows.len())?;
        let of = Rows {
            objective: self,
            lists,
            places,
            noise,
        };
        if suit::<B>(queries.dtype()) {
            return Ok(rows(&of, queries, references, places));
        }
        let wanted = B::ad_enabled(&queries.device());
        let (values, gradients) = in_blocks(
            constant(queries.clone()),
            constant(references.clone()),
            places,
            BLOCK,
            |dense, block, start| of.of_block(dense, block, start, wanted),
        );
        let value = values.sum_dim(0).reshape([1]);
        Ok(with_gradients(value, queries, references, gradients))
    }

    /// `counts` has the number of positives of each list.
    fn lists(
        &self,
        counts: impl Iterator<Item = usize> + Clone,
        items: usize,
    ) -> Result<Lists, LossError> {
        let lists = counts.clone().count() as f64;
        let terms = match self.of {
            Of::Recall { .. } => counts.sum::<usize>(),
            Of::Ap { .. } => counts.filter(|&count| count > 0).count(),
        };
        match terms {
            0 => Err(LossError::Lacking {
                loss: self.loss,
                needs: "two items of a class",
                items,
                remedy: "sample at least two items of a class",
            }),
            _ => Ok(Lists {
                count: lists,
                share: 1.0 / terms as f64,
            }),
        }
    }

    /// A positive's part of the loss, and the derivative with respect to its rank over `length`, of its ranks
    /// from 1: `above` among the `positives`, and `rank` among all.
    fn term(
        &self,
        lists: Lists,
        length: f64,
        positives: usize,
        above: usize,
        rank: usize,
    ) -> [f64; 2] {
        match self.of {
            Of::Recall {
                weight,
                released_length,
            } => {
                let factor = if released_length {
                    lists.count / length
                } else {
                    1.0
                };
                let count = (rank - above) as f64 * factor;
                let log = count.ln_1p();
                let slope = factor * length / (1.0 + count);
                let [value, slope] = match weight {
                    BlackboxWeight::Log => [log, slope],
                    BlackboxWeight::LogLog => [log.ln_1p(), slope / (1.0 + log)],
                };
                [value * lists.share, slope * lists.share]
            }
            Of::Ap { little } => {
                let share = lists.share / (positives as f64 + little);
                let (above, rank) = (above as f64, rank as f64);
                // The one of the list is there once, whatever is added to the number of positives.
                let one = lists.share / positives as f64;
                [
                    one - share * above / rank,
                    share * above / (rank * rank) * length,
                ]
            }
        }
    }

    /// Ranks a list of scores, and replaces these by the derivatives of the loss. `noise` has the margins'
    /// factors of all columns.
    pub fn pulled<F: Score>(
        &self,
        lists: Lists,
        row: &mut [F],
        place: &Place,
        noise: Option<&[f64]>,
    ) -> Ranked {
        let length = row.len() - usize::from(place.own.is_some());
        let half = 0.5 * self.margin;
        let margin = |column: usize| F::of(half * noise.map_or(1.0, |noise| noise[column]));
        for range in place.negatives(row.len()) {
            let start = range.start;
            for (at, score) in row[range].iter_mut().enumerate() {
                *score = score.plus(margin(start + at));
            }
        }
        let mut positives: Vec<(usize, F)> = (place.positives())
            .map(|column| (column, row[column].minus(margin(column))))
            .collect();
        positives.sort_by(|a, b| b.1.order(&a.1).then(a.0.cmp(&b.0)));
        let scores: Vec<F> = positives.iter().map(|&(_, score)| score).collect();
        let above = negatives_above(&scores, row, place);
        let mut ranked = Ranked {
            value: 0.0,
            positives: Vec::with_capacity(positives.len()),
        };
        let mut moved: Vec<(usize, F)> = Vec::with_capacity(positives.len());
        for (at, &(column, score)) in positives.iter().enumerate() {
            let rank = above[at] + at + 1;
            let [value, on_rank] = self.term(lists, length as f64, scores.len(), at + 1, rank);
            ranked.value += value;
            ranked.positives.push(RankedPositive {
                column,
                rank,
                on_rank,
            });
            moved.push((at, score.plus(F::of(self.lambda * on_rank))));
        }
        moved.sort_by(|a, b| {
            let column = |at: usize| positives[at].0;
            b.1.order(&a.1).then(column(a.0).cmp(&column(b.0)))
        });
        let moved_scores: Vec<F> = moved.iter().map(|&(_, score)| score).collect();
        let above = negatives_above(&moved_scores, row, place);
        let slope = |change: f64| F::of(change / (length as f64 * (self.lambda + 1e-8)));
        // A negative is behind all positives with greater scores.
        let behind =
            |scores: &[F], score: &F| scores.partition_point(|positive| positive.above(score));
        for range in place.negatives(row.len()) {
            for score in &mut row[range] {
                let change = behind(&moved_scores, score) as f64 - behind(&scores, score) as f64;
                *score = slope(change);
            }
        }
        for (rank, &(at, _)) in moved.iter().enumerate() {
            let positive = &ranked.positives[at];
            let new = above[rank] + rank + 1;
            row[positive.column] = slope(new as f64 - positive.rank as f64);
        }
        if let Some(own) = place.own {
            row[own] = F::of(0.0);
        }
        ranked
    }

    pub fn of_scores(
        &self,
        scores: &[f64],
        relevant: &[bool],
        length: usize,
        noise: Option<&[f64]>,
    ) -> Result<RankedScores, LossError> {
        require(
            length > 0 && scores.len().is_multiple_of(length),
            "length",
            length,
            "the scores must be a whole number of lists",
        )?;
        require(
            relevant.len() == scores.len(),
            "relevant",
            format!("{} values", relevant.len()),
            "there must be one for each score",
        )?;
        require(
            noise.is_none_or(|noise| noise.len() == scores.len()),
            "noise",
            format!("{} numbers", noise.map_or(0, <[f64]>::len)),
            "there must be one for each score",
        )?;
        let counts = (relevant.chunks(length))
            .map(|relevant| relevant.iter().filter(|&&relevant| relevant).count());
        let lists = self.lists(counts, scores.len())?;
        let mut found = RankedScores {
            value: 0.0,
            ranks: vec![0; scores.len()],
            on_ranks: vec![0.0; scores.len()],
            on_scores: vec![0.0; scores.len()],
        };
        for start in (0..scores.len()).step_by(length) {
            // The relevant ones first, as a class.
            let list = start..start + length;
            let (mut order, others): (Vec<usize>, Vec<usize>) = list.partition(|&at| relevant[at]);
            let place = Place {
                class: 0..order.len(),
                own: None,
            };
            order.extend(others);
            let mut row: Vec<f64> = order.iter().map(|&at| scores[at]).collect();
            let noise: Option<Vec<f64>> =
                noise.map(|noise| order.iter().map(|&at| noise[at].abs()).collect());
            let ranked = self.pulled(lists, &mut row, &place, noise.as_deref());
            found.value += ranked.value;
            for (&at, &on_score) in order.iter().zip(&row) {
                found.on_scores[at] = on_score;
            }
            let mut taken = vec![false; length + 1];
            for positive in ranked.positives {
                let at = order[positive.column];
                found.ranks[at] = positive.rank;
                found.on_ranks[at] = positive.on_rank;
                taken[positive.rank] = true;
            }
            // Negatives have the ranks that are left.
            let factor = |column: usize| noise.as_ref().map_or(1.0, |noise| noise[column]);
            let mut negatives: Vec<(usize, f64)> = (place.class.end..length)
                .map(|column| (order[column], column))
                .map(|(at, column)| (at, scores[at] + 0.5 * self.margin * factor(column)))
                .collect();
            negatives.sort_by(|a, b| b.1.total_cmp(&a.1));
            let free = (1..=length).filter(|&rank| !taken[rank]);
            for ((at, _), rank) in negatives.into_iter().zip(free) {
                found.ranks[at] = rank;
            }
        }
        Ok(found)
    }
}

/// How many negatives are above each of the scores, which descend. At equal scores a negative is above.
fn negatives_above<F: Score>(scores: &[F], row: &[F], place: &Place) -> Vec<usize> {
    let mut above = vec![0; scores.len() + 1];
    for range in place.negatives(row.len()) {
        for score in &row[range] {
            above[scores.partition_point(|positive| positive.above(score))] += 1;
        }
    }
    above.pop();
    let mut sum = 0;
    for count in &mut above {
        sum += *count;
        *count = sum;
    }
    above
}
