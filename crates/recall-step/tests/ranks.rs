//! The step over ranks is the step of one process.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend as _;
use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use recall_step::{
    CollectiveError, Share, StepError, TwoPass, in_turns, l2_normalise, share, value_and_grad,
};

type B = Autodiff<Flex>;

const ROWS: usize = 70;
const DIM: usize = 6;

/// Burn's random generators are one for the process: tests that draw must not take turns in it.
static GENERATOR: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Module, Debug)]
struct Model<B: burn::tensor::backend::Backend> {
    first: Linear<B>,
    dropout: Dropout,
    second: Linear<B>,
    /// In no graph: without a gradient on any rank.
    idle: Linear<B>,
}

fn model(dropout: f64) -> Model<B> {
    let device = Default::default();
    B::seed(&device, 5);
    let model = Model {
        first: LinearConfig::new(DIM, 9).init(&device),
        dropout: DropoutConfig::new(dropout).init(),
        second: LinearConfig::new(9, 4).init(&device),
        idle: LinearConfig::new(3, 2).init(&device),
    };
    // Burn draws weights when they are first looked at.
    gradients_of(&model, &GradientsParams::new());
    model
}

fn items() -> Tensor<B, 2> {
    let values = (0..ROWS * DIM).map(|at| ((at as f64 * 12.9898).sin() * 43758.5453).fract());
    let values: Vec<f32> = values.map(|x| x as f32 - 0.5).collect();
    Tensor::from_data(TensorData::new(values, [ROWS, DIM]), &Default::default())
}

fn embed(model: &Model<B>, rows: Tensor<B, 2>) -> Tensor<B, 2> {
    let hidden = model.dropout.forward(relu(model.first.forward(rows)));
    l2_normalise(model.second.forward(hidden))
}

/// Each embedding against all others.
fn loss(all: Tensor<B, 2>) -> Tensor<B, 1> {
    let similarities = all.clone().matmul(all.transpose());
    (similarities * 3.0).exp().mean()
}

/// The numbers of all gradients in the order of the model, and of which parameters they are.
#[derive(Default)]
struct Numbers<'a> {
    gradients: Option<&'a GradientsParams>,
    of: Vec<usize>,
    values: Vec<f32>,
    parameters: usize,
}

impl ModuleVisitor<B> for Numbers<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        param.val();
        let gradient = self.gradients.and_then(|of| of.get::<Flex, D>(param.id));
        if let Some(gradient) = gradient {
            assert_eq!(gradient.dims(), param.val().dims());
            self.of.push(self.parameters);
            self.values.extend(gradient.into_data().iter::<f32>());
        }
        self.parameters += 1;
    }
}

fn gradients_of(model: &Model<B>, gradients: &GradientsParams) -> (Vec<usize>, Vec<f32>) {
    let mut numbers = Numbers {
        gradients: Some(gradients),
        ..Numbers::default()
    };
    model.visit(&mut numbers);
    (numbers.of, numbers.values)
}

/// A loss, which parameters have a gradient, and the numbers of embeddings and gradients.
type Outcome = (f32, Vec<usize>, Vec<f32>, Vec<f32>);

fn one_process(two_pass: TwoPass, dropout: f64) -> Outcome {
    let (model, items) = (model(dropout), items());
    let step = two_pass
        .run_autodiff(
            &model,
            ROWS,
            |model, rows| embed(model, items.clone().slice([rows])),
            loss,
        )
        .unwrap();
    let (of, gradients) = gradients_of(&model, &step.gradients);
    let embeddings = step.embeddings.into_data().iter::<f32>().collect();
    (step.objective.into_scalar(), of, embeddings, gradients)
}

/// The same over ranks; `short` leaves out so many of the last rows of rank 0.
fn over_ranks(size: usize, two_pass: TwoPass, dropout: f64, short: usize) -> Vec<Outcome> {
    in_turns(size, |ranks| {
        let (model, items) = (model(dropout), items());
        let mut own = share(&*ranks, ROWS, two_pass.chunk);
        if ranks.rank() == 0 {
            own.end -= short;
        }
        let step = two_pass.run_over(
            &*ranks,
            Share {
                first_chunk: own.start / two_pass.chunk,
                rows: own.len(),
            },
            &model,
            |model, rows| {
                let rows = own.start + rows.start..own.start + rows.end;
                embed(model, items.clone().slice([rows]))
            },
            |embeddings, rows| {
                assert_eq!(rows.len(), own.len());
                let (value, gradient) = value_and_grad::<B>(embeddings, loss);
                Ok::<_, Infallible>((gradient, value.into_scalar()))
            },
        );
        let step = step.unwrap();
        let (of, gradients) = gradients_of(&model, &step.gradients);
        let embeddings = step.embeddings.into_data().iter::<f32>().collect();
        (step.objective, of, embeddings, gradients)
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn assert_close(ours: &[f32], expected: &[f32], what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (ours, expected) in ours.iter().zip(expected) {
        let difference = (ours - expected).abs();
        assert!(difference <= 1e-5 * largest, "{what}: {ours} {expected}");
    }
}

#[test]
fn ranks_take_the_step_of_one_process() {
    let _alone = alone();
    for dropout in [0.0, 0.4] {
        // Chunks that divide the batch and that do not, and batches of fewer chunks than ranks.
        for chunk in [1, 7, 16, 35, 69, 70, 200] {
            let two_pass = TwoPass { chunk, seed: 3 };
            let (value, of, embeddings, gradients) = one_process(two_pass, dropout);
            assert_eq!(of, [0, 1, 2, 3]);
            for size in [1, 2, 3, 4] {
                let what = format!("{size} ranks, chunk {chunk}, dropout {dropout}");
                let ranks = over_ranks(size, two_pass, dropout, 0);
                assert_eq!(ranks.len(), size);
                for rank in &ranks {
                    assert_close(&[rank.0], &[value], &what);
                    assert_eq!(rank.1, of, "{what}");
                    assert_close(&rank.2, &embeddings, &what);
                    assert_close(&rank.3, &gradients, &what);
                    assert_eq!(bits(&rank.3), bits(&ranks[0].3), "{what}");
                    assert_eq!(bits(&rank.2), bits(&ranks[0].2), "{what}");
                }
                let again = over_ranks(size, two_pass, dropout, 0);
                assert_eq!(bits(&again[0].3), bits(&ranks[0].3), "{what}");
            }
        }
    }
}

#[test]
fn what_is_dropped_depends_on_the_place_of_a_chunk() {
    let _alone = alone();
    let two_pass = TwoPass { chunk: 10, seed: 3 };
    let with = one_process(two_pass, 0.4);
    let without = one_process(two_pass, 0.0);
    let other = one_process(TwoPass { chunk: 10, seed: 4 }, 0.4);
    assert_ne!(with.2, without.2);
    assert_ne!(with.2, other.2);
}

#[test]
fn a_share_may_come_out_smaller() {
    let _alone = alone();
    let two_pass = TwoPass { chunk: 16, seed: 3 };
    // All of rank 0's first chunk, and more.
    for short in [3, 16, 32] {
        let ranks = over_ranks(2, two_pass, 0.0, short);
        assert_eq!(ranks[0].2.len(), (ROWS - short) * 4);
        assert_eq!(bits(&ranks[0].3), bits(&ranks[1].3));
    }
}

#[test]
fn shares_are_whole_chunks_and_make_up_the_batch() {
    for (rows, chunk, size) in [(0, 4, 3), (1, 4, 3), (8, 4, 3), (100, 7, 4), (96, 8, 4)] {
        let shares = in_turns(size, |ranks| share(&*ranks, rows, chunk));
        let mut end = 0;
        for share in &shares {
            assert_eq!(share.start, end, "{shares:?}");
            assert!(share.is_empty() || share.start.is_multiple_of(chunk));
            end = share.end;
        }
        assert_eq!(end, rows);
        let chunks: HashSet<usize> = shares.iter().map(|own| own.len().div_ceil(chunk)).collect();
        let most = chunks.iter().max().unwrap();
        assert!(most - chunks.iter().min().unwrap() <= 1, "{shares:?}");
    }
}

#[test]
fn sums_are_those_of_the_ranks_in_their_order() {
    // More than are summed at once.
    const COUNT: usize = (1 << 22) + 5;
    let value = |rank: usize, at: usize| ((at * 31 + rank * 17) % 1009) as f32 * 1.1e-3 - 0.5;
    let sums = in_turns(3, |ranks| {
        let own = (0..COUNT).map(|at| value(ranks.rank(), at));
        let mut own: Vec<f32> = own.collect();
        ranks.all_reduce(&mut own).map(|()| own)
    });
    let expected = (0..COUNT).map(|at| value(0, at) + value(1, at) + value(2, at));
    let expected: Vec<f32> = expected.collect();
    for sum in sums {
        assert!(sum.unwrap() == expected);
    }
    let zeros = in_turns(2, |ranks| {
        let mut zero = [-0.0];
        ranks
            .all_reduce(&mut zero)
            .map(|()| zero[0].is_sign_negative())
    });
    assert_eq!(zeros, [Ok(true), Ok(true)]);
}

#[test]
fn everyone_gets_what_was_meant_for_them() {
    let received = in_turns(3, |ranks| {
        let parts = (0..3).map(|to| format!("{} to {to}", ranks.rank()).into_bytes());
        let parts: Vec<Vec<u8>> = parts.collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let first = ranks.all_to_all(&parts).unwrap();
        // Once more, so that nothing is left of the first time.
        let second = ranks.all_gather(&vec![7; ranks.rank()]).unwrap();
        (first, second)
    });
    for (rank, (first, second)) in received.into_iter().enumerate() {
        for (from, part) in first.iter().enumerate() {
            assert_eq!(*part, format!("{from} to {rank}").into_bytes());
        }
        assert_eq!(second, [vec![], vec![7], vec![7, 7]]);
    }
}

#[test]
fn a_rank_that_is_not_there_is_named() {
    let errors = in_turns(3, |ranks| match ranks.rank() {
        1 => None,
        _ => Some(ranks.all_gather(&[]).unwrap_err()),
    });
    let ended = Some(CollectiveError::Ended { rank: 1 });
    assert_eq!(errors, [ended.clone(), None, ended]);
}

#[test]
fn ranks_that_differ_are_named() {
    let sums = in_turns(2, |ranks| {
        let mut values = vec![1.0; 2 + ranks.rank()];
        ranks.all_reduce(&mut values)
    });
    let said: Vec<String> = sums
        .into_iter()
        .map(|sum| sum.unwrap_err().to_string())
        .collect();
    assert!(said.iter().any(|said| said.contains("sums")), "{said:?}");

    let parts = in_turns(2, |ranks| ranks.all_to_all(&[&[]]));
    assert!(parts[0].is_err());

    let _alone = alone();
    let steps = in_turns(2, |ranks| {
        let dim = 4 + ranks.rank();
        let model = LinearConfig::new(DIM, dim).init::<B>(&Default::default());
        let step = TwoPass { chunk: 4, seed: 0 }.run_over(
            &*ranks,
            Share {
                first_chunk: ranks.rank(),
                rows: 4,
            },
            &model,
            |model: &Linear<B>, rows| model.forward(items().slice([rows])),
            |embeddings, _| Ok::<_, Infallible>((embeddings, ())),
        );
        step.err()
    });
    for step in steps {
        let Some(StepError::Ranks(error)) = step else {
            panic!("{step:?}");
        };
        assert!(error.to_string().contains("another length"), "{error}");
    }
}

#[test]
fn a_batch_of_no_rows_is_refused_by_all() {
    let _alone = alone();
    let steps = in_turns(2, |ranks| {
        let model = model(0.0);
        let step = TwoPass { chunk: 4, seed: 0 }.run_over(
            &*ranks,
            Share::whole(0),
            &model,
            |model, rows| embed(model, items().slice([rows])),
            |embeddings, _| Ok::<_, Infallible>((embeddings, ())),
        );
        step.err()
    });
    for step in steps {
        assert_eq!(step, Some(StepError::Empty { rows: 0, chunk: 4 }));
    }
}
