//! What a rank of several takes for its share of a loss, beside one process for the whole of it:
//!
//! ```text
//! cargo run --release -p recall-loss --example shares -- 65536 512 4
//! ```
//!
//! computes the first of four shares of 65,536 random items with embeddings of 512 numbers, and the whole with
//! 1 instead of 4; `mixup` as a fourth word mixes all pairs. One run is one process, since its peak of memory is
//! that of all it did.

use std::{env, error::Error, time::Instant};

use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_loss::{Mixup, RecallAtKLossConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let number = |place: usize, default| match words.get(place) {
        Some(word) => word.parse(),
        None => Ok(default),
    };
    let (n, dim, ranks) = (number(0, 4096)?, number(1, 512)?, number(2, 4)?.max(1));
    let labels: Vec<i64> = (0..n as i64).map(|item| item / 4).collect();
    let mixup = words.get(3).map(|_| Mixup::all_pairs(&labels, 0));

    let device = Default::default();
    let embeddings = TensorData::new(close_classes(n, dim), [n, dim]);
    let embeddings = Tensor::<Flex, 2>::from_data(embeddings, &device);
    let labels = Tensor::<Flex, 1, Int>::from_data(TensorData::new(labels, [n]), &device);
    let loss = RecallAtKLossConfig::new().init()?;

    let start = Instant::now();
    // Kept, as the two-pass step keeps its embeddings.
    let kept = embeddings.clone();
    let found = loss.value_and_grad_of(0..n / ranks, embeddings, labels, mixup.as_ref())?;
    let seconds = start.elapsed().as_secs_f64();

    let tensors = (kept.shape().num_elements() + found.grad.shape().num_elements()) * 4;
    println!("{} queries in {seconds:.2} s", found.queries.len());
    println!("embeddings and gradient {:.1} MB", tensors as f64 / 1e6);
    match peak_memory() {
        Some(peak) => println!(
            "peak {:.1} MB, {:.1} MB beside these",
            peak as f64 / 1e6,
            peak as f64 / 1e6 - tensors as f64 / 1e6
        ),
        None => println!("this system does not tell the peak of memory"),
    }
    Ok(())
}

/// Unit rows in classes of four, at similarities of about 0.6 within a class and 0.5 beyond: near enough that
/// no comparison is saturated and every query has a gradient.
fn close_classes(n: usize, dim: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut direction = || -> Vec<f32> { (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let (all, mut class) = (direction(), Vec::new());
    let mut values = Vec::with_capacity(n * dim);
    for item in 0..n {
        if item % 4 == 0 {
            class = direction();
        }
        let own = direction();
        let parts = all.iter().zip(&class).zip(&own);
        let row = parts.map(|((all, class), own)| 0.71 * all + 0.32 * class + 0.63 * own);
        let start = values.len();
        values.extend(row);
        let length = values[start..].iter().map(|v| v * v).sum::<f32>().sqrt();
        for value in &mut values[start..] {
            *value /= length;
        }
    }
    values
}

/// Bytes at the peak of this process.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
