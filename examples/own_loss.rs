//! A loss of your own through the whole run, any that Burn differentiates:
//! `cargo run --release -p recall-examples --example own_loss`

use burn::{backend::Autodiff, tensor::Tensor};
use burn_flex::{Flex, FlexDevice};
use recall_train::{OnDevice, RunConfig, TrainingRun};

type Train = Autodiff<Flex>;

/// Contrastive: images of a class should have a similarity of 1, others at most a half.
fn contrastive(embeddings: Tensor<Train, 2>, labels: &[i64]) -> Tensor<Train, 1> {
    let count = labels.len();
    let labels: Vec<f32> = labels.iter().map(|&label| label as f32).collect();
    let rows = Tensor::<Train, 1>::from_floats(&labels[..], &FlexDevice).reshape([count, 1]);
    let same = (rows.clone() - rows.transpose()).equal_elem(0.0).float();
    let similarity = embeddings.clone().matmul(embeddings.transpose());
    let mean =
        |values: Tensor<Train, 2>, of: Tensor<Train, 2>| (values * of.clone()).sum() / of.sum();
    let missed = mean(-similarity.clone() + 1.0, same.clone());
    missed + mean((similarity - 0.5).clamp_min(0.0), -same + 1.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = ["epochs=3", "optimiser.learning_rate=0.0003"].map(str::to_owned);
    let run = TrainingRun::new(RunConfig::read(None, &settings)?);
    let finished = run.train_with(
        |config| {
            let engine = OnDevice::<Train, _>::of_config(config, &FlexDevice)?;
            Ok(Box::new(engine.with_autodiff_loss(contrastive)))
        },
        None,
        &mut (),
    )?;
    println!("report: {}", finished.report.display());
    Ok(())
}
