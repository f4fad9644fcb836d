//! What is decided where a formula is silent: ties, queries without positives, classes of any size,
//! galleries drawn at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use recall_eval::{
    Embeddings, EmptyQueries, EvalError, IgnoreGroup, Metric, Policy, PositiveRanks, RandomGallery,
    Retrieval, Scores, Ties, evaluate,
};

fn policy(ties: Ties) -> Policy {
    Policy {
        ties,
        ..Policy::default()
    }
}

#[test]
fn a_collapsed_model_owes_everything_to_ties() {
    // Six items at one point, two of a class.
    let embeddings = Embeddings::new(vec![1.0; 12], 2).unwrap();
    let retrieval = Retrieval::each_against_rest(&embeddings, &[0, 0, 1, 1, 2, 2]).unwrap();
    let ranks = retrieval.ranks().unwrap();
    let metrics = [Metric::RecallAt(1), Metric::RecallAt(5)];
    let recall = |ties| {
        let evaluation = evaluate(&ranks, &metrics, policy(ties)).unwrap();
        assert_eq!(evaluation.tied, 6);
        evaluation
            .values
            .iter()
            .map(|(_, value)| *value)
            .collect::<Vec<_>>()
    };
    assert_eq!(recall(Ties::Optimistic), [1.0, 1.0]);
    assert_eq!(recall(Ties::Pessimistic), [0.0, 1.0]);
    // By id, the first two find each other.
    assert_eq!(recall(Ties::Stable), [2.0 / 6.0, 1.0]);
    // Recall at 5 is 1 in any order.
    let evaluation = evaluate(&ranks, &metrics[1..], Policy::default()).unwrap();
    assert_eq!(evaluation.tied, 0);
}

#[test]
fn the_three_ways_with_queries_without_positives() {
    let ranks = PositiveRanks::from_lists(&[vec![1], vec![], vec![2], vec![]], vec![5; 4]).unwrap();
    let mean = |empty| Ok::<_, EvalError>(evaluate(&ranks, &[Metric::Mrr], empty)?.values[0].1);
    assert_eq!(mean(EmptyQueries::Skip).unwrap(), 0.75);
    assert_eq!(mean(EmptyQueries::Zero).unwrap(), 0.375);
    let error = mean(EmptyQueries::Error).unwrap_err().to_string();
    assert!(
        error.starts_with("2 of 4 queries have no positive, the first is query 1"),
        "{error}"
    );
    let none = PositiveRanks::from_lists(&[vec![], vec![]], vec![5; 2]).unwrap();
    let error = evaluate(&none, &[Metric::Mrr], EmptyQueries::Skip).unwrap_err();
    assert!(matches!(error, EvalError::NothingToAverage { queries: 2 }));
    assert_eq!(
        evaluate(&none, &[Metric::Mrr], EmptyQueries::Zero)
            .unwrap()
            .values[0]
            .1,
        0.0
    );
    let error = evaluate(&ranks, &[], EmptyQueries::Skip).unwrap_err();
    assert!(matches!(error, EvalError::NoMetric));
}

#[test]
fn classes_of_one_size_have_the_mean_over_queries() {
    let lists: Vec<Vec<u32>> = (1..=12).map(|rank| vec![rank]).collect();
    let ranks = PositiveRanks::from_lists(&lists, vec![20; 12]).unwrap();
    let scores = Scores::new(
        &ranks,
        &[Metric::Mrr, Metric::RecallAt(4)],
        Policy::default(),
    )
    .unwrap();
    let labels: Vec<i64> = (0..12).map(|q| q % 3).collect();
    for (by_class, mean) in scores
        .by_class(&labels)
        .unwrap()
        .values
        .iter()
        .zip(scores.evaluation().values)
    {
        assert!((by_class.1 - mean.1).abs() < 1e-12);
    }
    let error = scores.by_class(&labels[1..]).unwrap_err();
    assert!(matches!(
        error,
        EvalError::LabelCount {
            labels: 11,
            rows: 12,
            ..
        }
    ));
}

proptest! {
    #[test]
    fn bounds_of_ties_and_of_means(
        values in prop::collection::vec(-2i8..=2, 6..120),
        classes in 1i64..6,
    ) {
        let rows = values.len() / 3;
        let values = values[..rows * 3].iter().map(|&value| f32::from(value)).collect();
        let embeddings = Embeddings::new(values, 3).unwrap();
        let labels: Vec<i64> = (0..rows as i64).map(|i| i * i % classes).collect();
        let ranks = Retrieval::each_against_rest(&embeddings, &labels).unwrap().ranks().unwrap();
        let metrics =
            [Metric::RecallAt(2), Metric::IrRecallAt(3), Metric::RPrecision, Metric::MapAtR, Metric::Map];
        let scores = |ties| Scores::new(&ranks, &metrics, policy(ties));
        let Ok(stable) = scores(Ties::Stable) else {
            // Nothing but classes of one.
            return Ok(());
        };
        let (best, worst) = (scores(Ties::Optimistic).unwrap(), scores(Ties::Pessimistic).unwrap());
        let mut depends = BTreeSet::new();
        for metric in metrics {
            let of = |scores: &Scores| scores.of(metric).unwrap();
            for (at, ((worst, stable), best)) in
                of(&worst).into_iter().zip(of(&stable)).zip(of(&best)).enumerate()
            {
                prop_assert!(worst <= stable && stable <= best, "{metric}: {worst} {stable} {best}");
                if worst != best {
                    depends.insert(at);
                }
            }
        }
        prop_assert_eq!(stable.evaluation().tied, depends.len());

        // The mean over classes, by hand.
        let mut of_class: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (&q, value) in stable.queries().iter().zip(stable.of(Metric::Map).unwrap()) {
            of_class.entry(labels[q]).or_default().push(value);
        }
        let means: Vec<f64> =
            of_class.values().map(|of| of.iter().sum::<f64>() / of.len() as f64).collect();
        let want = means.iter().sum::<f64>() / means.len() as f64;
        let got = stable.by_class(&labels).unwrap().get(Metric::Map).unwrap();
        prop_assert!((got - want).abs() < 1e-12);
    }

    #[test]
    fn a_random_gallery_has_one_of_each_class(
        labels in prop::collection::vec(-3i64..9, 1..80),
        seed in any::<u64>(),
    ) {
        let draws = RandomGallery { seed, ..RandomGallery::default() };
        let classes: BTreeSet<i64> = labels.iter().copied().collect();
        for draw in 0..3 {
            let gallery = draws.gallery(&labels, draw);
            prop_assert_eq!(gallery.len(), classes.len());
            let found: BTreeSet<i64> = gallery.iter().map(|&row| labels[row]).collect();
            prop_assert_eq!(&found, &classes);
            prop_assert_eq!(draws.gallery(&labels, draw), gallery);
        }
    }
}

#[test]
fn every_item_is_drawn_about_as_often() {
    // Four of a class: 4,000 draws, 1,000 for each, with a standard deviation of 27.
    let mut counts = [0; 4];
    for draw in 0..4_000 {
        counts[RandomGallery::default().gallery(&[7; 4], draw)[0]] += 1;
    }
    assert!(
        counts.iter().all(|count| (880..1120).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn draws_are_means_of_retrievals() {
    let values: Vec<f32> = (0..60)
        .map(|i| ((i * i * 7 + 3 * i) % 23) as f32 - 11.0)
        .collect();
    let embeddings = Embeddings::new(values, 3).unwrap();
    let labels: Vec<i64> = (0..20).map(|i| i % 6).collect();
    let metrics = [Metric::RecallAt(1), Metric::RecallAt(3)];
    let draws = RandomGallery { draws: 5, seed: 3 };
    let judged = draws
        .evaluate(&embeddings, &labels, &metrics, Policy::default())
        .unwrap();
    let mut values = Vec::new();
    for draw in 0..5 {
        let gallery = draws.gallery(&labels, draw);
        // As junk of everything else, with the whole set as the gallery.
        let (mut found, mut queries) = (0.0, 0.0);
        for q in (0..20).filter(|q| !gallery.contains(q)) {
            let similarity = |i: usize| -> f32 {
                embeddings
                    .row(q)
                    .iter()
                    .zip(embeddings.row(i))
                    .map(|(a, b)| a * b)
                    .sum()
            };
            // Small whole numbers: exact. The gallery is in the order of classes.
            let first = (0..gallery.len())
                .max_by(|&a, &b| {
                    let order = similarity(gallery[a]).total_cmp(&similarity(gallery[b]));
                    order.then(b.cmp(&a))
                })
                .unwrap();
            found += f64::from(u8::from(labels[gallery[first]] == labels[q]));
            queries += 1.0;
        }
        values.push(found / queries);
    }
    let mean = values.iter().sum::<f64>() / 5.0;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / 4.0;
    let (metric, got_mean, got_std) = judged.values[0];
    assert_eq!(metric, Metric::RecallAt(1));
    assert!((got_mean - mean).abs() < 1e-12 && (got_std - variance.sqrt()).abs() < 1e-12);
    assert!(got_std > 0.0);
    let json = serde_json::to_value(&judged).unwrap();
    assert_eq!(json["draws"], 5);
    assert_eq!(json["queries"], 14);
    assert_eq!(json["recall@1_std"], got_std);
}

#[test]
fn galleries_that_cannot_be() {
    let embeddings = Embeddings::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
    let judge = |draws: RandomGallery, labels: &[i64]| {
        draws
            .evaluate(&embeddings, labels, &[Metric::Map], Policy::default())
            .unwrap_err()
    };
    assert!(matches!(
        judge(RandomGallery { draws: 0, seed: 0 }, &[0, 0]),
        EvalError::NoDraw
    ));
    let one_each = judge(RandomGallery::default(), &[0, 1]);
    assert!(matches!(one_each, EvalError::NothingToAverage { .. }));
    let labels = judge(RandomGallery::default(), &[0]);
    assert!(matches!(labels, EvalError::LabelCount { .. }));
}

#[test]
fn groups_that_do_not_fit() {
    let embeddings = Embeddings::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
    let retrieval = || Retrieval::each_against_rest(&embeddings, &[0, 0]).unwrap();
    let error = retrieval()
        .ignore_group(&[1], &[1, 1], IgnoreGroup::All)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 groups for 2 queries: each row needs one group"
    );
    let lists = retrieval().positives(vec![vec![1], vec![0]]).unwrap();
    let error = lists
        .ignore_group(&[1, 1], &[1, 1], IgnoreGroup::SameClass)
        .unwrap_err();
    assert!(matches!(error, EvalError::NoClasses));
}
