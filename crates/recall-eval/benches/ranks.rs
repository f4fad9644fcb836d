//! Time of the exact ranks of a random set, each item against the rest.
//!
//! `cargo bench -p recall-eval -- [ITEMS [DIM [CLASS_SIZE]]]`, by default 10000 512 5. The test
//! split of SOP is 60502 512 5. Random vectors are the worst case: a positive is as far down the
//! ranking as any other item.

use std::time::Instant;

use recall_eval::{Embeddings, EmptyQueries, EvalError, Metric, Retrieval, evaluate};

fn main() -> Result<(), EvalError> {
    // Cargo adds flags of its own.
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let size = |at: usize, default| sizes.get(at).copied().unwrap_or(default);
    let (items, dim, class_size) = (size(0, 10_000), size(1, 512), size(2, 5).max(1));

    let mut state = 1u64;
    let values = (0..items * dim).map(|_| {
        // Numbers of Knuth's MMIX generator; the sum of two is closer to normal than one.
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        uniform() + uniform()
    });
    let embeddings = Embeddings::new(values.collect(), dim)?.normalised()?;
    let labels: Vec<i64> = (0..items).map(|i| (i / class_size) as i64).collect();

    let start = Instant::now();
    let ranks = Retrieval::each_against_rest(&embeddings, &labels)?.ranks()?;
    let seconds = start.elapsed().as_secs_f64();

    println!(
        "{}",
        evaluate(
            &ranks,
            &[Metric::RecallAt(1), Metric::Map],
            EmptyQueries::Skip
        )?
    );
    let operations = 2.0 * (items * items * dim) as f64;
    println!(
        "{items} items of {dim} dimensions in classes of {class_size}: \
         {seconds:.2} s on {} threads, {:.0} Gflop/s",
        rayon::current_num_threads(),
        operations / seconds / 1e9,
    );
    Ok(())
}
