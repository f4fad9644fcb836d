//! The two-pass step gives the gradients of the ordinary step, in which Burn's autodiff goes through
//! loss and model in one graph.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Element, Int, Tensor, TensorData, activation::relu};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use recall_loss::{
    LossAndGrad, LossError, Mixup, RecallAtKLoss, RecallAtKLossConfig, RecallBackend, plain,
};
use recall_step::{
    FrozenBatchNorm, FrozenBatchNormConfig, StepError, StepOutput, TwoPass, l2_normalise,
};
use recall_train::{Embedder, Head, VisionTransformerConfig};

type Output<B> = StepOutput<B, LossAndGrad<<B as AutodiffBackend>::InnerBackend>>;

const ROWS: usize = 70;
const CHUNKS: [usize; 4] = [1, 7, 64, ROWS];
const CLASSES: usize = 17;
const SIDE: usize = 6;

/// Burn's random generators are one for the process: tests that draw must not take turns in it.
static GENERATOR: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Module, Debug)]
struct WithDropout<B: Backend> {
    conv: Conv2d<B>,
    dropout: Dropout,
    head: Linear<B>,
}

impl<B: Backend> WithDropout<B> {
    fn new() -> Self {
        let device = B::Device::default();
        B::seed(&device, 1);
        Self {
            conv: Conv2dConfig::new([3, 5], [3, 3]).init(&device),
            dropout: DropoutConfig::new(0.4).init(),
            head: LinearConfig::new(5 * (SIDE - 2) * (SIDE - 2), 8).init(&device),
        }
    }
}

impl<B: Backend> Embedder<B> for WithDropout<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let features = relu(self.conv.forward(images)).flatten(1, 3);
        l2_normalise(self.head.forward(self.dropout.forward(features)))
    }
}

#[derive(Module, Debug)]
struct WithFrozenNorm<B: Backend> {
    conv: Conv2d<B>,
    norm: FrozenBatchNorm<B>,
    head: Linear<B>,
}

impl<B: Backend> WithFrozenNorm<B> {
    fn new() -> Self {
        let device = B::Device::default();
        B::seed(&device, 2);
        let mut norm = FrozenBatchNormConfig::new(5).init(&device);
        let trained = |values: [f32; 5]| Param::from_tensor(Tensor::from_floats(values, &device));
        norm.weight = trained([0.7, 1.3, -0.4, 1.0, 2.0]);
        norm.bias = trained([0.1, -0.2, 0.3, 0.0, -0.5]);
        norm.running_mean = trained([0.2, -0.1, 0.4, -0.3, 0.05]).set_require_grad(false);
        norm.running_var = trained([0.5, 1.7, 0.9, 0.2, 3.0]).set_require_grad(false);
        Self {
            conv: Conv2dConfig::new([3, 5], [3, 3]).init(&device),
            norm,
            head: LinearConfig::new(5 * (SIDE - 2) * (SIDE - 2), 8).init(&device),
        }
    }
}

impl<B: Backend> Embedder<B> for WithFrozenNorm<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let features = relu(self.norm.forward(self.conv.forward(images)));
        l2_normalise(self.head.forward(features.flatten(1, 3)))
    }
}

#[derive(Module, Debug)]
struct Backbone<B: Backend> {
    conv: Conv2d<B>,
    norm: BatchNorm<B>,
}

#[derive(Module, Debug)]
struct WithBatchNorm<B: Backend> {
    backbone: Backbone<B>,
    head: Linear<B>,
}

impl<B: Backend> Embedder<B> for WithBatchNorm<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let features = self.backbone.conv.forward(images);
        let features = relu(self.backbone.norm.forward(features));
        l2_normalise(self.head.forward(features.flatten(1, 3)))
    }
}

/// A batch with something of its class in each image, and what to train on it with.
struct Problem<B: AutodiffBackend<InnerBackend: RecallBackend>> {
    images: Tensor<B, 4>,
    labels: Tensor<B::InnerBackend, 1, Int>,
    loss: RecallAtKLoss,
    mixup: Option<Mixup>,
}

impl<B: AutodiffBackend<InnerBackend: RecallBackend>> Problem<B> {
    fn new() -> Self {
        let device = B::Device::default();
        let image = 3 * SIDE * SIDE;
        // Not from a generator: all backends see the same images.
        let noise =
            |seed: usize, at: usize| (((seed * 131 + at) as f64).sin() * 43758.5453).fract();
        let pixels: Vec<f64> = (0..ROWS * image)
            .map(|i| (i / image, i % image))
            .map(|(row, at)| noise(row % CLASSES, at) + 0.8 * noise(CLASSES + row, at))
            .collect();
        let pixels = TensorData::new(pixels, [ROWS, 3, SIDE, SIDE]);
        let labels = TensorData::new(labels(), [ROWS]);
        Self {
            images: Tensor::from_data(pixels, (&device, precision::<B>())),
            labels: Tensor::from_data(labels, &device),
            loss: loss().init().unwrap(),
            mixup: None,
        }
    }

    fn mixed(mut self) -> Self {
        self.mixup = Some(Mixup::all_pairs(&labels(), 3));
        self
    }

    /// Ten times the default temperature of the ranks. The loss then magnifies differences of the
    /// embeddings ten times less, such as the last bit that a matrix product of other shape changes.
    fn warm(mut self) -> Self {
        self.loss = loss().with_tau_rank(0.1).init().unwrap();
        self
    }

    fn embed<M: Embedder<B>>(&self, model: &M, rows: Range<usize>) -> Tensor<B, 2> {
        model.embed(self.images.clone().slice([rows]))
    }

    fn two_pass<M>(&self, model: &M, step: TwoPass) -> Result<Output<B>, StepError<LossError>>
    where
        M: Embedder<B> + AutodiffModule<B>,
    {
        step.run(
            model,
            ROWS,
            |model, rows| self.embed(model, rows),
            |embeddings| {
                self.loss
                    .value_and_grad(embeddings, self.labels.clone(), self.mixup.as_ref())
                    .map(LossAndGrad::for_step)
            },
        )
    }

    /// One graph from images to loss.
    fn one_pass<M>(&self, model: &M, embeddings: Tensor<B, 2>) -> (f64, GradientsParams)
    where
        M: Embedder<B> + AutodiffModule<B>,
    {
        let labels: Vec<i64> = self.labels.to_data().iter::<i64>().collect();
        let batch = self.loss.batch(&labels, self.mixup.as_ref()).unwrap();
        let loss = plain::loss(embeddings, &batch);
        let value = number(loss.clone());
        (value, GradientsParams::from_grads(loss.backward(), model))
    }

    /// The embeddings in one graph, with the numbers drawn that the two passes draw.
    fn embed_as<M: Embedder<B>>(&self, model: &M, step: TwoPass) -> Tensor<B, 2> {
        let chunks = (0..ROWS.div_ceil(step.chunk)).map(|index| {
            B::seed(&B::Device::default(), step.chunk_seed(index));
            let start = index * step.chunk;
            self.embed(model, start..ROWS.min(start + step.chunk))
        });
        Tensor::cat(chunks.collect(), 0)
    }
}

fn labels() -> Vec<i64> {
    (0..ROWS).map(|row| (row % CLASSES) as i64).collect()
}

fn loss() -> RecallAtKLossConfig {
    RecallAtKLossConfig::new().with_ks(vec![1, 2, 4])
}

/// The numbers that the backend is named after; by default Burn makes f32 on all of them.
fn precision<B: Backend>() -> DType {
    <B::FloatElem as Element>::dtype()
}

/// Brings a model's parameters to the backend's precision.
fn in_precision<B: AutodiffBackend, M: Module<B>>(model: M) -> M {
    struct Cast;
    impl<B: AutodiffBackend> ModuleMapper<B> for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let trained = param.is_require_grad();
            let (id, tensor, mapper) = param.consume();
            let tensor = Tensor::from_inner(tensor.inner().cast(precision::<B>()));
            Param::from_mapped_value(id, tensor.set_require_grad(trained), mapper)
        }
    }
    model.map(&mut Cast)
}

fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().sum()
}

/// The gradient of each parameter by its path; empty for one that has none.
fn by_name<B, M>(model: &M, gradients: &GradientsParams) -> Vec<(String, Vec<f64>)>
where
    B: AutodiffBackend,
    M: Module<B>,
{
    struct Collect<'a> {
        gradients: &'a GradientsParams,
        path: Vec<String>,
        found: Vec<(String, Vec<f64>)>,
    }
    impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let gradient = self.gradients.get::<B::InnerBackend, D>(param.id);
            let values = gradient.map_or(Vec::new(), |g| g.into_data().iter::<f64>().collect());
            self.found.push((self.path.join("."), values));
        }
    }
    let mut collect = Collect {
        gradients,
        path: Vec::new(),
        found: Vec::new(),
    };
    model.visit(&mut collect);
    collect.found
}

/// The largest relative difference (Frobenius norm) of any parameter's gradient.
fn difference<B, M>(model: &M, one: &GradientsParams, other: &GradientsParams) -> f64
where
    B: AutodiffBackend,
    M: Module<B>,
{
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (one, other) = (by_name(model, one), by_name(model, other));
    assert_eq!(one.len(), other.len());
    let mut largest = 0f64;
    for ((name, one), (_, other)) in one.into_iter().zip(other) {
        if name.contains("running") {
            assert!(
                one.is_empty() && other.is_empty(),
                "{name} must stay frozen"
            );
            continue;
        }
        assert_eq!(one.len(), other.len(), "{name}");
        assert!(norm(&other) > 0.0, "{name} has no gradient");
        let apart: Vec<f64> = one.iter().zip(&other).map(|(a, b)| a - b).collect();
        let apart = norm(&apart) / norm(&other);
        println!("  {name}: {apart:.1e} of {:.1e}", norm(&other));
        largest = largest.max(apart);
    }
    largest
}

/// A model that draws: the ordinary step draws the same for the same chunks.
fn dropout_agrees<B: AutodiffBackend<InnerBackend: RecallBackend>>(
    problem: &Problem<B>,
    tolerance: f64,
) {
    let _alone = alone();
    let model = in_precision(WithDropout::<B>::new());
    for chunk in CHUNKS {
        let step = TwoPass { chunk, seed: 5 };
        let embeddings = problem.embed_as(&model, step);
        agrees(problem, &model, step, embeddings, tolerance);
    }
}

/// A model that does not: the ordinary step takes the whole batch at once, whatever the chunk.
fn frozen_norm_agrees<B: AutodiffBackend<InnerBackend: RecallBackend>>(
    problem: &Problem<B>,
    tolerance: f64,
) {
    let _alone = alone();
    let model = in_precision(WithFrozenNorm::<B>::new());
    for chunk in CHUNKS {
        let embeddings = problem.embed(&model, 0..ROWS);
        let step = TwoPass { chunk, seed: 5 };
        agrees(problem, &model, step, embeddings, tolerance);
    }
}

fn agrees<B, M>(
    problem: &Problem<B>,
    model: &M,
    step: TwoPass,
    embeddings: Tensor<B, 2>,
    tolerance: f64,
) where
    B: AutodiffBackend<InnerBackend: RecallBackend>,
    M: Embedder<B> + AutodiffModule<B>,
{
    let two = problem.two_pass(model, step).unwrap();
    let (loss, one) = problem.one_pass(model, embeddings);
    println!("{step:?}");
    let apart = difference(model, &two.gradients, &one);
    assert!(apart <= tolerance, "{step:?}: {apart:e}");
    assert!((number(two.objective.loss) - loss).abs() <= tolerance);
}

type FlexF32 = Autodiff<Flex>;
type NdArrayF32 = Autodiff<NdArray<f32>>;
type NdArrayF64 = Autodiff<NdArray<f64>>;

#[test]
fn equals_one_pass_with_dropout() {
    dropout_agrees::<FlexF32>(&Problem::new(), 1e-5);
    dropout_agrees::<NdArrayF32>(&Problem::new(), 1e-5);
    dropout_agrees::<NdArrayF64>(&Problem::new(), 1e-10);
}

#[test]
fn equals_one_pass_with_frozen_batch_norm() {
    frozen_norm_agrees::<FlexF32>(&Problem::new().warm(), 1e-5);
    frozen_norm_agrees::<NdArrayF32>(&Problem::new().warm(), 1e-5);
    frozen_norm_agrees::<NdArrayF64>(&Problem::new(), 1e-10);
}

#[test]
fn equals_one_pass_with_similarity_mixup() {
    dropout_agrees::<FlexF32>(&Problem::new().mixed(), 1e-5);
    dropout_agrees::<NdArrayF32>(&Problem::new().mixed(), 1e-5);
    frozen_norm_agrees::<FlexF32>(&Problem::new().warm().mixed(), 1e-5);
    frozen_norm_agrees::<NdArrayF64>(&Problem::new().mixed(), 1e-10);
}

#[test]
fn dropout_follows_the_seed_and_is_active() {
    let _alone = alone();
    let problem = Problem::<FlexF32>::new();
    let model = WithDropout::new();
    let gradients = |chunk, seed| {
        let output = problem.two_pass(&model, TwoPass { chunk, seed }).unwrap();
        by_name(&model, &output.gradients)
    };
    assert_eq!(gradients(7, 1), gradients(7, 1));
    assert_ne!(gradients(7, 1), gradients(7, 2));

    // Chunks of one step draw differently: equal images in different chunks get other embeddings.
    let step = TwoPass { chunk: 1, seed: 1 };
    let same = |model: &WithDropout<_>, _: Range<usize>| problem.embed(model, 0..1);
    let objective = |embeddings| {
        problem
            .loss
            .value_and_grad(embeddings, problem.labels.clone(), None)
            .map(LossAndGrad::for_step)
    };
    let output = step.run(&model, ROWS, same, objective).unwrap();
    let embeddings: Vec<f32> = output.embeddings.into_data().iter().collect();
    assert_ne!(embeddings[..8], embeddings[8..16]);
}

#[test]
fn embeds_each_chunk_twice_but_the_last_once() {
    let _alone = alone();
    let problem = Problem::<FlexF32>::new();
    let model = WithFrozenNorm::new();
    for (chunk, expected) in [
        (ROWS + 100, 1),
        (ROWS, 1),
        (64, 3),
        (7, 19),
        (1, 2 * ROWS - 1),
    ] {
        let asked = RefCell::new(Vec::new());
        let embed = |model: &WithFrozenNorm<_>, rows: Range<usize>| {
            asked.borrow_mut().push(rows.clone());
            problem.embed(model, rows)
        };
        let objective = |embeddings| {
            problem
                .loss
                .value_and_grad(embeddings, problem.labels.clone(), None)
                .map(LossAndGrad::for_step)
        };
        let step = TwoPass { chunk, seed: 0 };
        step.run(&model, ROWS, embed, objective).unwrap();
        let asked = asked.into_inner();
        assert_eq!(asked.len(), expected, "chunk {chunk}");
        assert!(asked.iter().all(|rows| rows.len() <= chunk));
        assert!((0..ROWS).all(|row| asked.iter().any(|rows| rows.contains(&row))));
    }
}

#[test]
fn batch_norm_that_is_not_frozen_is_refused_by_name() {
    let _alone = alone();
    let device = Default::default();
    let model = WithBatchNorm::<FlexF32> {
        backbone: Backbone {
            conv: Conv2dConfig::new([3, 5], [3, 3]).init(&device),
            norm: BatchNormConfig::new(5).init(&device),
        },
        head: LinearConfig::new(5 * (SIDE - 2) * (SIDE - 2), 8).init(&device),
    };
    // Even in one chunk, where the sum would come out right: a run must not fail by its batch size.
    for chunk in [7, ROWS] {
        let error = Problem::new()
            .two_pass(&model, TwoPass { chunk, seed: 0 })
            .unwrap_err();
        let message = error.to_string();
        assert!(message.contains("`backbone.norm`"), "{message}");
        assert!(message.contains("FrozenBatchNorm"), "{message}");
    }
}

#[test]
fn steps_that_make_no_sense_are_errors() {
    let _alone = alone();
    let problem = Problem::<FlexF32>::new();
    let model = WithFrozenNorm::new();
    let run = |chunk, rows, embed: &dyn Fn(Range<usize>) -> Range<usize>| {
        let labels = problem.labels.clone();
        TwoPass { chunk, seed: 0 }
            .run(
                &model,
                rows,
                |model, rows| problem.embed(model, embed(rows)),
                |embeddings| {
                    let found = problem.loss.value_and_grad(embeddings, labels, None);
                    found.map(LossAndGrad::for_step)
                },
            )
            .map(|_| ())
    };
    let all = |rows: Range<usize>| rows;
    let empty = |rows, chunk| Err(StepError::Empty { rows, chunk });
    assert_eq!(run(0, ROWS, &all), empty(ROWS, 0));
    assert_eq!(run(7, 0, &all), empty(0, 7));

    let one_less = |rows: Range<usize>| rows.start..rows.end - 1;
    assert_eq!(
        run(7, ROWS, &one_less),
        Err(StepError::Rows {
            asked: 0..7,
            got: 6
        })
    );
    assert_eq!(
        run(ROWS, ROWS, &one_less),
        Err(StepError::Rows {
            asked: 0..ROWS,
            got: ROWS - 1
        })
    );

    // What the objective refuses comes through as it is.
    let error = run(7, ROWS - 1, &all).unwrap_err();
    assert!(matches!(error, StepError::Objective(_)), "{error}");
}

/// What each call of `embed` gave, for the rows it was asked for.
fn embeddings_of_both_passes(drop_path: f64, dropout: f64) -> Vec<(Range<usize>, Vec<f32>)> {
    type B = Autodiff<Flex>;
    let device = Default::default();
    let model = VisionTransformerConfig {
        patch: 2,
        width: 16,
        depth: 3,
        heads: 4,
        layer_scale: false,
        registers: 0,
        pre_norm: false,
        quick_gelu: false,
        epsilon: 1e-6,
        image: [SIDE, SIDE],
        dim: 8,
        head: Head::default(),
        mean: false,
        dropout,
        drop_path,
    };
    let model = model.init::<B>(&device);
    let pixels: Vec<f32> = (0..16 * 3 * SIDE * SIDE)
        .map(|i| ((i * 37 % 101) as f32) / 50.0 - 1.0)
        .collect();
    let images = Tensor::<B, 4>::from_data(TensorData::new(pixels, [16, 3, SIDE, SIDE]), &device);
    let labels: Vec<i64> = (0..16).map(|row| row / 4).collect();
    let labels = Tensor::from_data(TensorData::new(labels, [16]), &device);
    let loss = RecallAtKLossConfig::new().init().unwrap();
    let seen = RefCell::new(Vec::new());
    TwoPass { chunk: 5, seed: 9 }
        .run::<B, _, _, _>(
            &model,
            16,
            |model, rows| {
                let embeddings = model.embed(images.clone().slice([rows.clone()]));
                let values = embeddings.clone().into_data().iter::<f32>().collect();
                seen.borrow_mut().push((rows, values));
                embeddings
            },
            |embeddings| {
                loss.value_and_grad(embeddings, labels, None)
                    .map(LossAndGrad::for_step)
            },
        )
        .unwrap();
    seen.into_inner()
}

#[test]
fn a_transformer_drops_the_same_in_both_passes() {
    let _alone = alone();
    for (drop_path, dropout) in [(0.5, 0.0), (0.0, 0.3), (0.4, 0.2)] {
        let calls = embeddings_of_both_passes(drop_path, dropout);
        // Four chunks, the last of which is embedded once.
        assert_eq!(calls.len(), 7);
        for (rows, values) in &calls {
            for (others, again) in &calls {
                assert!(rows != others || values == again, "rows {rows:?}");
            }
        }
    }
}
