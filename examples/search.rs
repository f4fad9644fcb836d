//! A trained model in three lines: embeds image files and searches an index with them.
//! `cargo run --release -p recall-examples --example search -- runs/emoji-001 index.npy a.jpg b.jpg`

use std::error::Error;
use std::path::PathBuf;

use recall_train::{Index, NamedBackend, TrainedModel};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(run), Some(index)) = (arguments.next(), arguments.next()) else {
        return Err("give a run, an index that `recall-train embed` wrote, and image files".into());
    };
    let files: Vec<PathBuf> = arguments.collect();

    let model = TrainedModel::open(run, NamedBackend::AUTO)?;
    let queries = model.embed_files(&files)?;
    for (file, found) in files.iter().zip(Index::open(index)?.search(&queries, 5)?) {
        println!("{}", file.display());
        for found in found {
            println!("  {:.3}  {}", found.similarity, found.name);
        }
    }
    Ok(())
}
