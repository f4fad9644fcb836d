//! Embedding the images of a data set.

use recall_data::{
    Batch, BatchInputs, BatchRequest, Dataset, ItemId, Loader, Split, training_and_validation,
};
use recall_engine::{Engine, Features, Inputs, Pixels, Scales};
use recall_eval::Embeddings;

use crate::run::Ranks;
use crate::{Passes, RunConfig, RunError};

/// The images of a batch, which have one shape; none if it has features instead.
pub fn pixels(batch: &Batch) -> Pixels<'_> {
    Pixels {
        bytes: batch.pixels(),
        shape: batch.shape(),
    }
}

/// Embeds some items of the loader's data set, as `passes` says.
///
/// Row `i` of the result belongs to the `i`-th of the returned ids; these are the ids asked for
/// without images that the loader skipped. `progress` gets the number of images done, and ends it by
/// an error.
///
/// # Errors
///
/// An image that cannot be read, if the loader does not skip it; if it does, images of which not one can
/// be read; embeddings that are not finite, or the error of `progress`.
pub fn embed_items(
    engine: &dyn Engine,
    loader: &Loader,
    ids: &[ItemId],
    passes: &Passes,
    progress: impl FnMut(usize) -> Result<(), RunError>,
) -> Result<(Embeddings, Vec<ItemId>), RunError> {
    let embed = |batch: &Batch| embedded(engine, batch, &passes.scales);
    gathered(embed, loader, ids, passes.chunk, progress)
}

/// The same over several ranks: each embeds its share, and all have the embeddings of all in the end.
///
/// # Errors
///
/// As [`embed_items`], and of ranks that cannot go on together.
pub(crate) fn embed_items_over(
    ranks: &Ranks,
    engine: &dyn Engine,
    loader: &Loader,
    ids: &[ItemId],
    passes: &Passes,
    mut progress: impl FnMut(usize) -> Result<(), RunError>,
) -> Result<(Embeddings, Vec<ItemId>), RunError> {
    if !ranks.are_several() {
        return embed_items(engine, loader, ids, passes, progress);
    }
    let chunk = passes.chunk;
    let share = ranks.share(ids.len(), chunk);
    let (mut values, mut own, mut dim) = (Vec::new(), Vec::<ItemId>::new(), 0);
    // That one rank can read none of its images is no error yet.
    let problem = read_batches(loader, &ids[share], chunk, |batch| {
        let rows = embedded(engine, batch, &passes.scales)?;
        dim = rows.dim();
        values.extend_from_slice(rows.as_slice());
        own.extend_from_slice(&batch.ids);
        progress(own.len())
    })?;
    let values = ranks.gather_numbers(&values)?;
    let (mut kept, mut first) = (Vec::with_capacity(ids.len()), None);
    for (theirs, of_rank, problem) in ranks.gather(&(own, dim, problem))? {
        kept.extend(theirs);
        dim = dim.max(of_rank);
        first = first.or(problem);
    }
    match first.filter(|_| kept.is_empty()) {
        None => Ok((Embeddings::new(values, dim.max(1))?, kept)),
        Some(first) => Err(nothing_read(loader, ids, first)),
    }
}

/// The same with features as they came instead of a model's embeddings, brought to unit length.
///
/// # Errors
///
/// As [`embed_items`], and for images, which have no features.
pub(crate) fn as_they_came(
    loader: &Loader,
    ids: &[ItemId],
    chunk: usize,
    progress: impl FnMut(usize) -> Result<(), RunError>,
) -> Result<(Embeddings, Vec<ItemId>), RunError> {
    let take = |batch: &Batch| match &batch.inputs {
        BatchInputs::Features { values, dim } => {
            Ok(Embeddings::new(values.clone(), *dim)?.normalised()?)
        }
        BatchInputs::Pixels { .. } | BatchInputs::Shapes(_) => Err(RunError::Rows {
            problem: "images have no features".to_owned(),
        }),
    };
    gathered(take, loader, ids, chunk, progress)
}

/// As [`embed_items`], and hands over each chunk's embeddings, with the ids they belong to, as soon
/// as they are there: memory does not grow with the number of items.
///
/// # Errors
///
/// Those of [`embed_items`], and those of `take`.
pub fn embed_each(
    engine: &dyn Engine,
    loader: &Loader,
    ids: &[ItemId],
    passes: &Passes,
    mut take: impl FnMut(&Embeddings, &[ItemId]) -> Result<(), RunError>,
) -> Result<(), RunError> {
    each_batch(loader, ids, passes.chunk, |batch| {
        take(&embedded(engine, batch, &passes.scales)?, &batch.ids)
    })
}

/// What `embed` makes of the batches, in one piece.
fn gathered(
    embed: impl Fn(&Batch) -> Result<Embeddings, RunError>,
    loader: &Loader,
    ids: &[ItemId],
    chunk: usize,
    mut progress: impl FnMut(usize) -> Result<(), RunError>,
) -> Result<(Embeddings, Vec<ItemId>), RunError> {
    let mut values = Vec::new();
    let mut kept = Vec::with_capacity(ids.len());
    let mut dim = 1;
    each_batch(loader, ids, chunk, |batch| {
        let rows = embed(batch)?;
        if kept.is_empty() {
            dim = rows.dim();
            // On large sets nothing else takes as much memory: no more than they need.
            values.reserve_exact(kept.capacity() * dim);
        }
        values.extend_from_slice(rows.as_slice());
        kept.extend_from_slice(&batch.ids);
        progress(kept.len())
    })?;
    Ok((Embeddings::new(values, dim)?, kept))
}

/// Loads some items, `chunk` at a time, and hands over each batch that has any.
pub(crate) fn each_batch(
    loader: &Loader,
    ids: &[ItemId],
    chunk: usize,
    take: impl FnMut(&Batch) -> Result<(), RunError>,
) -> Result<(), RunError> {
    match read_batches(loader, ids, chunk, take)? {
        None => Ok(()),
        Some(first) => Err(nothing_read(loader, ids, first)),
    }
}

/// The same, and returns what is wrong with the first item where not one could be read.
pub(crate) fn read_batches(
    loader: &Loader,
    ids: &[ItemId],
    chunk: usize,
    mut take: impl FnMut(&Batch) -> Result<(), RunError>,
) -> Result<Option<String>, RunError> {
    let requests: Vec<_> = ids
        .chunks(chunk)
        .enumerate()
        .map(|(step, ids)| BatchRequest {
            epoch: 0,
            step: step as u64,
            ids: ids.to_vec(),
        })
        .collect();
    let (mut none_read, mut first) = (true, None);
    for batch in loader.batches(requests) {
        let batch = batch?;
        first = first.or_else(|| batch.skipped.first().map(|skipped| skipped.problem.clone()));
        if !batch.ids.is_empty() {
            none_read = false;
            take(&batch)?;
        }
    }
    Ok(first.filter(|_| none_read))
}

/// The error where not one of these items could be read.
pub(crate) fn nothing_read(loader: &Loader, ids: &[ItemId], first: String) -> RunError {
    RunError::NothingRead {
        dataset: loader.dataset().name().to_owned(),
        images: ids.len(),
        first,
    }
}

/// Embeds a batch: row `i` belongs to its `i`-th item. Images that keep their shapes go through the model by shape.
///
/// # Errors
///
/// As [`embed_items`].
pub fn embedded(
    engine: &dyn Engine,
    batch: &Batch,
    scales: &Scales,
) -> Result<Embeddings, RunError> {
    let groups = match &batch.inputs {
        BatchInputs::Pixels { .. } => return Ok(engine.embed_at(pixels(batch), scales)?),
        BatchInputs::Features { .. } => return Ok(engine.embed(inputs(batch))?),
        BatchInputs::Shapes(groups) => groups,
    };
    let (mut values, mut dim) = (Vec::new(), 1);
    for (group, pixels) in groups.iter().zip(shapes(batch)) {
        let rows = engine.embed_at(pixels, scales)?;
        dim = rows.dim();
        values.resize(batch.ids.len() * dim, 0.0);
        for (row, &place) in rows.as_slice().chunks_exact(dim).zip(&group.places) {
            values[place * dim..(place + 1) * dim].copy_from_slice(row);
        }
    }
    Ok(Embeddings::new(values, dim)?)
}

/// The images of a batch that kept their shapes, those of a shape together; none of others.
pub(crate) fn shapes(batch: &Batch) -> Vec<Pixels<'_>> {
    match &batch.inputs {
        BatchInputs::Shapes(groups) => {
            let groups = groups.iter();
            let pixels = groups.map(|group| Pixels {
                bytes: &group.bytes,
                shape: group.shape,
            });
            pixels.collect()
        }
        BatchInputs::Pixels { .. } | BatchInputs::Features { .. } => Vec::new(),
    }
}

/// The images or features of a batch as an engine takes them. Images that keep their shapes are several inputs, see
/// [`embedded`], and none here.
pub fn inputs(batch: &Batch) -> Inputs<'_> {
    match &batch.inputs {
        BatchInputs::Pixels { .. } | BatchInputs::Shapes(_) => pixels(batch).into(),
        BatchInputs::Features { values, dim } => Inputs::Features(Features { values, dim: *dim }),
    }
}

/// The images that choose among the states of a model trained with `config`: the data set's own, or
/// those of the classes held out of training. An error says that there are none.
pub(crate) fn validation_of(
    dataset: &Dataset,
    config: &RunConfig,
) -> Result<Vec<ItemId>, RunError> {
    let parts = training_and_validation(dataset, config.evaluation.validation);
    match parts.held_out.is_empty() {
        true => Err(RunError::EmptySplit {
            dataset: dataset.name().to_owned(),
            split: Split::Validation,
        }),
        false => Ok(parts.held_out),
    }
}

/// An error if nothing says which images belong together, which `what` needs.
pub(crate) fn need_labels(dataset: &Dataset, what: &'static str) -> Result<(), RunError> {
    match dataset.is_labelled() {
        true => Ok(()),
        false if dataset.features().is_some() => Err(RunError::UnlabelledRows {
            dataset: dataset.name().to_owned(),
            what,
        }),
        false => Err(RunError::Unlabelled {
            dataset: dataset.name().to_owned(),
            what,
        }),
    }
}

/// The items of a split, or an error that says there are none.
pub(crate) fn items_of(dataset: &Dataset, split: Split) -> Result<&[ItemId], RunError> {
    match dataset.split(split) {
        [] => Err(RunError::EmptySplit {
            dataset: dataset.name().to_owned(),
            split,
        }),
        items => Ok(items),
    }
}
