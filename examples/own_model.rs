//! A model of your own through the whole run, with checkpoints, resume and report:
//! `cargo run --release -p recall-examples --example own_model`

use burn::nn::{
    Linear, LinearConfig,
    conv::{Conv2d, Conv2dConfig},
};
use burn::tensor::{Tensor, activation::relu, backend::Backend};
use burn::{backend::Autodiff, module::Module};
use burn_flex::{Flex, FlexDevice};
use recall_step::l2_normalise;
use recall_train::{Embedder, OnDevice, RunConfig, TrainingRun};

#[derive(Module, Debug)]
struct MyModel<B: Backend> {
    conv: Conv2d<B>,
    head: Linear<B>,
}

impl<B: Backend> Embedder<B> for MyModel<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let features = relu(self.conv.forward(images)).flatten(1, 3);
        l2_normalise(self.head.forward(features))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = ["model.backbone=own", "model.dim=64", "epochs=2"].map(str::to_owned);
    let run = TrainingRun::new(RunConfig::read(None, &settings)?);
    let finished = run.train_with(
        |config| {
            let engine =
                OnDevice::<Autodiff<Flex>, _>::new(config, &FlexDevice, |device| MyModel {
                    conv: Conv2dConfig::new([3, 64], [4, 4])
                        .with_stride([4, 4])
                        .init(device),
                    head: LinearConfig::new(64 * 8 * 8, 64).init(device),
                });
            Ok(Box::new(engine?))
        },
        None,
        &mut (),
    )?;
    println!("report: {}", finished.report.display());
    Ok(())
}
