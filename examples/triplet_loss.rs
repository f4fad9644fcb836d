//! A triplet loss of your own over a batch, with a sixteenth of it in a graph at a time:
//! `cargo run --release -p recall-examples --example triplet_loss`

use burn::backend::Autodiff;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, Optimizer};
use burn::tensor::{Distribution, Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use recall_step::{TwoPass, l2_normalise};

type Train = Autodiff<Flex>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = FlexDevice;
    Flex::seed(&device, 0);
    // Anchors and their positives differ by noise; negatives are other points.
    let draw = |deviation| Tensor::random([512, 32], Distribution::Normal(0.0, deviation), &device);
    let anchors = draw(1.0);
    let items = Tensor::cat(vec![anchors.clone(), anchors + draw(0.7), draw(1.0)], 0);
    let mut model: Linear<Train> = LinearConfig::new(32, 16).init(&device);
    let mut optimiser = AdamConfig::new().init();
    for seed in 0..30 {
        let step = TwoPass { chunk: 96, seed }.run_autodiff(
            &model,
            3 * 512,
            |model, rows| l2_normalise(model.forward(items.clone().slice([rows]))),
            |embeddings| {
                let [a, p, n] = [0, 512, 1024].map(|at| embeddings.clone().slice(at..at + 512));
                let distance = |b: Tensor<Train, 2>| (a.clone() - b).powf_scalar(2.0).sum_dim(1);
                (distance(p) - distance(n) + 1.0).clamp_min(0.0).mean()
            },
        )?;
        println!("step {seed:2}  loss {:.4}", step.objective.into_scalar());
        model = optimiser.step(1e-2, model, step.gradients);
    }
    Ok(())
}
