use std::collections::BTreeSet;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Tensor};
use recall_baselines::{
    HardMixture, HardNegativeMixing, HardNegativeMixingConfig, LossError, Memory, MemoryPolicy,
};
use recall_loss::RecallBackend;

use crate::check::{
    Case, Expected, InDouble, Matrix, OnFlex, OnNdArray, evaluated, has_the_gradient_of_its_value,
    in_double, on_flex, on_ndarray, relative, rows_are_tensor_operations, same,
};
use crate::reference::Reference;

/// The batch is of queries, the parameters are keys.
fn with_keys<B: AutodiffBackend + RecallBackend>(
    loss: &HardNegativeMixing,
    [queries, keys, queue]: [&Matrix; 3],
    mixture: &HardMixture,
    dtype: DType,
) -> (Expected, Vec<f64>) {
    let [queries, keys, queue] = [queries, keys, queue].map(|rows| rows.tensor::<B>(dtype));
    let (queries, keys) = (queries.require_grad(), keys.require_grad());
    let value = loss
        .with_mixture(queries.clone(), keys.clone(), queue.clone(), mixture)
        .unwrap();
    let gradients = value.backward();
    let grad = |of: &Tensor<B, 2>| of.grad(&gradients).unwrap().into_data().iter().collect();
    let expected = Expected {
        loss: value.into_data().iter::<f64>().sum(),
        grad: grad(&queries),
        grad_parameters: Some(grad(&keys)),
    };
    let synthetic = mixture.negatives(queries, queue).unwrap().into_data();
    (expected, synthetic.iter().collect())
}

#[test]
fn agrees_with_the_paper() {
    let reference = Reference::open("hard_negative_mixing");
    let rows = ["embeddings", "keys", "queue"].map(|name| reference.matrix(name));
    let integers = |name: &str| -> Vec<Vec<usize>> {
        let width = reference.shape(name)[1];
        let values = reference.integers(name);
        let rows = values.chunks(width);
        rows.map(|row| row.iter().map(|&x| x as usize).collect())
            .collect()
    };
    let (hardest, first, second) = (
        integers("hardest"),
        integers("mix_first"),
        integers("mix_second"),
    );
    let picked = integers("query_pick");
    let (alpha, query_alpha) = (
        reference.matrix("mix_alpha"),
        reference.matrix("query_alpha"),
    );
    let queries = hardest.len();
    let mixtures = (0..queries).map(|query| {
        let each = first[query].iter().zip(&second[query]).enumerate();
        let mixed = each.map(|(at, (&i, &j))| {
            let weight = alpha.values[query * alpha.dim + at];
            (hardest[query][i], hardest[query][j], weight)
        });
        mixed.collect::<Vec<_>>()
    });
    let with_query = (0..queries).map(|query| {
        let each = picked[query].iter().enumerate();
        let mixed = each.map(|(at, &j)| {
            let weight = query_alpha.values[query * query_alpha.dim + at];
            (hardest[query][j], weight)
        });
        mixed.collect::<Vec<_>>()
    });
    let both = HardMixture {
        mixtures: mixtures.collect(),
        query_mixtures: with_query.collect(),
    };
    let of_negatives = HardMixture {
        query_mixtures: Vec::new(),
        ..both.clone()
    };
    for (variant, settings) in reference.variants() {
        let temperature = settings["temperature"].as_f64().unwrap();
        let loss = HardNegativeMixingConfig::new().with_temperature(temperature);
        let loss = loss.init().unwrap();
        let mixture = if variant.starts_with("both") {
            &both
        } else {
            &of_negatives
        };
        let expected = reference.expected(&variant, Some("keys"));
        let synthetic = reference.floats(&format!("synthetic.{variant}"));
        let rows = [&rows[0], &rows[1], &rows[2]];
        let check = |(found, negatives): (Expected, Vec<f64>), value, grad| {
            same(&found, &expected, value, grad, &variant);
            assert!(relative(&negatives, &synthetic) <= value, "{variant}");
        };
        check(
            with_keys::<InDouble>(&loss, rows, mixture, DType::F64),
            1e-9,
            1e-9,
        );
        check(
            with_keys::<OnFlex>(&loss, rows, mixture, DType::F32),
            1e-6,
            1e-5,
        );
        check(
            with_keys::<OnNdArray>(&loss, rows, mixture, DType::F32),
            1e-6,
            1e-5,
        );
    }

    // What is drawn is of the same hardest, all of them in time.
    let config = HardNegativeMixingConfig::new()
        .with_hardest(8)
        .with_mixtures(300);
    let loss = config.with_query_mixtures(300).init().unwrap();
    let [queries, _, queue] = rows
        .each_ref()
        .map(|rows| rows.tensor::<InDouble>(DType::F64));
    let drawn = loss.draw(queries, queue, 1).unwrap();
    for (query, expected) in hardest.iter().enumerate() {
        let expected: BTreeSet<usize> = expected.iter().copied().collect();
        let mixed = &drawn.mixtures[query];
        let found = mixed.iter().flat_map(|mixed| [mixed.0, mixed.1]).collect();
        assert_eq!(expected, found);
        let alone = &drawn.query_mixtures[query];
        assert_eq!(expected, alone.iter().map(|mixed| mixed.0).collect());
        assert!(mixed.iter().all(|mixed| mixed.0 != mixed.1));
        assert!(mixed.iter().all(|mixed| (0.0..1.0).contains(&mixed.2)));
        assert!(mixed.iter().any(|mixed| mixed.2 > 0.9));
        assert!(alone.iter().all(|mixed| (0.0..0.5).contains(&mixed.1)));
    }
}

fn settings(mixtures: usize, query_mixtures: usize) -> HardNegativeMixing {
    HardNegativeMixingConfig::new()
        .with_hardest(5)
        .with_mixtures(mixtures)
        .with_query_mixtures(query_mixtures)
        .init()
        .unwrap()
}

#[test]
fn without_mixtures_a_batch_is_that_of_info_nce() {
    let reference = Reference::open("sup_con");
    let case = reference.case(None);
    for (variant, temperature) in [("infonce_0.07", 0.07), ("infonce_0.2", 0.2)] {
        let loss = HardNegativeMixingConfig::new()
            .with_mixtures(0)
            .with_query_mixtures(0)
            .with_temperature(temperature)
            .init()
            .unwrap();
        let expected = reference.expected(variant, None);
        same(&in_double(&loss, &case), &expected, 1e-9, 1e-9, variant);
        // Rounding of similarities is divided by the temperature, and the directions of gradients nearly cancel.
        same(&on_flex(&loss, &case), &expected, 1e-6, 4e-5, variant);
        same(&on_ndarray(&loss, &case), &expected, 1e-6, 4e-5, variant);
    }
    for seed in 0..3 {
        has_the_gradient_of_its_value(&settings(0, 0), &Case::random(seed, 20, 8, 4));
    }
}

#[test]
fn a_batch_is_its_own_keys_and_queue() {
    // One pair, and lonely items of higher labels: these are the queue of both.
    let mut case = Case::random(4, 20, 8, 4);
    case.labels = (0..20).map(|row| (row - 1).max(0)).collect();
    let loss = settings(6, 4);
    let found = in_double(&loss, &case);
    let rows: Vec<usize> = (0..20).collect();
    let [queries, keys, queue] = [&rows[..2], &[1, 0], &rows[2..]]
        .map(|rows| {
            case.embeddings
                .reordered(rows)
                .tensor::<InDouble>(DType::F64)
        })
        .map(Tensor::require_grad);
    let expected = loss
        .against(queries.clone(), keys.clone(), queue.clone(), case.seed)
        .unwrap();
    let gradients = expected.backward();
    let grad = |of: &Tensor<InDouble, 2>| -> Vec<f64> {
        of.grad(&gradients).unwrap().into_data().iter().collect()
    };
    let (queries, mut keys) = (grad(&queries), grad(&keys));
    keys.rotate_left(8);
    let mut on_rows: Vec<f64> = queries.iter().zip(keys).map(|(a, b)| a + b).collect();
    on_rows.extend(grad(&queue));
    let expected = Expected {
        loss: expected.into_data().iter::<f64>().sum(),
        grad: on_rows,
        grad_parameters: None,
    };
    same(&found, &expected, 1e-12, 1e-12, "one pair");
    // They make the loss harder.
    assert!(found.loss > in_double(&settings(0, 0), &case).loss + 0.1);
}

#[test]
fn single_precision_is_near_to_double() {
    for seed in 0..3 {
        rows_are_tensor_operations(&settings(7, 3), &Case::random(seed, 60, 12, 5));
        rows_are_tensor_operations(&settings(0, 3), &Case::random(seed, 60, 12, 5));
    }
}

#[test]
fn a_seed_makes_the_mixtures() {
    let case = Case::random(3, 30, 8, 4);
    let with = |seed| {
        let case = Case {
            seed,
            ..case.clone()
        };
        let found = on_flex(&settings(6, 4), &case);
        (found.loss, found.grad)
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1).0, with(2).0);
}

#[test]
fn a_memory_is_its_queue() {
    let case = Case::random(2, 12, 6, 3);
    let rows = case.embeddings.tensor::<OnFlex>(DType::F32);
    let mut memory = Memory::new(8, MemoryPolicy::Ring);
    memory.enqueue(rows.clone(), &case.labels).unwrap();
    let queries = rows.clone().slice([0..3, 0..6]).require_grad();
    let value = settings(4, 2)
        .against(
            queries.clone(),
            queries.clone(),
            memory.filled().unwrap(),
            3,
        )
        .unwrap();
    assert_eq!(queries.grad(&value.backward()).unwrap().dims(), [3, 6]);
}

#[test]
fn what_it_lacks_is_an_error() {
    let mut case = Case::random(0, 6, 4, 1);
    for labels in [vec![0, 1, 2, 3, 4, 5], vec![3; 6]] {
        case.labels = labels;
        let error = evaluated::<OnFlex>(&settings(2, 2), &case, DType::F32).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    }
    let rows = case.embeddings.tensor::<OnFlex>(DType::F32);
    let part = |count: usize, dim: usize| rows.clone().slice([0..count, 0..dim]);
    let loss = settings(2, 2);
    let refused = |mixture: &HardMixture, keys, queue| {
        let error = loss
            .with_mixture(part(3, 4), keys, queue, mixture)
            .unwrap_err();
        assert!(matches!(error, LossError::Mixture(_)));
        error.to_string()
    };
    let none = HardMixture::default();
    assert!(refused(&none, part(2, 4), part(6, 4)).contains("the keys should be [3, 4]"));
    assert!(refused(&none, part(3, 4), part(6, 3)).contains("the queue should be [6, 4]"));
    let mixture = |rows: Vec<Vec<(usize, f64)>>| HardMixture {
        mixtures: Vec::new(),
        query_mixtures: rows,
    };
    let outside = mixture(vec![vec![(6, 0.1)]; 3]);
    assert!(refused(&outside, part(3, 4), part(6, 4)).contains("negative 6"));
    let uneven = mixture(vec![vec![(1, 0.1)], vec![(1, 0.1)], vec![]]);
    assert!(refused(&uneven, part(3, 4), part(6, 4)).contains("same number"));
    let few = mixture(vec![vec![(1, 0.1)]; 2]);
    assert!(refused(&few, part(3, 4), part(6, 4)).contains("same number"));
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let refusal = |config: HardNegativeMixingConfig| config.init().unwrap_err().to_string();
    let config = HardNegativeMixingConfig::new;
    assert!(refusal(config().with_hardest(0)).starts_with("hardest = 0"));
    assert!(refusal(config().with_temperature(0.0)).starts_with("temperature = 0"));
}
