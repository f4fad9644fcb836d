use burn::tensor::{DType, Tensor};
use recall_baselines::{
    Batch, BlackboxAp, BlackboxApConfig, BlackboxRecallConfig, BlackboxWeight, LossError,
    MetricLoss, RankedScores,
};
use recall_loss::RecallBackend;

use crate::check::{
    Case, InDouble, OnFlex, Random, agrees, evaluated, ignores_rotations, ignores_the_order,
    in_double, on_flex, relative, rows_are_tensor_operations, same,
};
use crate::n_pair::placed;
use crate::reference::Reference;

/// The loss with noise that is given for the rows of `case`.
struct Noisy {
    loss: BlackboxAp,
    case: Case,
    noise: Vec<f64>,
}

impl<B: RecallBackend> MetricLoss<B> for Noisy {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let count = batch.labels.len();
        let rows: Vec<[usize; 2]> = (0..count).map(|row| [row, row]).collect();
        let mut original = vec![0; count];
        for (row, [place, _]) in placed(&self.case.embeddings.values, &rows, &batch)
            .iter()
            .enumerate()
        {
            original[*place] = row;
        }
        let mut noise = Vec::new();
        for &query in &original {
            let others = original.iter().filter(|&&other| other != query);
            noise.extend(others.map(|&other| {
                self.noise[query * (count - 1) + other - usize::from(other > query)]
            }));
        }
        self.loss
            .evaluate_with_noise(batch.embeddings, batch.labels, &noise)
    }
}

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("blackbox");
    let case = reference.case(None);
    let scores = reference.floats("scores");
    let relevant: Vec<bool> = reference
        .floats("relevance")
        .iter()
        .map(|&x| x > 0.5)
        .collect();
    let noise = reference.floats("noise");
    let length = case.labels.len() - 1;
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64().unwrap();
        let (lambda, margin) = (number("lam"), number("margin"));
        let expected = reference.expected(&variant, None);
        let found = if settings["metric"] == "ap" {
            let noisy = settings["noise"].as_bool().unwrap();
            let loss = BlackboxApConfig::new()
                .with_lambda(lambda)
                .with_margin(margin)
                .with_noise(noisy)
                .init()
                .unwrap();
            let given = noisy.then_some(&noise[..]);
            match noisy {
                true => agrees(
                    &Noisy {
                        loss: loss.clone(),
                        case: case.clone(),
                        noise: noise.clone(),
                    },
                    &case,
                    &expected,
                    &variant,
                ),
                false => agrees(&loss, &case, &expected, &variant),
            }
            loss.of_scores(&scores, &relevant, length, given).unwrap()
        } else {
            let weight = match settings["weight"].as_str().unwrap() {
                "log" => BlackboxWeight::Log,
                _ => BlackboxWeight::LogLog,
            };
            let loss = BlackboxRecallConfig::new()
                .with_lambda(lambda)
                .with_margin(margin)
                .with_weight(weight)
                .with_released_length(settings["count_factor"] != "1")
                .init()
                .unwrap();
            agrees(&loss, &case, &expected, &variant);
            loss.of_scores(&scores, &relevant, length).unwrap()
        };
        assert!((found.value - expected.loss).abs() <= 1e-9, "{variant}");
        let ranks: Vec<f64> = found.ranks.iter().map(|&rank| rank as f64).collect();
        assert_eq!(
            ranks,
            reference.floats(&format!("rank.{variant}")),
            "{variant}"
        );
        for (found, name) in [
            (found.on_ranks, "grad_rank"),
            (found.on_scores, "grad_scores"),
        ] {
            let expected = reference.floats(&format!("{name}.{variant}"));
            assert!(relative(&found, &expected) <= 1e-9, "{variant}: {name}");
        }
    }
}

#[test]
fn holds_up_on_random_batches() {
    let recall = BlackboxRecallConfig::new().with_lambda(0.5).init().unwrap();
    let ap = BlackboxApConfig::new().with_lambda(0.5).init().unwrap();
    for seed in 0..6 {
        let case = Case::random(seed, 14 + 5 * seed as usize, 8, 4);
        ignores_the_order(&recall, &case);
        ignores_rotations(&recall, &case);
        rows_are_tensor_operations(&recall, &case);
        ignores_the_order(&ap, &case);
        ignores_rotations(&ap, &case);
        rows_are_tensor_operations(&ap, &case);
    }
}

/// Lists of random scores, of which many are equal.
fn lists(seed: u64, lists: usize, length: usize) -> (Vec<f64>, Vec<bool>) {
    let mut random = Random::new(seed);
    let scores = (0..lists * length)
        .map(|_| random.below(30) as f64 / 30.0)
        .collect();
    let relevant = (0..lists * length)
        .map(|_| random.uniform() < 0.3)
        .collect();
    (scores, relevant)
}

/// Ranks by sorting: at equal scores irrelevant ones first, then in their order.
fn sorted(scores: &[f64], relevant: &[bool]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| (scores[b].total_cmp(&scores[a])).then(relevant[a].cmp(&relevant[b])));
    let mut ranks = vec![0; scores.len()];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank + 1;
    }
    ranks
}

#[test]
fn gradients_are_differences_of_ranks() {
    let (lambda, margin, length) = (0.7, 0.1, 40);
    let (scores, relevant) = lists(3, 12, length);
    let recall = BlackboxRecallConfig::new()
        .with_lambda(lambda)
        .with_margin(margin);
    let ap = BlackboxApConfig::new()
        .with_lambda(lambda)
        .with_margin(margin);
    let check = |found: RankedScores| {
        let mut changed = 0;
        for start in (0..scores.len()).step_by(length) {
            let list = start..start + length;
            let relevant = &relevant[list.clone()];
            let shift = |(&score, &relevant): (&f64, &bool)| match relevant {
                true => score - 0.5 * margin,
                false => score + 0.5 * margin,
            };
            let shifted: Vec<f64> = scores[list.clone()]
                .iter()
                .zip(relevant)
                .map(shift)
                .collect();
            let ranks = sorted(&shifted, relevant);
            assert_eq!(ranks, found.ranks[list.clone()]);
            let on_ranks = &found.on_ranks[list.clone()];
            let moved: Vec<f64> = shifted
                .iter()
                .zip(on_ranks)
                .map(|(score, g)| score + lambda * g)
                .collect();
            for (at, new) in sorted(&moved, relevant).into_iter().enumerate() {
                let change = new as f64 - ranks[at] as f64;
                let expected = change / (length as f64 * (lambda + 1e-8));
                assert!((found.on_scores[start + at] - expected).abs() <= 1e-12);
                changed += usize::from(change != 0.0);
            }
        }
        assert!(changed > 100, "{changed}");
    };
    check(
        recall
            .init()
            .unwrap()
            .of_scores(&scores, &relevant, length)
            .unwrap(),
    );
    check(
        ap.init()
            .unwrap()
            .of_scores(&scores, &relevant, length, None)
            .unwrap(),
    );
}

#[test]
fn values_are_those_of_the_ranking() {
    // Positives at ranks 2 and 4, and 1; a list without any.
    let scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.2, 0.3, 0.4, 0.5];
    let scores = [&scores[..], &scores[..5]].concat();
    let mut relevant = [false; 15];
    for at in [1, 3, 9] {
        relevant[at] = true;
    }
    let ap = BlackboxApConfig::new().with_margin(0.0).init().unwrap();
    let found = ap.of_scores(&scores, &relevant, 5, None).unwrap();
    assert!((found.value - 0.25).abs() <= 1e-12, "{}", found.value);
    let recall = BlackboxRecallConfig::new().with_margin(0.0);
    let found = recall
        .clone()
        .with_weight(BlackboxWeight::Log)
        .init()
        .unwrap()
        .of_scores(&scores, &relevant, 5)
        .unwrap();
    assert!((found.value - 6f64.ln() / 3.0).abs() <= 1e-12);
    let found = recall
        .init()
        .unwrap()
        .of_scores(&scores, &relevant, 5)
        .unwrap();
    let expected = (2f64.ln().ln_1p() + 3f64.ln().ln_1p()) / 3.0;
    assert!((found.value - expected).abs() <= 1e-12);
}

#[test]
fn a_perfect_ranking_costs_nothing() {
    let mut case = Case::random(5, 24, 6, 3);
    for (row, label) in case.labels.iter().enumerate() {
        let row = &mut case.embeddings.values[row * 6..(row + 1) * 6];
        // Classes along axes that are at right angles, or opposite.
        row.iter_mut().for_each(|x| *x *= 0.01);
        row[*label as usize % 6] += if *label < 6 { 1.0 } else { -1.0 };
    }
    assert!(case.labels.iter().all(|&label| label < 12));
    let recall = BlackboxRecallConfig::new().init().unwrap();
    let ap = BlackboxApConfig::new().init().unwrap();
    for found in [on_flex(&recall, &case), in_double(&recall, &case)] {
        assert_eq!(found.loss, 0.0);
        assert!(found.grad.iter().all(|&grad| grad == 0.0));
    }
    for found in [on_flex(&ap, &case), in_double(&ap, &case)] {
        assert!(found.loss.abs() <= 1e-6);
    }
}

#[test]
fn noise_follows_from_the_seed() {
    let mut case = Case::random(5, 30, 6, 3);
    let config = BlackboxApConfig::released().with_margin(0.3);
    let loss = config.init().unwrap();
    let first = in_double(&loss, &case);
    same(&in_double(&loss, &case), &first, 0.0, 0.0, "once more");
    same(&on_flex(&loss, &case), &first, 1e-5, 1e-4, "on flex");
    case.seed += 1;
    assert!((in_double(&loss, &case).loss - first.loss).abs() > 1e-4);
    // As large as no noise is.
    let plain = BlackboxApConfig::new().with_margin(0.3).init().unwrap();
    let ones = Noisy {
        loss: plain.clone(),
        case: case.clone(),
        noise: vec![-1.0; 30 * 29],
    };
    let expected = in_double(&plain, &case);
    same(
        &in_double(&ones, &case),
        &expected,
        1e-12,
        1e-12,
        "noise of size 1",
    );
}

#[test]
fn a_batch_without_positives_is_an_error() {
    let mut case = Case::random(0, 6, 4, 1);
    case.labels = (0..6).collect();
    let recall = BlackboxRecallConfig::new().init().unwrap();
    let ap = BlackboxApConfig::new().init().unwrap();
    for error in [
        evaluated::<OnFlex>(&recall, &case, DType::F32).unwrap_err(),
        evaluated::<OnFlex>(&ap, &case, DType::F32).unwrap_err(),
        recall.of_scores(&[0.0; 6], &[false; 6], 3).unwrap_err(),
    ] {
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    }
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let ap = BlackboxApConfig::new().init().unwrap();
    let embeddings = Case::random(0, 6, 4, 1)
        .embeddings
        .tensor::<InDouble>(DType::F64);
    for (error, name) in [
        (
            BlackboxApConfig::new().with_lambda(0.0).init().unwrap_err(),
            "lambda = 0",
        ),
        (
            BlackboxApConfig::new()
                .with_margin(-0.1)
                .init()
                .unwrap_err(),
            "margin = -0.1",
        ),
        (
            BlackboxRecallConfig::new()
                .with_lambda(-1.0)
                .init()
                .unwrap_err(),
            "lambda = -1",
        ),
        (
            BlackboxRecallConfig::new()
                .with_margin(-0.1)
                .init()
                .unwrap_err(),
            "margin = -0.1",
        ),
        (
            ap.of_scores(&[0.0; 6], &[true; 6], 4, None).unwrap_err(),
            "length = 4",
        ),
        (
            ap.of_scores(&[0.0; 6], &[true; 5], 3, None).unwrap_err(),
            "relevant = 5 values",
        ),
        (
            ap.of_scores(&[0.0; 6], &[true; 6], 3, Some(&[1.0]))
                .unwrap_err(),
            "noise = 1 numbers",
        ),
        (
            ap.evaluate_with_noise(embeddings, &[0, 0, 1, 1, 2, 2], &[1.0; 36])
                .unwrap_err(),
            "noise = 36 numbers",
        ),
    ] {
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
