//! Proxy-Anchor and Recall@k on a model of your own, in the same loop:
//! `cargo run --release -p recall-examples --example proxy_anchor`
//!
//! Proxy-Anchor trains a vector for each class beside the model, with an optimiser of its own at a higher rate. Recall@k trains
//! nothing but the model, and needs no other loop for that. The rates were tried out for Proxy-Anchor alone, by the figures that are
//! printed: these do not compare the two losses.

use std::{error::Error, fmt::Debug, sync::Arc};

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::{Int, Tensor, activation::relu, backend::Backend};
use burn_flex::{Flex, FlexDevice};
use recall_baselines::{MetricLoss, ProxyAnchorConfig, RecallAtKLossConfig, Trained};
use recall_data::{
    BatchRequest, BatchSamplerConfig, DataSpec, EvalTransform, Loader, LoaderConfig, Split,
};
use recall_eval::{Embeddings, EmptyQueries, Metric, Retrieval, evaluate};
use recall_step::l2_normalise;
use recall_train::{Standardisation, embed::pixels};

type Train = Autodiff<Flex>;

const DIM: usize = 64;
const EPOCHS: u64 = 8;
const STANDARDISE: Standardisation = Standardisation {
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// Patches of 4 × 4 pixels, and a linear map of all of them.
#[derive(Module, Debug)]
struct MyModel<B: Backend> {
    patches: Conv2d<B>,
    head: Linear<B>,
}

impl<B: Backend> MyModel<B> {
    fn new(device: &B::Device) -> Self {
        let patches = Conv2dConfig::new([3, 16], [4, 4]).with_stride([4, 4]);
        Self {
            patches: patches.init(device),
            head: LinearConfig::new(16 * 8 * 8, DIM).init(device),
        }
    }

    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let features = relu(self.patches.forward(images));
        l2_normalise(self.head.forward(features.flatten(1, 3)))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dataset = Arc::new(DataSpec::Emoji.open()?);
    let whole = EvalTransform {
        resize: 32,
        crop: 32,
        longest_side: None,
    };
    let loader = Loader::new(dataset, whole, LoaderConfig::default())?;

    Flex::seed(&FlexDevice, 0);
    let model = MyModel::<Train>::new(&FlexDevice);
    let before = judge(&model.valid(), &loader)?;
    let by_proxies = train(model.clone(), ProxyAnchorConfig::new().init()?, &loader)?;
    let by_recall = train(model, RecallAtKLossConfig::new().init()?, &loader)?;

    println!("recall@1 of unseen classes  before   after");
    for (name, model) in [("Proxy-Anchor", by_proxies), ("Recall@k", by_recall)] {
        let after = judge(&model.valid(), &loader)?;
        println!("{name:26}  {before:.4}  {after:.4}");
    }
    Ok(())
}

/// Trains a model by any loss.
fn train<L>(
    mut model: MyModel<Train>,
    loss: L,
    loader: &Loader,
) -> Result<MyModel<Train>, Box<dyn Error>>
where
    L: MetricLoss<Train> + Clone + Debug + Send,
{
    let device = FlexDevice;
    let dataset = loader.dataset();
    let items = dataset.split(Split::Train);
    let sampler = BatchSamplerConfig::new(256, 4).init(items, &dataset.labels(items))?;
    // The proxies are numbered from 0: a class is its place among those that are trained on.
    let mut classes = dataset.labels(items);
    classes.sort_unstable();
    classes.dedup();

    // The loss with its proxies is a module like the model. That of Recall@k is empty.
    let mut loss = Trained::init(loss, classes.len(), DIM, &device);
    let (mut of_model, mut of_proxies) = (AdamWConfig::new().init(), AdamWConfig::new().init());
    let requests = (0..EPOCHS).flat_map(move |epoch| sampler.requests(epoch));
    for batch in loader.batches(requests) {
        let batch = batch?;
        let number = |label| classes.partition_point(|class| class < label) as i64;
        let labels: Vec<i64> = batch.labels.iter().map(number).collect();
        let labels = Tensor::<Train, 1, Int>::from_data(labels.as_slice(), &device);
        let images = STANDARDISE.images(pixels(&batch), 0..batch.ids.len(), &device);

        let mut gradients = loss.forward(model.embed(images), labels)?.backward();
        let on_model = GradientsParams::from_module(&mut gradients, &model);
        let on_proxies = GradientsParams::from_module(&mut gradients, &loss);
        model = of_model.step(3e-4, model, on_model);
        loss = of_proxies.step(3e-2, loss, on_proxies);
    }
    Ok(model)
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
    let embeddings = Embeddings::new(values, DIM)?;
    let labels: Vec<i64> = dataset.labels(&ids).into_iter().map(i64::from).collect();
    let ranks = Retrieval::each_against_rest(&embeddings, &labels)?.ranks()?;
    let judged = evaluate(&ranks, &[Metric::RecallAt(1)], EmptyQueries::Skip)?;
    Ok(judged.values[0].1)
}
