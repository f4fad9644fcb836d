//! A loss that Burn differentiates, in two passes and in one graph.

use std::ops::Range;

use burn::backend::Autodiff;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Distribution, Tensor, Tolerance};
use burn_flex::Flex;
use recall_step::{StepError, TwoPass, l2_normalise};

type B = Autodiff<Flex>;

const ROWS: usize = 45;

fn model() -> Linear<B> {
    LinearConfig::new(6, 4).init(&Default::default())
}

fn items() -> Tensor<B, 2> {
    Tensor::random(
        [ROWS, 6],
        Distribution::Normal(0.0, 1.0),
        &Default::default(),
    )
}

/// Anchors, positives, negatives.
fn triplet(embeddings: Tensor<B, 2>) -> Tensor<B, 1> {
    let third = ROWS / 3;
    let [a, p, n] = [0, 1, 2].map(|at| embeddings.clone().slice(at * third..(at + 1) * third));
    let distance = |b: Tensor<B, 2>| (a.clone() - b).powf_scalar(2.0).sum_dim(1);
    (distance(p) - distance(n) + 0.5).clamp_min(0.0).mean()
}

fn slope(model: &Linear<B>, gradients: &GradientsParams) -> burn::tensor::TensorData {
    let id = model.weight.id;
    gradients.get::<Flex, 2>(id).unwrap().into_data()
}

#[test]
fn two_passes_are_one_graph() {
    let (model, items) = (model(), items());
    let embed = |model: &Linear<B>, rows: Range<usize>| {
        l2_normalise(model.forward(items.clone().slice([rows])))
    };
    let loss = triplet(embed(&model, 0..ROWS));
    let whole = GradientsParams::from_grads(loss.backward(), &model);
    for chunk in [1, 7, ROWS, 2 * ROWS] {
        let step = TwoPass { chunk, seed: 3 };
        let step = step.run_autodiff(&model, ROWS, embed, triplet).unwrap();
        let tolerance = Tolerance::<f32>::default();
        let value = step.objective.into_data();
        value.assert_approx_eq(&loss.clone().inner().into_data(), tolerance);
        slope(&model, &step.gradients).assert_approx_eq(&slope(&model, &whole), tolerance);
        assert_eq!(step.embeddings.dims(), [ROWS, 4]);
    }
}

#[test]
fn a_loss_without_the_embeddings_has_a_gradient_of_zero() {
    let (model, items) = (model(), items());
    let largest = |loss: fn(Tensor<B, 2>) -> Tensor<B, 1>| {
        let step = TwoPass { chunk: 9, seed: 0 };
        let embed =
            |model: &Linear<B>, rows: Range<usize>| model.forward(items.clone().slice([rows]));
        let step = step.run_autodiff(&model, ROWS, embed, loss).unwrap();
        let values = slope(&model, &step.gradients);
        values.iter::<f32>().map(f32::abs).fold(0.0, f32::max)
    };
    assert_eq!(
        largest(|_| Tensor::from_floats([1.0], &Default::default())),
        0.0
    );
    assert_eq!(largest(|embeddings| embeddings.detach().mean()), 0.0);
    assert!(largest(|embeddings| embeddings.mean()) > 0.0);
}

#[test]
fn a_gradient_of_another_shape_and_an_error_of_any_type_are_returned() {
    let (model, items) = (model(), items());
    let step = TwoPass { chunk: 9, seed: 0 };
    let embed = |model: &Linear<B>, rows: Range<usize>| model.forward(items.clone().slice([rows]));
    let narrow = step.run(&model, ROWS, embed, |embeddings| {
        Ok::<_, String>((embeddings.slice([0..ROWS, 0..3]), ()))
    });
    let wanted = StepError::Gradient {
        embeddings: [ROWS, 4],
        got: [ROWS, 3],
    };
    assert_eq!(narrow.unwrap_err(), wanted);
    let failed = step.run::<B, _, (), _>(&model, ROWS, embed, |_| Err("no".to_owned()));
    assert_eq!(failed.unwrap_err().to_string(), "no");
    assert_eq!(model.num_params(), 6 * 4 + 4);
}

/// What the comment in the two-pass step says of memory.
#[test]
fn the_gradients_of_chunks_are_added_in_place() {
    let (model, items) = (model(), items());
    let mut sums = GradientsAccumulator::new();
    let mut addresses = Vec::new();
    for chunk in 0..3 {
        let rows = items.clone().slice(chunk * 15..(chunk + 1) * 15);
        let gradients = model.forward(rows).sum().backward();
        sums.accumulate(&model, GradientsParams::from_grads(gradients, &model));
        let so_far = sums.grads();
        let weight = so_far.get::<Flex, 2>(model.weight.id).unwrap();
        let bytes = weight.into_primitive().tensor();
        addresses.push(bytes.bytes().as_ptr() as usize);
        drop(bytes);
        sums.accumulate(&model, so_far);
    }
    assert_eq!(addresses, [addresses[0]; 3]);
}
