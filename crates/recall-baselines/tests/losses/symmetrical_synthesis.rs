use burn::tensor::{DType, Tensor};
use recall_baselines::{
    Batch, LossError, MetricLoss, SymmetricalSynthesis, SymmetricalSynthesisConfig,
};
use recall_loss::RecallBackend;

use crate::check::{
    Case, InDouble, Matrix, OnFlex, Random, evaluated, has_the_gradient_of_its_value,
    ignores_rotations, in_double, on_flex, on_ndarray, relative, rows_are_tensor_operations, same,
};
use crate::reference::Reference;
use crate::with_proxies::with_lengths;

/// The loss of given pairs.
struct Given(SymmetricalSynthesis, Vec<[usize; 2]>);

impl<B: RecallBackend> MetricLoss<B> for Given {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        self.0.of_pairs(batch.embeddings, &self.1)
    }
}

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("symmetrical_synthesis");
    let case = reference.case(None);
    let pairs = reference.tuples::<2>("pairs");
    let order = Random::new(3).order(case.labels.len());
    let mut place = vec![0; order.len()];
    for (at, &row) in order.iter().enumerate() {
        place[row] = at;
    }
    for (variant, settings) in reference.variants() {
        let config = SymmetricalSynthesisConfig::new().with_l2(settings["l2"].as_f64().unwrap());
        let loss = config.init().unwrap();
        let expected = reference.expected(&variant, None);
        let mut shuffled = expected.clone();
        let grad = Matrix {
            values: expected.grad.clone(),
            dim: case.embeddings.dim,
        };
        shuffled.grad = grad.reordered(&order).values;
        // Pairs may come in any order, too.
        let moved = pairs.iter().rev().map(|pair| pair.map(|row| place[row]));
        for (loss, case, expected) in [
            (Given(loss.clone(), pairs.clone()), case.clone(), &expected),
            (
                Given(loss, moved.collect()),
                case.reordered(&order),
                &shuffled,
            ),
        ] {
            same(&in_double(&loss, &case), expected, 1e-9, 1e-9, &variant);
            same(&on_flex(&loss, &case), expected, 1e-6, 1e-5, &variant);
            same(&on_ndarray(&loss, &case), expected, 1e-6, 1e-5, &variant);
        }
    }
    let sides = [0, 1].map(|side| {
        let rows: Vec<usize> = pairs.iter().map(|pair| pair[side]).collect();
        case.embeddings
            .reordered(&rows)
            .tensor::<InDouble>(DType::F64)
    });
    let [anchors, positives] = sides;
    let loss = SymmetricalSynthesisConfig::new().init().unwrap();
    let (of_positives, of_anchors) = loss.mirrored(anchors, positives);
    for (found, name) in [
        (of_positives, "mirror_of_positive_at_anchor"),
        (of_anchors, "mirror_of_anchor_at_positive"),
    ] {
        let found: Vec<f64> = found.into_data().iter::<f64>().collect();
        assert!(relative(&found, &reference.floats(name)) < 1e-12, "{name}");
    }
}

#[test]
fn holds_up_on_random_batches() {
    let loss = SymmetricalSynthesisConfig::new()
        .with_l2(0.5)
        .init()
        .unwrap();
    for seed in 0..6 {
        let case = Case::random(seed, 20 + 5 * seed as usize, 8, 4);
        let case = with_lengths(case, 1.0, 3.0);
        has_the_gradient_of_its_value(&loss, &case);
        ignores_rotations(&loss, &case);
        rows_are_tensor_operations(&loss, &case);
    }
}

#[test]
fn mirror_images_keep_lengths_and_angles() {
    let case = with_lengths(Case::random(3, 12, 6, 3), 1.0, 3.0);
    let rows: Vec<Vec<f64>> = case
        .embeddings
        .values
        .chunks(6)
        .map(<[f64]>::to_vec)
        .collect();
    let (first, second): (Vec<usize>, Vec<usize>) = ((0..6).collect(), (6..12).collect());
    let sides = [&first, &second].map(|rows| {
        case.embeddings
            .reordered(rows)
            .tensor::<InDouble>(DType::F64)
    });
    let [anchors, positives] = sides;
    let loss = SymmetricalSynthesisConfig::new().init().unwrap();
    let (images, _) = loss.mirrored(anchors, positives);
    let images: Vec<f64> = images.into_data().iter::<f64>().collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for (pair, image) in images.chunks(6).enumerate() {
        let (anchor, positive) = (&rows[pair], &rows[pair + 6]);
        assert!((dot(image, image) - dot(positive, positive)).abs() < 1e-12);
        assert!((dot(image, anchor) - dot(positive, anchor)).abs() < 1e-12);
        assert!(relative(image, positive) > 1e-3);
    }
}

/// The largest of six is at least the plain similarity, and that of a class with itself no larger.
#[test]
fn mirrored_items_make_the_loss_no_smaller_than_n_pair() {
    let case = with_lengths(Case::random(7, 30, 6, 4), 1.0, 3.0);
    let loss = SymmetricalSynthesisConfig::new()
        .with_l2(0.0)
        .init()
        .unwrap();
    let pairs = loss.pairs(&case.labels, 1).unwrap();
    let row = |row: usize| &case.embeddings.values[row * 6..][..6];
    let product = |a, b| row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum::<f64>();
    let plain = pairs.iter().map(|&[anchor, own]| {
        let all = pairs.iter().map(|&[_, other]| product(anchor, other).exp());
        all.sum::<f64>().ln() - product(anchor, own)
    });
    let plain = plain.sum::<f64>() / pairs.len() as f64;
    let found = in_double(&Given(loss, pairs), &case).loss;
    assert!(found > plain, "{found} is below {plain}");
}

#[test]
fn pairs_are_of_a_class_and_follow_from_the_seed() {
    let loss = SymmetricalSynthesisConfig::new().init().unwrap();
    let labels = [5, 2, 5, 9, 2, 5, -1, 9];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let pairs = loss.pairs(&labels, seed).unwrap();
        assert_eq!(pairs, loss.pairs(&labels, seed).unwrap());
        let classes: Vec<i64> = pairs.iter().map(|pair| labels[pair[0]]).collect();
        assert_eq!(classes, [2, 5, 9]);
        for [anchor, positive] in pairs {
            assert_ne!(anchor, positive);
            assert_eq!(labels[anchor], labels[positive]);
            seen.insert((anchor, positive));
        }
    }
    // Each ordered pair of each class.
    assert_eq!(seen.len(), 2 + 6 + 2);
}

#[test]
fn a_batch_without_two_pairs_is_an_error() {
    let loss = SymmetricalSynthesisConfig::new().init().unwrap();
    let mut case = Case::random(0, 6, 4, 1);
    case.labels = vec![0, 0, 1, 2, 3, 0];
    let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
    assert!(
        matches!(error, LossError::Lacking { items: 6, .. }),
        "{error}"
    );
    let one = Given(loss.clone(), vec![[0, 1]]);
    let error = evaluated::<OnFlex>(&one, &case, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Lacking { .. }), "{error}");
    let far = Given(loss, vec![[0, 1], [2, 6]]);
    let error = evaluated::<OnFlex>(&far, &case, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Mixture(_)), "{error}");
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let config = SymmetricalSynthesisConfig::new().with_l2(-0.1);
    let error = config.init().unwrap_err();
    assert!(error.to_string().starts_with("l2 = -0.1"), "{error}");
}
