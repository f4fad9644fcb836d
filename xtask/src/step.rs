//! Peak memory and time of a two-pass step, for batches of several sizes at one chunk size.
//!
//! Each batch is a process of its own: memory that an allocator keeps from one batch would count
//! for the next.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use burn::backend::Autodiff;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use recall_data::Batch;
use recall_loss::{LossAndGrad, Mixup};
use recall_step::TwoPass;
use recall_train::{Embedder, RunConfig};

use crate::machine::peak_memory;

type Backend = Autodiff<Flex>;

/// Options of `bench step`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Batch sizes, multiples of 4
    #[arg(long, value_delimiter = ',', default_values_t = [256, 1024, 4096])]
    batches: Vec<usize>,
    /// Images embedded with a graph at once
    #[arg(long, default_value_t = 64)]
    chunk: usize,
    /// Measure this one batch, in this process
    #[arg(long, hide = true)]
    single: Option<usize>,
}

/// Prints a table of batch sizes.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(batch) = args.single {
        return measure(batch, args.chunk);
    }
    println!(
        "| batch | virtual items | chunk | peak MB | pixels, embeddings and block MB | seconds |"
    );
    println!("|---|---|---|---|---|---|");
    for batch in &args.batches {
        let status = Command::new(std::env::current_exe()?)
            .args(["bench", "step", "--chunk", &args.chunk.to_string()])
            .args(["--single", &batch.to_string()])
            .status()
            .context("cannot start the measurement of one batch")?;
        if !status.success() {
            bail!("the measurement of a batch of {batch} failed");
        }
    }
    Ok(())
}

fn measure(rows: usize, chunk: usize) -> anyhow::Result<()> {
    let device = Default::default();
    let config = RunConfig::default();
    let model = config.init_model::<Backend>(&device);
    let loss = config.loss.surrogate().init()?;
    let [height, width] = config.image.train.size;
    let labels: Vec<i64> = (0..rows as i64).map(|row| row / 4).collect();
    let batch = Batch {
        ids: (0..rows).collect(),
        labels: labels.iter().map(|&label| label as u32).collect(),
        // Any pixels do: neither memory nor time depends on what they show.
        pixels: (0..rows * 3 * height * width)
            .map(|i| (i * 31 % 251) as u8)
            .collect(),
        shape: [rows, 3, height, width],
        skipped: Vec::new(),
    };
    let mixup = Mixup::all_pairs(&labels, 0);
    let items = rows + mixup.len();
    let classes = TensorData::new(labels, [rows]);
    let classes = Tensor::<Flex, 1, Int>::from_data(classes, &device);

    let start = Instant::now();
    let output = TwoPass { chunk, seed: 0 }.run(
        &model,
        rows,
        |model, rows| {
            model.embed(
                config
                    .image
                    .standardise
                    .images::<Backend>(&batch, rows, &device),
            )
        },
        |embeddings| {
            loss.value_and_grad(embeddings, classes, Some(&mixup))
                .map(LossAndGrad::for_step)
        },
    )?;
    let seconds = start.elapsed().as_secs_f64();

    // What has to be there: pixels as bytes, embeddings and their gradient, one row of
    // similarities for each query of a block.
    let needed = batch.pixels.len()
        + 2 * 4 * rows * output.embeddings.dims()[1]
        + 4 * config.loss.block_size.min(items) * items;
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    println!(
        "| {rows} | {} | {chunk} | {:.0} | {:.0} | {seconds:.1} |",
        mixup.len(),
        megabytes(peak_memory()?),
        megabytes(needed),
    );
    Ok(())
}
