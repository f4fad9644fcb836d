//! Queries and what they search.

mod similarities;
mod within;

use std::cmp::Reverse;
use std::collections::HashMap;

use recall_data::{Dataset, ItemId, Role};
use recall_eval::{
    Embeddings, EmptyQueries, EvalError, Evaluation, IgnoreGroup, Metric, Neighbour, PositiveRanks,
    Retrieval, evaluate, nearest,
};

pub use similarities::Similarities;

/// Embeddings with classes, which make them a retrieval problem: each query should find the items of its
/// class. What is searched is a gallery, or the other queries.
#[derive(Debug)]
pub struct LabelledSet {
    queries: Side,
    /// None if every item is a query against all the others.
    gallery: Option<Side>,
    ignored: Option<Ignored>,
}

/// Groups of queries and gallery items, and which of a query's group leave its ranking.
#[derive(Debug)]
struct Ignored {
    of_queries: Vec<i64>,
    of_gallery: Vec<i64>,
    which: IgnoreGroup,
}

#[derive(Debug)]
struct Side {
    embeddings: Embeddings,
    labels: Vec<i64>,
    ids: Vec<ItemId>,
}

impl LabelledSet {
    /// Splits embedded items into queries and gallery as the data set says. A data set that gives no
    /// item a role has each item retrieve all the others.
    ///
    /// # Errors
    ///
    /// [`EvalError`] if a side is empty.
    pub fn new(
        dataset: &Dataset,
        embeddings: Embeddings,
        ids: Vec<ItemId>,
    ) -> Result<Self, EvalError> {
        let role = |id: ItemId| dataset.items()[id].role;
        if ids.iter().all(|&id| role(id) == Role::Both) {
            return Ok(Self::each_against_rest(dataset, embeddings, ids));
        }
        let side = |wanted: Role| {
            let rows: Vec<usize> = (0..ids.len())
                .filter(|&row| role(ids[row]) == wanted || role(ids[row]) == Role::Both)
                .collect();
            let ids: Vec<_> = rows.iter().map(|&row| ids[row]).collect();
            let labels = labels(dataset, &ids);
            Ok(Side {
                embeddings: embeddings.select(&rows)?,
                labels,
                ids,
            })
        };
        Ok(Self {
            queries: side(Role::Query)?,
            gallery: Some(side(Role::Gallery)?),
            ignored: None,
        })
    }

    /// Every item against the rest, whatever their roles.
    pub fn each_against_rest(dataset: &Dataset, embeddings: Embeddings, ids: Vec<ItemId>) -> Self {
        let labels = labels(dataset, &ids);
        Self {
            queries: Side {
                embeddings,
                labels,
                ids,
            },
            gallery: None,
            ignored: None,
        }
    }

    /// Embeddings and labels from elsewhere; without a gallery, every query is ranked against the
    /// others. The ids of queries are their rows, those of gallery items go on from there. What does not fit together, [`retrieval`](Self::retrieval) refuses.
    pub fn from_parts(
        queries: (Embeddings, Vec<i64>),
        gallery: Option<(Embeddings, Vec<i64>)>,
    ) -> Self {
        let side = |(embeddings, labels): (Embeddings, Vec<i64>), first: ItemId| Side {
            ids: (first..first + embeddings.rows()).collect(),
            embeddings,
            labels,
        };
        let queries = side(queries, 0);
        Self {
            gallery: gallery.map(|gallery| side(gallery, queries.ids.len())),
            queries,
            ignored: None,
        }
    }

    /// Items of a query's group leave its ranking, see [`Retrieval::ignore_group`]. Without a
    /// gallery, `of_gallery` is not looked at.
    pub fn ignoring(
        mut self,
        of_queries: Vec<i64>,
        of_gallery: Vec<i64>,
        which: IgnoreGroup,
    ) -> Self {
        self.ignored = Some(Ignored {
            of_gallery: match self.gallery {
                Some(_) => of_gallery,
                None => of_queries.clone(),
            },
            of_queries,
            which,
        });
        self
    }

    /// The classes of the queries.
    pub fn query_labels(&self) -> &[i64] {
        &self.queries.labels
    }

    /// The items that are queries.
    pub fn query_ids(&self) -> &[ItemId] {
        &self.queries.ids
    }

    /// The metrics over all queries; those without a positive are left out and counted.
    ///
    /// # Errors
    ///
    /// [`EvalError`] if no query has a positive.
    pub fn evaluate(&self, metrics: &[Metric]) -> Result<Evaluation, EvalError> {
        evaluate(&self.retrieval()?.ranks()?, metrics, EmptyQueries::Skip)
    }

    /// The nearest neighbours of `count` queries, the worst first: half of them are those whose first
    /// positive comes last, the others are spread evenly over the rest. Queries without positives are
    /// left out. `ranks` are those of the [`retrieval`](Self::retrieval).
    ///
    /// # Errors
    ///
    /// [`EvalError`] if the embeddings cannot be compared.
    pub fn sample(
        &self,
        ranks: &PositiveRanks,
        count: usize,
        neighbours: usize,
    ) -> Result<Vec<Hit>, EvalError> {
        let first_hits = (0..self.queries.ids.len())
            .filter_map(|query| Some((query, *ranks.of(query).first()?)))
            .collect();
        let queries = worst_and_spread(first_hits, count);
        let found = nearest(&self.retrieval()?, &queries, neighbours)?;
        let gallery = self.gallery.as_ref().unwrap_or(&self.queries);
        Ok(queries
            .into_iter()
            .zip(found)
            .map(|(query, neighbours)| Hit {
                query: self.queries.ids[query],
                first_hit_rank: ranks.of(query).first().map(|&rank| rank as usize),
                neighbours: neighbours
                    .into_iter()
                    .map(|neighbour| (gallery.ids[neighbour.id as usize], neighbour))
                    .collect(),
            })
            .collect())
    }

    /// The retrieval problem.
    ///
    /// # Errors
    ///
    /// Those of [`Retrieval::query_against_gallery`] and [`Retrieval::ignore_group`].
    pub fn retrieval(&self) -> Result<Retrieval<'_>, EvalError> {
        let Side {
            embeddings,
            labels,
            ids,
        } = &self.queries;
        let retrieval = match &self.gallery {
            None => Retrieval::each_against_rest(embeddings, labels)?,
            Some(gallery) => {
                let (items, item_labels) = (&gallery.embeddings, &gallery.labels);
                let retrieval =
                    Retrieval::query_against_gallery(embeddings, labels, items, item_labels)?;
                // An item may be on both sides: it is no answer to itself.
                let rows: HashMap<ItemId, u32> = gallery.ids.iter().copied().zip(0..).collect();
                let own = ids
                    .iter()
                    .map(|id| rows.get(id).copied().into_iter().collect());
                retrieval.junk(own.collect())?
            }
        };
        match &self.ignored {
            None => Ok(retrieval),
            Some(ignored) => {
                retrieval.ignore_group(&ignored.of_queries, &ignored.of_gallery, ignored.which)
            }
        }
    }
}

/// A query and what it retrieved.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The query.
    pub query: ItemId,
    /// Rank of its first positive, from 1.
    pub first_hit_rank: Option<usize>,
    /// The nearest items, nearest first.
    pub neighbours: Vec<(ItemId, Neighbour)>,
}

/// Of queries and the ranks of their first positives, `count` queries: half of them (rounded up) with
/// the highest ranks, the others equally far apart among the rest; then all by descending rank, those
/// of one rank in their order.
fn worst_and_spread(mut first_hits: Vec<(usize, u32)>, count: usize) -> Vec<usize> {
    let by_rank = |&(query, rank): &(usize, u32)| (Reverse(rank), query);
    let count = count.min(first_hits.len());
    first_hits.sort_unstable_by_key(by_rank);
    let mut rest = first_hits.split_off(count.div_ceil(2));
    rest.sort_unstable();
    let others = count - first_hits.len();
    first_hits.extend((0..others).map(|at| rest[at * rest.len() / others]));
    first_hits.sort_unstable_by_key(by_rank);
    first_hits.into_iter().map(|(query, _)| query).collect()
}

fn labels(dataset: &Dataset, ids: &[ItemId]) -> Vec<i64> {
    dataset.labels(ids).into_iter().map(i64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_queries_and_a_fair_share_of_the_others() {
        let ranks = [1, 9, 1, 2, 1, 1, 7, 1, 1, 3];
        let all: Vec<(usize, u32)> = (0..).zip(ranks).collect();
        // 1, 6 and 9 are the worst; of 0, 2, 3, 4, 5, 7, 8 three equally far apart, 3 the worst of them.
        assert_eq!(worst_and_spread(all.clone(), 6), [1, 6, 9, 3, 0, 5]);
        assert_eq!(worst_and_spread(all.clone(), 5), [1, 6, 9, 0, 4]);
        assert_eq!(worst_and_spread(all.clone(), 1), [1]);
        let everyone = [1, 6, 9, 3, 0, 2, 4, 5, 7, 8];
        assert_eq!(worst_and_spread(all.clone(), 10), everyone);
        assert_eq!(worst_and_spread(all.clone(), 99), everyone);
        assert!(worst_and_spread(all, 0).is_empty());
        assert!(worst_and_spread(Vec::new(), 5).is_empty());
    }

    #[test]
    fn a_sample_begins_with_what_went_wrong() {
        // Item 4 lies among the others' class; item 5 has nobody.
        let embeddings = vec![
            1.0, 0.0, 0.96, 0.28, 0.0, 1.0, 0.352, 0.936, 0.8, 0.6, -1.0, 0.0,
        ];
        let embeddings = Embeddings::new(embeddings, 2).unwrap();
        let set = LabelledSet::from_parts((embeddings, vec![1, 1, 2, 2, 2, 3]), None);
        let ranks = set.retrieval().unwrap().ranks().unwrap();
        let hits = set.sample(&ranks, 2, 3).unwrap();
        let queries: Vec<ItemId> = hits.iter().map(|hit| hit.query).collect();
        assert_eq!(queries, [4, 0]);
        assert_eq!(hits[0].first_hit_rank, Some(2));
        let found = hits[0].neighbours.iter();
        let found: Vec<_> = found.map(|(id, n)| (*id, n.relevant)).collect();
        assert_eq!(found, [(1, false), (3, true), (0, false)]);
        assert_eq!(set.sample(&ranks, 99, 1).unwrap().len(), 5);
    }
}
