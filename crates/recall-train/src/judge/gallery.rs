//! Queries and what they search.

use std::collections::HashMap;

use recall_data::{Dataset, ItemId, Role};
use recall_eval::{
    Embeddings, EmptyQueries, EvalError, Evaluation, IgnoreGroup, Metric, Neighbour, Retrieval,
    evaluate, nearest,
};

/// Embeddings of a split together with what makes them a retrieval problem.
#[derive(Debug)]
pub struct Gallery {
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

impl Gallery {
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

    /// The metrics over all queries; those without a positive are left out and counted.
    ///
    /// # Errors
    ///
    /// [`EvalError`] if no query has a positive.
    pub fn evaluate(&self, metrics: &[Metric]) -> Result<Evaluation, EvalError> {
        evaluate(&self.retrieval()?.ranks()?, metrics, EmptyQueries::Skip)
    }

    /// The nearest neighbours of `count` queries, spread evenly over all of them.
    ///
    /// # Errors
    ///
    /// [`EvalError`] if the embeddings cannot be compared.
    pub fn sample(&self, count: usize, neighbours: usize) -> Result<Vec<Hit>, EvalError> {
        let retrieval = self.retrieval()?;
        let ranks = retrieval.ranks()?;
        let answerable: Vec<usize> = (0..self.queries.ids.len())
            .filter(|&query| !ranks.of(query).is_empty())
            .collect();
        let count = count.min(answerable.len());
        let queries: Vec<usize> = (0..count)
            .map(|i| answerable[i * answerable.len() / count])
            .collect();
        let found = nearest(&retrieval, &queries, neighbours)?;
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

fn labels(dataset: &Dataset, ids: &[ItemId]) -> Vec<i64> {
    dataset.labels(ids).into_iter().map(i64::from).collect()
}
