//! A model of your own through the whole run, with checkpoints, resume and report:
//! `cargo run --release -p recall-examples --example own_model`

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Tensor, activation::relu, backend::Backend};
use burn::{backend::Autodiff, module::Module};
use burn_flex::{Flex, FlexDevice};
use recall_step::l2_normalise;
use recall_train::{Embedder, OnDevice, RunConfig, TrainingRun};

#[derive(Module, Debug)]
struct MyModel<B: Backend> {
    patches: Conv2d<B>,
}

impl<B: Backend> Embedder<B> for MyModel<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        l2_normalise(relu(self.patches.forward(images)).flatten(1, 3))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = ["model.backbone=own", "model.dim=512", "epochs=2"].map(str::to_owned);
    let run = TrainingRun::new(RunConfig::read(None, &settings)?);
    let finished = run.train_with(
        |config| {
            let patches = Conv2dConfig::new([3, 32], [8, 8]).with_stride([8, 8]);
            let engine = OnDevice::<Autodiff<Flex>, _>::new(config, &FlexDevice, |device| {
                let patches = patches.init(device);
                MyModel { patches }
            });
            Ok(Box::new(engine?))
        },
        None,
        &mut (),
    )?;
    println!("report: {}", finished.report.display());
    Ok(())
}
