//! A model and a training loop of your own: `cargo run --release -p recall-examples --example own_loop`
//!
//! The crates provide batches, loss and two-pass step; everything else here is plain Burn.

use std::{error::Error, sync::Arc};

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, Optimizer};
use burn::tensor::{Int, Tensor, activation::relu, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use recall_data::{
    BatchRequest, BatchSamplerConfig, DataSpec, EvalTransform, Loader, LoaderConfig, Split,
};
use recall_eval::{Embeddings, EmptyQueries, Metric, Retrieval, evaluate};
use recall_loss::{LossAndGrad, Mixup, RecallAtKLossConfig};
use recall_step::{TwoPass, l2_normalise};
use recall_train::{Standardisation, embed::pixels};

const STANDARDISE: Standardisation = Standardisation {
    mean: [0.5; 3],
    std: [0.5; 3],
};

#[derive(Module, Debug)]
struct MyModel<B: Backend> {
    patches: Conv2d<B>,
    conv: Conv2d<B>,
    dropout: Dropout,
    head: Linear<B>,
}

impl<B: Backend> MyModel<B> {
    fn new(device: &B::Device) -> Self {
        Self {
            patches: Conv2dConfig::new([3, 32], [4, 4])
                .with_stride([4, 4])
                .init(device),
            conv: Conv2dConfig::new([32, 64], [3, 3]).init(device),
            dropout: DropoutConfig::new(0.1).init(),
            head: LinearConfig::new(64 * 6 * 6, 64).init(device),
        }
    }
}

// The crates only require rows of unit length, so that dot products are cosines.
impl<B: Backend> MyModel<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let features = relu(self.conv.forward(relu(self.patches.forward(images))));
        l2_normalise(
            self.head
                .forward(self.dropout.forward(features.flatten(1, 3))),
        )
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = FlexDevice;
    Flex::seed(&device, 0);
    let dataset = Arc::new(DataSpec::Emoji.open()?);
    let train = dataset.split(Split::Train);
    let sampler = BatchSamplerConfig::new(512, 4).init(train, &dataset.labels(train))?;
    let whole = EvalTransform {
        resize: 32,
        crop: 32,
        longest_side: None,
    };
    let loader = Loader::new(dataset.clone(), whole, LoaderConfig::default())?;
    let loss = RecallAtKLossConfig::new().with_ks(vec![1, 2, 4]).init()?;

    let mut model = MyModel::<Autodiff<Flex>>::new(&device);
    let mut optimiser = AdamWConfig::new().init();
    println!(
        "recall@1 on unseen classes, untrained: {:.4}",
        judge(&model.valid(), &loader)?
    );

    let requests = (0..3).flat_map(move |epoch| sampler.requests(epoch));
    for (step, batch) in (0..).zip(loader.batches(requests)) {
        let batch = batch?;
        let labels: Vec<i64> = batch.labels.iter().map(|&label| label.into()).collect();
        // Virtual items, mixed anew in each step, make the batch several times as large.
        let mixup = Mixup::all_pairs(&labels, step);
        let labels = Tensor::<Flex, 1, Int>::from_data(labels.as_slice(), &device);
        // Only 64 images are in a graph at a time, but the loss sees all of the batch.
        let output = TwoPass {
            chunk: 64,
            seed: step,
        }
        .run(
            &model,
            batch.ids.len(),
            |model, rows| model.embed(STANDARDISE.images(pixels(&batch), rows, &device)),
            |embeddings| {
                loss.value_and_grad(embeddings, labels, Some(&mixup))
                    .map(LossAndGrad::for_step)
            },
        )?;
        println!(
            "step {step:2}  loss {:.4}",
            output.objective.loss.into_scalar()
        );
        // Adam's first steps are as long as any, however little it knows: they begin small.
        let rate = 2e-3 * ((step + 1) as f64 / 10.0).min(1.0);
        model = optimiser.step(rate, model, output.gradients);
    }

    println!(
        "recall@1 on unseen classes, trained: {:.4}",
        judge(&model.valid(), &loader)?
    );
    Ok(())
}

/// How often the nearest neighbour of a test image belongs to its class.
fn judge(model: &MyModel<Flex>, loader: &Loader) -> Result<f64, Box<dyn Error>> {
    let dataset = loader.dataset();
    let test = dataset.split(Split::Test);
    let requests = test.chunks(256).map(|ids| BatchRequest {
        epoch: 0,
        step: 0,
        ids: ids.to_vec(),
    });
    let (mut values, mut ids) = (Vec::new(), Vec::new());
    for batch in loader.batches(requests.collect::<Vec<_>>()) {
        let batch = batch?;
        let images = STANDARDISE.images(pixels(&batch), 0..batch.ids.len(), &FlexDevice);
        values.extend(model.embed(images).into_data().iter::<f32>());
        ids.extend(batch.ids);
    }
    let embeddings = Embeddings::new(values, 64)?;
    let labels: Vec<i64> = dataset.labels(&ids).into_iter().map(i64::from).collect();
    let ranks = Retrieval::each_against_rest(&embeddings, &labels)?.ranks()?;
    let judged = evaluate(&ranks, &[Metric::RecallAt(1)], EmptyQueries::Skip)?;
    Ok(judged.values[0].1)
}
