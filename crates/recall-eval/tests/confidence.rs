//! Intervals and comparisons beside what can be said about them otherwise.

use recall_eval::{Bootstrap, EvalError, Metric, Policy, PositiveRanks, Scores, Units};

const METRIC: Metric = Metric::RecallAt(1);

/// Queries that succeed where it is true.
fn scores(found: impl Iterator<Item = bool>) -> Scores {
    let lists: Vec<Vec<u32>> = found.map(|found| vec![if found { 1 } else { 2 }]).collect();
    let candidates = vec![5; lists.len()];
    let ranks = PositiveRanks::from_lists(&lists, candidates).unwrap();
    Scores::new(&ranks, &[METRIC, Metric::Mrr], Policy::default()).unwrap()
}

#[test]
fn an_interval_is_that_of_the_normal_distribution() {
    // Of a share the standard error is known.
    for (queries, every) in [(2_000, 4), (500, 2)] {
        let scores = scores((0..queries).map(|q| q % every == 0));
        let share = 1.0 / every as f64;
        let error = (share * (1.0 - share) / queries as f64).sqrt();
        for (level, deviations) in [(0.95, 1.96), (0.8, 1.28)] {
            let bootstrap = Bootstrap {
                resamples: 10_000,
                level,
                seed: 5,
            };
            let interval = bootstrap.intervals(&scores, Units::Queries).unwrap()[0];
            for (got, want) in [
                (interval.low, share - deviations * error),
                (interval.high, share + deviations * error),
            ] {
                assert!((got - want).abs() < 0.15 * error, "{got} {want} {error}");
            }
        }
    }
}

#[test]
fn whole_classes_give_wider_intervals_where_they_succeed_together() {
    // 40 classes of 25: all queries of a class succeed or none.
    let labels: Vec<i64> = (0..1_000).map(|q| q / 25).collect();
    let scores = scores(labels.iter().map(|label| label % 2 == 0));
    let bootstrap = Bootstrap::default();
    let width = |units| {
        let interval = bootstrap.intervals(&scores, units).unwrap()[0];
        interval.high - interval.low
    };
    let ratio = width(Units::Classes(&labels)) / width(Units::Queries);
    // The variance is that of 40 instead of 1,000.
    assert!((4.3..5.7).contains(&ratio), "{ratio}");
    // Classes of one query are queries.
    let alone: Vec<i64> = (0..1_000).collect();
    assert_eq!(width(Units::Classes(&alone)), width(Units::Queries));
}

#[test]
fn nothing_depends_on_threads_and_all_on_the_seed() {
    let scores = scores((0..300).map(|q| q % 3 == 0));
    let other = self::scores((0..300).map(|q| q % 7 == 0));
    let judge = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let bootstrap = Bootstrap {
            resamples: 400,
            seed,
            ..Bootstrap::default()
        };
        pool.install(|| {
            let intervals = bootstrap.intervals(&scores, Units::Queries).unwrap();
            (
                intervals,
                bootstrap.compare(&scores, &other, Units::Queries).unwrap(),
            )
        })
    };
    assert_eq!(judge(1, 1), judge(3, 1));
    assert_ne!(judge(1, 1).0, judge(1, 2).0);
}

#[test]
fn the_p_value_is_that_of_all_signs() {
    // Eight queries differ, all in favour of the second: of 256 patterns of signs two are as far.
    let first = scores((0..40).map(|q| q >= 8 && q % 2 == 0));
    let second = scores((0..40).map(|q| q < 8 || q % 2 == 0));
    let bootstrap = Bootstrap {
        resamples: 20_000,
        ..Bootstrap::default()
    };
    let comparison = bootstrap.compare(&first, &second, Units::Queries).unwrap()[0];
    assert_eq!((comparison.first, comparison.second), (0.4, 0.6));
    assert!((comparison.difference - 0.2).abs() < 1e-12);
    assert!(
        (comparison.p_value - 2.0 / 256.0).abs() < 0.002,
        "{}",
        comparison.p_value
    );
    assert!(comparison.interval.low > 0.0 && comparison.interval.high < 0.4);
    // The other way round everything changes its sign.
    let back = bootstrap.compare(&second, &first, Units::Queries).unwrap()[0];
    assert_eq!(
        (back.difference, back.p_value),
        (-comparison.difference, comparison.p_value)
    );
}

#[test]
fn equals_do_not_differ() {
    let scores = scores((0..50).map(|q| q % 3 == 0));
    for comparison in Bootstrap::default()
        .compare(&scores, &scores, Units::Queries)
        .unwrap()
    {
        assert_eq!((comparison.difference, comparison.p_value), (0.0, 1.0));
        assert_eq!(
            (comparison.interval.low, comparison.interval.high),
            (0.0, 0.0)
        );
    }
    // All alike: there is nothing to vary.
    let all = self::scores((0..50).map(|_| true));
    let interval = Bootstrap::default()
        .intervals(&all, Units::Queries)
        .unwrap()[0];
    assert_eq!((interval.low, interval.high), (1.0, 1.0));
}

#[test]
fn a_true_difference_of_nothing_is_rarely_significant() {
    // Two hundred pairs of sets whose queries succeed by the same coin.
    let mut state = 1_u64;
    let mut coin = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 63 == 1
    };
    let bootstrap = Bootstrap {
        resamples: 300,
        ..Bootstrap::default()
    };
    let significant = (0..200)
        .filter(|_| {
            let found: Vec<[bool; 2]> = (0..100).map(|_| [coin(), coin()]).collect();
            let [first, second] = [0, 1].map(|side| scores(found.iter().map(|pair| pair[side])));
            bootstrap.compare(&first, &second, Units::Queries).unwrap()[0].p_value <= 0.05
        })
        .count();
    // 10 are expected, with a standard deviation of 3.
    assert!(significant <= 20, "{significant}");
}

#[test]
fn what_is_refused() {
    let scores = scores((0..10).map(|q| q % 2 == 0));
    let fewer = self::scores((0..9).map(|q| q % 2 == 0));
    let error = Bootstrap::default()
        .compare(&scores, &fewer, Units::Queries)
        .unwrap_err();
    assert!(matches!(
        error,
        EvalError::NotPaired {
            first: 10,
            second: 9
        }
    ));
    for (resamples, level) in [(0, 0.95), (10, 0.0), (10, 1.0), (10, f64::NAN)] {
        let bootstrap = Bootstrap {
            resamples,
            level,
            seed: 0,
        };
        let error = bootstrap.intervals(&scores, Units::Queries).unwrap_err();
        assert!(matches!(error, EvalError::InvalidBootstrap { .. }));
    }
    let error = Bootstrap::default()
        .intervals(&scores, Units::Classes(&[1, 2]))
        .unwrap_err();
    assert!(matches!(error, EvalError::LabelCount { .. }));
}
