//! What a loss trains for each class, where it starts from the classes' images.

use recall_engine::{Engine, LossStart, Scales};

use super::images::Images;
use super::session::Loaders;
use super::{Progress, TrainingRun};
use crate::RunError;
use crate::embed::{embedded, nothing_read, read_batches};

/// Lets the proxies of a new run begin as `loss.start` says.
pub(super) fn start(
    engine: &mut dyn Engine,
    run: &TrainingRun,
    images: &Images,
    loaders: &Loaders,
    progress: &mut dyn Progress,
) -> Result<(), RunError> {
    let config = &run.config;
    if config.loss.start != Some(LossStart::ClassMeans) {
        return Ok(());
    }
    let classes = images.training_classes();
    progress.note(&format!(
        "proxies of {} classes that start as the means of their embeddings",
        classes.len()
    ));
    let labels = images.dataset.labels(&images.items.train);
    let of_item: std::collections::HashMap<_, _> =
        images.items.train.iter().copied().zip(labels).collect();
    let mut sums: Vec<f64> = Vec::new();
    let (ids, chunk) = (&images.items.train, config.passes().chunk);
    let share = run.ranks.share(ids.len(), chunk);
    let problem = read_batches(&loaders.eval, &ids[share], chunk, |batch| {
        let rows = embedded(engine, batch, &Scales::default())?;
        let dim = rows.dim();
        sums.resize(classes.len() * dim, 0.0);
        for (row, id) in rows.as_slice().chunks_exact(dim).zip(&batch.ids) {
            let class = classes.partition_point(|class| class < &of_item[id]);
            let sum = &mut sums[class * dim..(class + 1) * dim];
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, &x)| *sum += f64::from(x));
        }
        Ok(())
    })?;
    let mut sums = run.ranks.add(&sums)?;
    if let (true, Some(first)) = (sums.is_empty(), problem) {
        return Err(nothing_read(&loaders.eval, ids, first));
    }
    let dim = sums.len() / classes.len().max(1);
    // Means have a direction, which is all that proxies are asked for; those of no image have none.
    for mean in sums.chunks_exact_mut(dim.max(1)) {
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > 0.0 {
            mean.iter_mut().for_each(|x| *x /= length);
        } else {
            mean[0] = 1.0;
        }
    }
    let means: Vec<f32> = sums.iter().map(|&x| x as f32).collect();
    engine.start_loss(&means, dim);
    Ok(())
}
