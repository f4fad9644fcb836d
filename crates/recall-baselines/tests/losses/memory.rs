use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor};
use recall_baselines::{
    Batch, ContrastiveConfig, CrossBatchMemory, CrossBatchMemoryConfig, LossError, Memory,
    MemoryPolicy, MetricLoss, PairLoss, Places,
};
use recall_loss::RecallBackend;

use crate::check::{
    Case, Expected, InDouble, Matrix, OnFlex, OnNdArray, Random, evaluated, relative, same,
};
use crate::reference::Reference;

fn host<B: Backend>(rows: &Tensor<B, 2>) -> Vec<f64> {
    rows.to_data().iter::<f64>().collect()
}

/// One step of a memory, with the gradient.
fn step<B: AutodiffBackend + RecallBackend, L: PairLoss<B>>(
    loss: &CrossBatchMemory<L>,
    memory: &mut Memory<B>,
    case: &Case,
    dtype: DType,
) -> Result<Expected, LossError> {
    let embeddings = case.embeddings.tensor::<B>(dtype).require_grad();
    let batch = Batch {
        embeddings: embeddings.clone(),
        labels: &case.labels,
        parameters: None,
        seed: case.seed,
    };
    let value = loss.evaluate(batch, memory)?;
    assert_eq!(value.dims(), [1]);
    let gradients = value.backward();
    Ok(Expected {
        loss: value.into_data().iter::<f64>().sum(),
        grad: host(&embeddings.grad(&gradients).unwrap()),
        grad_parameters: None,
    })
}

fn cosine(size: usize, policy: MemoryPolicy) -> CrossBatchMemoryConfig {
    CrossBatchMemoryConfig::new()
        .with_size(size)
        .with_policy(policy)
        .with_start(0)
}

fn is_that_of_its_authors<B: AutodiffBackend + RecallBackend>(dtype: DType) {
    let reference = Reference::open("xbm");
    let (embeddings, labels) = (reference.matrix("embeddings"), reference.integers("labels"));
    let contrastive = ContrastiveConfig::cosine().init().unwrap();
    let (value, grad) = match dtype {
        DType::F64 => (1e-9, 1e-9),
        _ => (1e-6, 1e-5),
    };
    let [steps, items, dim] = reference.shape("embeddings")[..] else {
        panic!("steps, items, numbers")
    };
    for (name, policy) in [("ring", MemoryPolicy::Ring), ("tail", MemoryPolicy::Tail)] {
        let loss = cosine(20, policy).init(contrastive.clone()).unwrap();
        let mut memory = loss.memory::<B>();
        for t in 0..steps {
            let variant = format!("{name}.step{t}");
            let values = embeddings.values[t * items * dim..(t + 1) * items * dim].to_vec();
            let case = Case {
                embeddings: Matrix { values, dim },
                labels: labels[t * items..(t + 1) * items].to_vec(),
                parameters: None,
                seed: 0,
            };
            // What the step does to a copy of the memory, to know the slots.
            let own = (memory.clone())
                .enqueue(case.embeddings.tensor(dtype), &case.labels)
                .unwrap();
            let own: Vec<i64> = own.iter().map(|slot| slot.unwrap() as i64).collect();
            assert_eq!(own, reference.integers(&format!("own_slots.{variant}")));

            let found = step(&loss, &mut memory, &case, dtype).unwrap();
            let expected = reference.expected(&variant, None);
            same(&found, &expected, value, grad, &variant);

            let mut remembered = memory.labels().to_vec();
            remembered.resize(20, -1);
            let expected = reference.integers(&format!("memory_labels.{variant}"));
            assert_eq!(remembered, expected, "{variant}");
            let rows = format!("memory.{variant}");
            if reference.has(&rows) {
                let error = relative(&host(memory.rows().unwrap()), &reference.floats(&rows));
                assert!(error <= value, "{variant}: {error}");
            }
        }
        assert_eq!(memory.steps(), steps as u64);
    }
}

#[test]
fn every_step_is_that_of_its_authors() {
    is_that_of_its_authors::<InDouble>(DType::F64);
    is_that_of_its_authors::<OnFlex>(DType::F32);
    is_that_of_its_authors::<OnNdArray>(DType::F32);
}

#[test]
fn a_batch_enters_a_ring_as_its_rows_would_one_by_one() {
    let mut random = Random::new(8);
    for size in [1, 4, 7] {
        let mut together = Memory::<OnFlex>::new(size, MemoryPolicy::Ring);
        let mut apart = together.clone();
        for batch in 0..12 {
            let count = 1 + random.below(10);
            let mut case = Case::random(batch, count.max(2), 3, 3);
            case.labels = (0..count as i64)
                .map(|row| 100 * batch as i64 + row)
                .collect();
            case.embeddings = case.embeddings.reordered(&(0..count).collect::<Vec<_>>());
            let slots = together
                .enqueue(case.embeddings.tensor(DType::F32), &case.labels)
                .unwrap();
            for row in 0..count {
                let alone = case.embeddings.reordered(&[row]).tensor(DType::F32);
                apart.enqueue(alone, &case.labels[row..=row]).unwrap();
            }
            assert_eq!(together.labels(), apart.labels());
            assert_eq!(together.position(), apart.position());
            assert_eq!(host(together.rows().unwrap()), host(apart.rows().unwrap()));
            // Each row is in its slot, and the last ones have one.
            let held = host(together.rows().unwrap());
            for (row, slot) in slots.iter().enumerate() {
                assert_eq!(slot.is_some(), row + size >= count);
                let Some(slot) = *slot else { continue };
                assert_eq!(together.labels()[slot], case.labels[row]);
                let expected = &case.embeddings.values[row * 3..row * 3 + 3];
                assert!(relative(&held[slot * 3..slot * 3 + 3], expected) < 1e-6);
            }
            let filled = together.filled().unwrap().dims();
            assert_eq!(filled, [together.labels().len(), 3]);
        }
    }
}

#[test]
fn of_a_batch_larger_than_the_memory_the_last_rows_stay_at_the_tail_too() {
    let case = Case::random(1, 9, 3, 3);
    let mut memory = Memory::<OnFlex>::new(4, MemoryPolicy::Tail);
    let slots = memory
        .enqueue(case.embeddings.tensor(DType::F32), &case.labels)
        .unwrap();
    assert_eq!(memory.labels(), &case.labels[5..]);
    assert_eq!(slots[..5], [None; 5]);
    assert_eq!(slots[5..], [0, 1, 2, 3].map(Some));
}

#[test]
fn what_a_memory_tells_makes_it_again() {
    let contrastive = ContrastiveConfig::cosine().init().unwrap();
    for policy in [MemoryPolicy::Ring, MemoryPolicy::Tail] {
        let loss = cosine(23, policy).init(contrastive.clone()).unwrap();
        let mut memory = loss.memory::<OnFlex>();
        for seed in 0..7 {
            let rows = memory.rows().map(|rows| {
                let data = rows.to_data();
                Tensor::from_data(data, (&Default::default(), DType::F32))
            });
            let mut restored = Memory::<OnFlex>::restore(
                memory.size(),
                memory.policy(),
                rows,
                memory.labels().to_vec(),
                memory.position(),
                memory.steps(),
            )
            .unwrap();
            let case = Case::random(seed, 10, 5, 4);
            let found = step(&loss, &mut memory, &case, DType::F32).unwrap();
            let again = step(&loss, &mut restored, &case, DType::F32).unwrap();
            assert_eq!((found.loss, found.grad), (again.loss, again.grad));
            assert_eq!(host(memory.rows().unwrap()), host(restored.rows().unwrap()));
            assert_eq!(memory.labels(), restored.labels());
            assert_eq!(memory.position(), restored.position());
            assert_eq!(memory.steps(), restored.steps());
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_no_memory() {
    let rows = || Some(Tensor::<OnFlex, 2>::zeros([3, 2], &Default::default()));
    let refused = |rows, labels, position| {
        let error = Memory::restore(3, MemoryPolicy::Ring, rows, labels, position, 0).unwrap_err();
        assert!(matches!(error, LossError::Mixture(_)));
        error.to_string()
    };
    let four = Tensor::<OnFlex, 2>::zeros([4, 2], &Default::default());
    assert!(refused(Some(four), vec![], 0).contains("3 slots cannot hold 4"));
    assert!(refused(rows(), vec![0; 4], 0).contains("4 labels"));
    assert!(refused(None, vec![0; 2], 0).contains("2 labels"));
    assert!(refused(rows(), vec![0; 3], 4).contains("cannot be 4"));
    assert!(refused(rows(), vec![0; 2], 1).contains("2 of 3 slots"));
}

#[test]
fn a_step_that_is_refused_leaves_no_trace() {
    let contrastive = ContrastiveConfig::cosine().init().unwrap();
    let loss = cosine(8, MemoryPolicy::Ring).init(contrastive).unwrap();
    let mut memory = loss.memory::<OnFlex>();
    step(&loss, &mut memory, &Case::random(2, 6, 4, 3), DType::F32).unwrap();
    let (rows, labels) = (host(memory.rows().unwrap()), memory.labels().to_vec());

    let mut lonely = Case::random(3, 5, 4, 1);
    lonely.labels = (0..5).collect();
    let error = step(&loss, &mut memory, &lonely, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Lacking { items: 5, .. }));
    let error = step(&loss, &mut memory, &Case::random(3, 6, 5, 3), DType::F32).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("embeddings of 4 numbers, and these have 5")
    );
    // Nor does a step with a clone.
    step(
        &loss,
        &mut memory.clone(),
        &Case::random(4, 6, 4, 3),
        DType::F32,
    )
    .unwrap();
    assert_eq!(host(memory.rows().unwrap()), rows);
    assert_eq!((memory.labels(), memory.steps()), (&labels[..], 1));
}

#[test]
fn nothing_is_remembered_before_the_start() {
    let contrastive = ContrastiveConfig::cosine().init().unwrap();
    let config = cosine(8, MemoryPolicy::Ring).with_start(2);
    let loss = config.init(contrastive.clone()).unwrap();
    let mut memory = loss.memory::<OnFlex>();
    for seed in 0..4 {
        let case = Case::random(seed, 6, 4, 3);
        let found = step(&loss, &mut memory, &case, DType::F32).unwrap();
        let alone = evaluated::<OnFlex>(&contrastive, &case, DType::F32).unwrap();
        assert_eq!(found.loss == alone.loss, seed < 2, "{seed}");
        assert_eq!(memory.filled().is_some(), seed >= 2);
        assert_eq!(memory.steps(), seed + 1);
    }
}

#[test]
fn a_first_batch_is_compared_with_itself_twice_by_the_weight() {
    // Own copies are no pairs, so the memory of nothing but the batch comes to the batch.
    let case = Case::random(5, 12, 6, 4);
    let contrastive = ContrastiveConfig::cosine().with_margin(0.1).init().unwrap();
    let alone = evaluated::<InDouble>(&contrastive, &case, DType::F64).unwrap();
    let boxed: Box<dyn PairLoss<InDouble>> = Box::new(contrastive);
    let config = cosine(12, MemoryPolicy::Ring).with_weight(0.25);
    let loss = config.init(boxed).unwrap();
    let found = step(&loss, &mut loss.memory(), &case, DType::F64).unwrap();
    assert!((found.loss - 1.25 * alone.loss).abs() < 1e-12 * alone.loss);
    // One of both sides of each pair is a constant.
    let expected: Vec<f64> = alone.grad.iter().map(|x| 1.125 * x).collect();
    assert!(relative(&found.grad, &expected) < 1e-12);
}

#[test]
fn a_gradient_that_references_do_without_is_left_out() {
    let case = Case::random(7, 12, 6, 4);
    let others = Case::random(8, 30, 6, 4);
    for config in [ContrastiveConfig::cosine(), ContrastiveConfig::hinges()] {
        let loss = config.with_margin(0.2).init().unwrap();
        let places = Places::between(&case.labels, &others.labels, &[None; 12]);
        let on = |places: &Places| {
            let [queries, references] = [&case, &others].map(|case| {
                let rows = case.embeddings.tensor::<OnFlex>(DType::F32);
                rows.require_grad()
            });
            let value = loss
                .between(queries.clone(), references.clone(), places)
                .unwrap();
            let gradients = value.backward();
            let on_queries = host(&queries.grad(&gradients).unwrap());
            (
                on_queries,
                references.grad(&gradients).map(|grad| host(&grad)),
            )
        };
        let (on_queries, on_references) = on(&places);
        assert!(on_references.unwrap().iter().any(|&x| x != 0.0));
        let (too, none) = on(&places.clone().with_constant_references());
        assert_eq!((too, none), (on_queries, None));
    }
}

#[test]
fn boxes_are_losses() {
    let case = Case::random(6, 12, 6, 4);
    let contrastive = ContrastiveConfig::cosine().init().unwrap();
    let alone = evaluated::<OnFlex>(&contrastive, &case, DType::F32).unwrap();
    let boxed: Box<dyn MetricLoss<OnFlex>> = Box::new(contrastive);
    assert!(boxed.compares_similarities());
    let found = evaluated::<OnFlex>(&boxed, &case, DType::F32).unwrap();
    assert_eq!((found.loss, found.grad), (alone.loss, alone.grad));
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let refusal = |config: CrossBatchMemoryConfig| config.init(()).unwrap_err().to_string();
    let config = CrossBatchMemoryConfig::new;
    assert!(refusal(config().with_size(0)).starts_with("size = 0"));
    assert!(refusal(config().with_weight(-1.0)).starts_with("weight = -1"));
}
