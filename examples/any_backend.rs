//! The loss on any backend: `cargo run --release -p recall-examples --example any_backend`
//!
//! The loss requires `RecallBackend`. Burn's backends implement it with kernels. One of your own needs an
//! empty `impl RecallBackend for MyBackend {}`, with which it runs on tensor operations. Below, one
//! generic function runs on three backends, and nothing in it names one. Both ways to the gradient
//! are shown, since your own training loop may want either.

use burn::backend::Autodiff;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Element, Int, Tensor, TensorData};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use recall_loss::{LossError, RecallAtKLossConfig, RecallBackend};

const ITEMS: usize = 240;
const CLASSES: usize = 60;
const DIM: usize = 16;

fn main() -> Result<(), LossError> {
    println!(
        "{:14} {:>12} {:>18} {:>18}",
        "backend", "loss", "|grad| autodiff", "|grad| analytic"
    );
    let results = [
        ("flex", run::<Autodiff<Flex>>()?),
        ("ndarray, f32", run::<Autodiff<NdArray<f32>>>()?),
        ("ndarray, f64", run::<Autodiff<NdArray<f64>>>()?),
    ];
    for (name, [loss, autodiff, analytic]) in results {
        println!("{name:14} {loss:12.8} {autodiff:18.8} {analytic:18.8}");
    }
    let [_, _, (_, exact)] = results;
    for (name, values) in results {
        let near = |(a, b): (f64, f64)| (a - b).abs() <= 1e-3 * b.abs();
        assert!(values.into_iter().zip(exact).all(near), "{name} differs");
    }
    println!("all agree");
    Ok(())
}

/// The loss of a batch, and the length of its gradient, either way.
fn run<B>() -> Result<[f64; 3], LossError>
where
    B: RecallBackend + AutodiffBackend<InnerBackend: RecallBackend>,
{
    let device = B::Device::default();
    let (points, labels) = clusters();
    // Said here because Burn makes f32 on every backend that is asked for nothing else.
    let precision = <B::FloatElem as Element>::dtype();
    let points = TensorData::new(points, [ITEMS, DIM]);
    let embeddings = Tensor::<B, 2>::from_data(points, (&device, precision));
    let labels = Tensor::<B, 1, Int>::from_data(TensorData::new(labels, [ITEMS]), &device);
    let loss = RecallAtKLossConfig::new().with_ks(vec![1, 2, 4]).init()?;

    // By Burn's autodiff, which goes on through whatever came before the loss.
    let tracked = embeddings.clone().require_grad();
    let value = loss.forward(tracked.clone(), labels.clone())?;
    let gradients = value.backward();
    let autodiff = tracked.grad(&gradients).expect("it was asked for");

    // The same numbers without a graph.
    let analytic = loss.value_and_grad(embeddings.inner(), labels.inner(), None)?;
    Ok([
        number(analytic.loss),
        number(autodiff.powf_scalar(2.0).sum()).sqrt(),
        number(analytic.grad.powf_scalar(2.0).sum()).sqrt(),
    ])
}

fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().sum()
}

/// Unit vectors around one centre per class, the same on every backend.
fn clusters() -> (Vec<f64>, Vec<i64>) {
    let noise = |seed: usize, at: usize| (((seed * 131 + at) as f64).sin() * 43758.5453).fract();
    let mut points = Vec::with_capacity(ITEMS * DIM);
    for item in 0..ITEMS {
        let around = |at| noise(item % CLASSES, at) + 0.8 * noise(CLASSES + item, at);
        let point: Vec<f64> = (0..DIM).map(around).collect();
        let length = point.iter().map(|x| x * x).sum::<f64>().sqrt();
        points.extend(point.iter().map(|x| x / length));
    }
    (
        points,
        (0..ITEMS).map(|item| (item % CLASSES) as i64).collect(),
    )
}
