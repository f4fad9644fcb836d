//! Judges embeddings of any framework, each item against the rest:
//!
//! `judge_embeddings EMBEDDINGS LABELS`
//!
//! Both are `.npy` or `.safetensors` files, and one `.safetensors` file may serve as both.
//! From PyTorch: `numpy.save("embeddings.npy", embeddings.cpu().numpy())`, and so for the labels.

use std::process::ExitCode;

use recall_eval::{Embeddings, EmptyQueries, EvalError, Metric, Retrieval, evaluate, read_labels};

const METRICS: [Metric; 6] = [
    Metric::RecallAt(1),
    Metric::RecallAt(2),
    Metric::RecallAt(4),
    Metric::RecallAt(8),
    Metric::RPrecision,
    Metric::MapAtR,
];

fn main() -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    let [embeddings, labels] = &files[..] else {
        eprintln!("usage: judge_embeddings EMBEDDINGS LABELS (.npy or .safetensors files)");
        return ExitCode::from(2);
    };
    match judge(embeddings.as_ref(), labels.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn judge(embeddings: &std::path::Path, labels: &std::path::Path) -> Result<(), EvalError> {
    let embeddings = Embeddings::open(embeddings)?;
    let labels = read_labels(labels)?;
    if !embeddings.is_normalised() {
        eprintln!("the rows are not of unit length: normalised them, to rank by cosine similarity");
    }
    let embeddings = embeddings.normalised()?;

    let ranks = Retrieval::each_against_rest(&embeddings, &labels)?.ranks()?;
    let evaluation = evaluate(&ranks, &METRICS, EmptyQueries::Skip)?;

    println!("{evaluation}");
    let (queries, skipped) = (evaluation.queries, evaluation.without_positives);
    println!(
        "mean over {} queries, {skipped} skipped for want of a positive",
        queries - skipped
    );
    Ok(())
}
