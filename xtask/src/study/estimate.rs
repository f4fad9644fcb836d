//! What the loss is worth as an estimate: its value beside the recall that it stands for, checkpoint by
//! checkpoint.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use recall_data::{CorruptPolicy, Dataset, ItemId, Split};
use recall_eval::{Embeddings, Metric};
use recall_loss::RecallAtKLossConfig;
use recall_train::judge::LabelledSet;
use recall_train::{Checkpoint, Device, TrainedModel};

use super::declared::Estimate;
use super::results::Estimated;

/// About how many checkpoints of a run are asked.
pub const LOOKS: u64 = 8;

/// Batches that a mean is taken over.
const BATCHES: usize = 8;

/// Asks each checkpoint of the run in `folder`.
pub fn look(asked: &Estimate, folder: &Path, device: &dyn Device) -> Result<Vec<Estimated>> {
    let mut checkpoints = Vec::new();
    for entry in fs::read_dir(folder.join("checkpoints"))? {
        let path = entry?.path();
        // `last` and `best` point to others.
        if path.is_dir() && !path.is_symlink() {
            checkpoints.push(Checkpoint::open(&path)?);
        }
    }
    checkpoints.sort_by_key(|checkpoint| checkpoint.state.step);
    checkpoints.dedup_by_key(|checkpoint| checkpoint.state.step);
    let config = &checkpoints
        .first()
        .context("the run left no checkpoint")?
        .config;
    let dataset = Arc::new(config.image.open(&config.data, CorruptPolicy::default())?);
    let mut estimates = Vec::new();
    for checkpoint in checkpoints {
        let epoch = checkpoint.state.epoch;
        let model = TrainedModel::on(device, checkpoint)?;
        let embed = |split| -> Result<(Embeddings, Vec<ItemId>)> {
            Ok(model.embed_items(&dataset, dataset.split(split), |_| Ok(()))?)
        };
        let (rows, ids) = embed(Split::Test)?;
        let test = recall(asked.k, LabelledSet::each_against_rest(&dataset, rows, ids))?;
        let (rows, ids) = embed(Split::Train)?;
        let batches = batches(&dataset, &ids, asked.batch);
        let exact = mean(batches.iter().map(|batch| {
            let ids = batch.iter().map(|&row| ids[row]).collect();
            let rows = rows.select(batch)?;
            recall(asked.k, LabelledSet::each_against_rest(&dataset, rows, ids))
        }))?;
        for &tau_rank in &asked.tau_rank {
            let soft = mean(batches.iter().map(|batch| {
                let labels: Vec<i64> = (batch.iter())
                    .map(|&row| i64::from(dataset.items()[ids[row]].class))
                    .collect();
                soft_recall(asked.k, tau_rank, &rows.select(batch)?, labels)
            }))?;
            estimates.push(Estimated {
                epoch,
                tau_rank,
                soft,
                exact,
                test,
            });
        }
    }
    Ok(estimates)
}

/// Rows of whole classes, drawn once for all checkpoints and temperatures.
fn batches(dataset: &Dataset, ids: &[ItemId], size: usize) -> Vec<Vec<usize>> {
    let class = |row: usize| dataset.items()[ids[row]].class;
    let mut rows: Vec<usize> = (0..ids.len()).collect();
    rows.sort_by_key(|&row| class(row));
    let mut classes: Vec<Vec<usize>> = (rows.chunk_by(|&a, &b| class(a) == class(b)))
        .map(<[usize]>::to_vec)
        .collect();
    classes.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    let mut batches = vec![Vec::new()];
    for class in classes {
        if let Some(batch) = batches.last_mut() {
            batch.extend(class);
            if batch.len() >= size {
                batches.push(Vec::new());
            }
        }
    }
    if batches.len() > 1 {
        batches.pop();
    }
    batches.truncate(BATCHES);
    batches
}

fn recall(k: usize, set: LabelledSet) -> Result<f64> {
    let evaluation = set.evaluate(&[Metric::RecallAt(k)])?;
    let (_, value) = evaluation.values.first().context("no metric")?;
    Ok(*value)
}

fn soft_recall(k: usize, tau_rank: f64, rows: &Embeddings, labels: Vec<i64>) -> Result<f64> {
    let loss = RecallAtKLossConfig::new()
        .with_ks(vec![k])
        .with_tau_rank(tau_rank)
        .init()?;
    let device = Default::default();
    let shape = [rows.rows(), rows.dim()];
    let embeddings: Tensor<Flex, 2> =
        Tensor::from_data(TensorData::new(rows.as_slice().to_vec(), shape), &device);
    let labels: Tensor<Flex, 1, Int> =
        Tensor::from_data(TensorData::new(labels, [rows.rows()]), &device);
    let value = loss.forward(embeddings, labels)?.into_scalar();
    Ok(1.0 - f64::from(value))
}

fn mean(values: impl ExactSizeIterator<Item = Result<f64>>) -> Result<f64> {
    let count = values.len() as f64;
    let sum: f64 = values.sum::<Result<f64>>()?;
    Ok(sum / count)
}
