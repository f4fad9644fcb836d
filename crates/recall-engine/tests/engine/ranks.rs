//! Ranks that train together come to what one process comes to.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData, backend::Backend as BurnBackend};
use burn_flex::Flex;
use recall_engine::{
    Backbone, Broken, Device, EmbeddingLoss, Engine, EngineConfig, EngineError, Features, Inputs,
    LossConfig, LossFault, LossKind, LossValue, MemoryConfig, Network, OnDevice, Pixels, Start,
    StepRequest, StepResult, of_backend,
};
use recall_step::{Collective, Solo, in_turns, share};

use crate::support::alone;

type Train = Autodiff<Flex>;

const DIM: usize = 12;
const CLASSES: usize = 6;
const ROWS: usize = 24;

fn drawn(at: usize) -> f32 {
    ((at as f64 * 12.9898).sin() * 43758.5453).fract() as f32 * 0.5
}

fn values() -> Vec<f32> {
    let number = |at: usize| {
        let (row, column) = (at / DIM, at % DIM);
        drawn(10_000 + row % CLASSES * DIM + column) + 0.8 * drawn(at)
    };
    (0..ROWS * DIM).map(number).collect()
}

fn labels() -> Vec<i64> {
    (0..ROWS).map(|row| (row % CLASSES) as i64).collect()
}

fn config(loss: LossConfig) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.model.backbone = Backbone::Residual;
    config.model.features = Some(DIM);
    config.model.dim = 8;
    config.model.start = Start::Random;
    config.model.dropout = 0.3;
    config.optimiser.average = Some(0.5);
    config.optimiser.clip_norm = Some(0.1);
    config.loss = loss;
    config
}

fn engine(config: &EngineConfig) -> Box<dyn Engine> {
    let device = of_backend::<Train>(Default::default());
    let mut engine = device.engine(config).unwrap();
    engine.set_classes(CLASSES);
    engine
}

/// Takes the step of a rank, without its last `short` rows.
fn step(
    engine: &mut dyn Engine,
    ranks: &dyn Collective,
    chunk: usize,
    seed: u64,
    short: usize,
) -> StepResult {
    let Range { start, end } = share(ranks, ROWS, chunk);
    let end = end - short.min(end - start);
    let (values, labels) = (values(), labels());
    let request = StepRequest {
        inputs: Inputs::Features(Features {
            values: &values[start * DIM..end * DIM],
            dim: DIM,
        }),
        labels: &labels[start..end],
        chunk,
        first_chunk: start / chunk,
        learning_rate: 0.01,
        model_seed: seed,
        loss_seed: seed,
    };
    engine.step(&request, &mut |_, _| ()).unwrap()
}

/// What three steps come to: their results, a hash of the weights, and embeddings by these.
type Outcome = (Vec<StepResult>, String, Vec<f32>);

fn train(mut engine: Box<dyn Engine>, ranks: Arc<dyn Collective>, chunk: usize) -> Outcome {
    engine.join(Arc::clone(&ranks)).unwrap();
    let results = (0..3).map(|seed| step(&mut *engine, &*ranks, chunk, seed, 0));
    let results = results.collect();
    let values = values();
    let rows = Features {
        values: &values,
        dim: DIM,
    };
    let embeddings = engine.embed(rows.into()).unwrap();
    (
        results,
        engine.weights_hash(),
        embeddings.as_slice().to_vec(),
    )
}

fn assert_close(ours: &Outcome, expected: &Outcome, what: &str) {
    for (ours, expected) in ours.0.iter().zip(&expected.0) {
        let (ours, expected) = (ours.loss.unwrap(), expected.loss.unwrap());
        assert!((ours - expected).abs() <= 1e-5 * expected.abs(), "{what}");
    }
    for (ours, expected) in ours.2.iter().zip(&expected.2) {
        assert!((ours - expected).abs() < 1e-5, "{what}: {ours} {expected}");
    }
}

#[test]
fn ranks_train_as_one_process() {
    let _alone = alone();
    let mixed = LossConfig {
        mixup: Some(true),
        ..LossConfig::default()
    };
    let with_memory = LossConfig {
        memory: Some(MemoryConfig {
            size: 30,
            start: 1,
            ..MemoryConfig::default()
        }),
        ..LossConfig::of(LossKind::Contrastive)
    };
    let proxies = LossConfig::of(LossKind::ProxyAnchor);
    for loss in [LossConfig::default(), mixed, with_memory, proxies] {
        let config = config(loss);
        // Chunks that divide the batch and that do not, and fewer of them than ranks.
        for chunk in [5, 8, 20, 24, 100] {
            let straight = train(engine(&config), Arc::new(Solo), chunk);
            for size in [2, 3, 4] {
                let what = format!("{:?}, chunk {chunk}, {size} ranks", config.loss.kind);
                let all = in_turns(size, |ranks| train(engine(&config), ranks, chunk));
                for rank in &all {
                    assert_close(rank, &straight, &what);
                    assert_eq!(rank, &all[0], "{what}");
                }
                let again = in_turns(size, |ranks| train(engine(&config), ranks, chunk));
                assert_eq!(again[0], all[0], "{what}");
            }
        }
    }
}

#[test]
fn every_loss_is_the_same_on_all_ranks() {
    let _alone = alone();
    for kind in LossKind::ALL {
        let config = config(LossConfig::of(kind));
        let all = in_turns(2, |ranks| train(engine(&config), ranks, 7));
        assert_eq!(all[0], all[1], "{kind:?}");
        assert!(all[0].0.iter().all(|step| step.broken.is_none()));
    }
}

#[test]
fn what_mixes_inputs_is_refused_by_name() {
    let _alone = alone();
    let loss = LossConfig {
        input_mixup: Some(0.2),
        ..LossConfig::of(LossKind::Contrastive)
    };
    let refused = in_turns(2, |ranks| {
        let refused = engine(&config(loss.clone())).join(ranks).unwrap_err();
        matches!(refused, EngineError::NotShared(_)).then(|| refused.to_string())
    });
    assert!(refused[0].as_ref().unwrap().contains("loss.input_mixup"));
    assert!(engine(&config(loss)).join(Arc::new(Solo)).is_ok());
}

#[test]
fn images_that_could_not_be_read_make_the_batch_smaller() {
    let _alone = alone();
    let config = config(LossConfig::default());
    let all = in_turns(3, |ranks| {
        let mut engine = engine(&config);
        engine.join(Arc::clone(&ranks)).unwrap();
        // Rank 1 has none at all.
        let short = [0, ROWS, 1][ranks.rank()];
        let first = step(&mut *engine, &*ranks, 4, 0, short);
        (first, engine.weights_hash())
    });
    assert!(all[0].0.loss.is_some());
    assert!(all.iter().all(|rank| *rank == all[0]), "{all:?}");
}

/// A loss whose queries can be shared out: similarities to the next item of the batch, squared.
struct Next {
    /// Whether it says so.
    shared: bool,
}

impl Next {
    fn of<B: BurnBackend>(
        queries: Range<usize>,
        embeddings: Tensor<B, 2>,
        seed: u64,
    ) -> Result<LossValue<B>, LossFault> {
        let [rows, dim] = embeddings.dims();
        let device = embeddings.device();
        let values: Vec<f32> = embeddings.into_data().iter::<f32>().collect();
        if seed == 99 && queries.contains(&(rows - 1)) {
            return Err(LossFault::NonFinite);
        }
        if seed == 98 && queries.start > 0 {
            return Err(LossFault::Refused("not this batch".into()));
        }
        let row = |at: usize| &values[at * dim..(at + 1) * dim];
        let (mut loss, mut grad, mut recall) = (0.0, vec![0.0; values.len()], Vec::new());
        for query in queries {
            let next = (query + 1) % rows;
            let dot: f32 = row(query).iter().zip(row(next)).map(|(a, b)| a * b).sum();
            loss += dot * dot / rows as f32;
            recall.push(query as f32);
            for at in 0..dim {
                grad[query * dim + at] += 2.0 * dot / rows as f32 * row(next)[at];
                grad[next * dim + at] += 2.0 * dot / rows as f32 * row(query)[at];
            }
        }
        let count = recall.len();
        Ok(LossValue {
            loss: Tensor::from_data(TensorData::new(vec![loss], [1]), &device),
            grad: Tensor::from_data(TensorData::new(grad, [rows, dim]), &device),
            recall: Some(Tensor::from_data(TensorData::new(recall, [count]), &device)),
        })
    }
}

impl<B: BurnBackend> EmbeddingLoss<B> for Next {
    fn value_and_grad(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        seed: u64,
    ) -> Result<LossValue<B>, LossFault> {
        Self::of(0..labels.len(), embeddings, seed)
    }

    fn value_and_grad_of(
        &self,
        queries: Range<usize>,
        embeddings: Tensor<B, 2>,
        _labels: &[i64],
        seed: u64,
    ) -> Option<Result<LossValue<B>, LossFault>> {
        self.shared.then(|| Self::of(queries, embeddings, seed))
    }
}

fn own(shared: bool) -> Box<dyn Engine> {
    let config = config(LossConfig::default());
    let engine = OnDevice::<Train, Network<Train>>::of_config(&config, &Default::default());
    Box::new(engine.unwrap().with_loss(Next { shared }))
}

#[test]
fn a_loss_can_be_shared_out_by_queries() {
    let _alone = alone();
    let straight = train(own(false), Arc::new(Solo), 5);
    for size in [2, 3, 4, 30] {
        let all = in_turns(size, |ranks| train(own(true), ranks, 5));
        for rank in &all {
            assert_close(rank, &straight, &format!("{size} ranks"));
            assert_eq!(rank, &all[0]);
            assert_eq!(rank.0[0].recall, straight.0[0].recall);
        }
    }
}

#[test]
fn what_one_rank_refuses_is_refused_by_all() {
    let _alone = alone();
    let broken = in_turns(3, |ranks| {
        let mut engine = own(true);
        engine.join(Arc::clone(&ranks)).unwrap();
        step(&mut *engine, &*ranks, 5, 99, 0).broken
    });
    assert!(
        broken
            .iter()
            .all(|rank| *rank == Some(Broken::Embeddings(Vec::new())))
    );
    let refused = in_turns(2, |ranks| {
        let mut engine = own(true);
        engine.join(Arc::clone(&ranks)).unwrap();
        let (values, labels) = (values(), labels());
        let request = StepRequest {
            inputs: Inputs::Features(Features {
                values: &values,
                dim: DIM,
            }),
            labels: &labels,
            chunk: 5,
            first_chunk: 0,
            learning_rate: 0.01,
            model_seed: 98,
            loss_seed: 98,
        };
        engine
            .step(&request, &mut |_, _| ())
            .unwrap_err()
            .to_string()
    });
    assert!(
        refused.iter().all(|why| why.contains("not this batch")),
        "{refused:?}"
    );
}

#[test]
fn a_step_that_is_not_finite_is_left_out_by_all() {
    let _alone = alone();
    let config = config(LossConfig::default());
    let all = in_turns(2, |ranks| {
        let mut engine = engine(&config);
        engine.join(Arc::clone(&ranks)).unwrap();
        let before = engine.weights_hash();
        // The rows of the other rank are fine.
        let values = vec![[1.0, f32::INFINITY][ranks.rank()]; 4 * DIM];
        let request = StepRequest {
            inputs: Inputs::Features(Features {
                values: &values,
                dim: DIM,
            }),
            labels: &[0, 0, 1, 1],
            chunk: 4,
            first_chunk: ranks.rank(),
            learning_rate: 0.01,
            model_seed: 0,
            loss_seed: 0,
        };
        let result = engine.step(&request, &mut |_, _| ()).unwrap();
        (result, before == engine.weights_hash())
    });
    let rows = vec![4, 5, 6, 7];
    for (result, unchanged) in all {
        assert_eq!(result.broken, Some(Broken::Embeddings(rows.clone())));
        assert!(unchanged);
    }
}

#[test]
fn a_rank_without_images_takes_part() {
    let _alone = alone();
    let mut config = EngineConfig::default();
    (config.model.widths, config.model.grid, config.image) = (vec![3, 4], 2, [8, 8]);
    config.loss.ks = Some(vec![1]);
    let bytes: Vec<u8> = (0..6 * 3 * 64_usize)
        .map(|at| (at * 29 % 251) as u8)
        .collect();
    let hashes = in_turns(2, |ranks| {
        let mut engine = engine(&config);
        engine.join(Arc::clone(&ranks)).unwrap();
        let count = [0, 6][ranks.rank()];
        let request = StepRequest {
            inputs: Inputs::Pixels(Pixels {
                bytes: &bytes[..count * 3 * 64],
                shape: [count, 3, 8, 8],
            }),
            labels: &[0, 0, 1, 1, 2, 2][..count],
            chunk: 8,
            first_chunk: 0,
            learning_rate: 0.01,
            model_seed: 0,
            loss_seed: 0,
        };
        let result = engine.step(&request, &mut |_, _| ()).unwrap();
        assert!(result.gradient_norm.unwrap() > 0.0);
        engine.weights_hash()
    });
    assert_eq!(hashes[0], hashes[1]);
}
