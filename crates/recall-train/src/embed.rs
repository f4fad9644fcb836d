//! Embedding images and judging the embeddings.

use std::collections::HashMap;

use burn::tensor::backend::Backend;
use recall_data::{BatchRequest, Dataset, ItemId, Loader, Role, Split};
use recall_eval::{
    Embeddings, EmptyQueries, EvalError, Evaluation, Metric, Neighbour, Retrieval, evaluate,
    nearest,
};

use crate::{Embedder, RunError, Standardisation};

/// Embeds some items of the loader's data set, `chunk` at a time and without a graph.
///
/// Row `i` of the result belongs to the `i`-th of the returned ids; these are the ids asked for
/// without images that the loader skipped. `progress` is told how many images are done.
///
/// # Errors
///
/// An image that cannot be read, if the loader does not skip it, or embeddings that are not finite.
pub fn embed_items<B: Backend, M: Embedder<B>>(
    model: &M,
    loader: &Loader,
    ids: &[ItemId],
    chunk: usize,
    standardise: &Standardisation,
    device: &B::Device,
    mut progress: impl FnMut(usize),
) -> Result<(Embeddings, Vec<ItemId>), RunError> {
    let requests: Vec<_> = ids
        .chunks(chunk)
        .enumerate()
        .map(|(step, ids)| BatchRequest {
            epoch: 0,
            step: step as u64,
            ids: ids.to_vec(),
        })
        .collect();
    let mut values = Vec::new();
    let mut kept = Vec::with_capacity(ids.len());
    let mut dim = 1;
    for batch in loader.batches(requests) {
        let batch = batch?;
        if !batch.ids.is_empty() {
            let images = standardise.images::<B>(&batch, 0..batch.ids.len(), device);
            let embeddings = model.embed(images);
            dim = embeddings.dims()[1];
            values.extend(embeddings.into_data().iter::<f32>());
            kept.extend(&batch.ids);
        }
        progress(kept.len());
    }
    Ok((Embeddings::new(values, dim)?, kept))
}

/// Embeddings of a split together with what makes them a retrieval problem.
#[derive(Debug)]
pub struct Gallery {
    queries: Side,
    /// None if every item is a query against all the others.
    gallery: Option<Side>,
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
            let labels = labels(dataset, &ids);
            return Ok(Self {
                queries: Side {
                    embeddings,
                    labels,
                    ids,
                },
                gallery: None,
            });
        }
        let side = |wanted: Role| {
            let rows: Vec<usize> = (0..ids.len())
                .filter(|&row| role(ids[row]) == wanted || role(ids[row]) == Role::Both)
                .collect();
            let values = rows
                .iter()
                .flat_map(|&row| embeddings.row(row).to_vec())
                .collect();
            let ids: Vec<_> = rows.iter().map(|&row| ids[row]).collect();
            let labels = labels(dataset, &ids);
            Ok(Side {
                embeddings: Embeddings::new(values, embeddings.dim())?,
                labels,
                ids,
            })
        };
        Ok(Self {
            queries: side(Role::Query)?,
            gallery: Some(side(Role::Gallery)?),
        })
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

    fn retrieval(&self) -> Result<Retrieval<'_>, EvalError> {
        let Side {
            embeddings,
            labels,
            ids,
        } = &self.queries;
        let Some(gallery) = &self.gallery else {
            return Retrieval::each_against_rest(embeddings, labels);
        };
        // An item may be on both sides: it is no answer to itself.
        let rows: HashMap<ItemId, u32> = gallery.ids.iter().copied().zip(0..).collect();
        let own = ids
            .iter()
            .map(|id| rows.get(id).copied().into_iter().collect());
        Retrieval::query_against_gallery(embeddings, labels, &gallery.embeddings, &gallery.labels)?
            .junk(own.collect())
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

/// The items of a split, or an error that says there are none.
pub(crate) fn items_of(dataset: &Dataset, split: Split) -> Result<&[ItemId], RunError> {
    match dataset.split(split) {
        [] => Err(RunError::EmptySplit {
            dataset: dataset.name().to_owned(),
            split: match split {
                Split::Train => "train",
                Split::Test => "test",
            },
        }),
        items => Ok(items),
    }
}

/// The metrics that a run reports: recall at each k, then map@r.
pub fn metrics(ks: &[usize]) -> Vec<Metric> {
    ks.iter()
        .map(|&k| Metric::RecallAt(k))
        .chain([Metric::MapAtR])
        .collect()
}

fn labels(dataset: &Dataset, ids: &[ItemId]) -> Vec<i64> {
    dataset.labels(ids).into_iter().map(i64::from).collect()
}
