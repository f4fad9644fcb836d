//! Exact ranks against a program that sorts everything.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use proptest::prelude::*;
use recall_eval::{
    Embeddings, EmptyQueries, EvalError, IgnoreGroup, Metric, PositiveRanks, Retrieval, Ties,
    evaluate, nearest,
};

/// Queries and gallery whose values are multiples of 1/64 up to 2, in at most 8 dimensions: dot
/// products are exact in f32, in whatever order they are summed, and so the program below has no
/// rounding of its own to compare with.
#[derive(Clone, Debug)]
struct Case {
    one_set: bool,
    dim: usize,
    queries: Vec<f32>,
    gallery: Vec<f32>,
    query_labels: Vec<i64>,
    gallery_labels: Vec<i64>,
    positives: Option<Vec<Vec<u32>>>,
    junk: Option<Vec<Vec<u32>>>,
    ignored: Option<Ignored>,
}

#[derive(Clone, Debug)]
struct Ignored {
    query_groups: Vec<i64>,
    gallery_groups: Vec<i64>,
    /// Otherwise of the query's class only.
    all: bool,
}

impl Case {
    fn embeddings(&self) -> (Embeddings, Embeddings) {
        let take = |values: &[f32]| Embeddings::new(values.to_vec(), self.dim).unwrap();
        (take(&self.queries), take(&self.gallery))
    }

    fn retrieval<'a>(&self, queries: &'a Embeddings, gallery: &'a Embeddings) -> Retrieval<'a> {
        let mut retrieval = if self.one_set {
            Retrieval::each_against_rest(gallery, &self.gallery_labels).unwrap()
        } else {
            Retrieval::query_against_gallery(
                queries,
                &self.query_labels,
                gallery,
                &self.gallery_labels,
            )
            .unwrap()
        };
        // Before positives are given as lists: which classes are meant must not change by them.
        if let Some(ignored) = &self.ignored {
            let which = match ignored.all {
                true => IgnoreGroup::All,
                false => IgnoreGroup::SameClass,
            };
            retrieval = retrieval
                .ignore_group(&ignored.query_groups, &ignored.gallery_groups, which)
                .unwrap();
        }
        if let Some(positives) = &self.positives {
            retrieval = retrieval.positives(positives.clone()).unwrap();
        }
        if let Some(junk) = &self.junk {
            retrieval = retrieval.junk(junk.clone()).unwrap();
        }
        retrieval
    }

    /// The whole ranking of each query: id, similarity, relevance.
    fn rankings(&self) -> Vec<Vec<(u32, f64, bool)>> {
        let rows = |values: &[f32]| -> Vec<Vec<f64>> {
            let row = |row: &[f32]| row.iter().copied().map(f64::from).collect();
            values.chunks(self.dim).map(row).collect()
        };
        let gallery = rows(&self.gallery);
        let queries = rows(&self.queries);
        let ranking = |(q, query): (usize, &Vec<f64>)| {
            let mut ranking = Vec::new();
            for (id, item) in gallery.iter().enumerate() {
                let junk = self
                    .junk
                    .as_ref()
                    .is_some_and(|junk| junk[q].contains(&(id as u32)));
                let ignored = self.ignored.as_ref().is_some_and(|ignored| {
                    ignored.query_groups[q] == ignored.gallery_groups[id]
                        && (ignored.all || self.query_labels[q] == self.gallery_labels[id])
                });
                if junk || ignored || self.one_set && id == q {
                    continue;
                }
                let similarity: f64 = query.iter().zip(item).map(|(a, b)| a * b).sum();
                let relevant = match &self.positives {
                    Some(positives) => positives[q].contains(&(id as u32)),
                    None => self.query_labels[q] == self.gallery_labels[id],
                };
                ranking.push((id as u32, similarity, relevant));
            }
            ranking.sort_by_key(|&(id, similarity, _)| (descending(similarity), id));
            ranking
        };
        queries.iter().enumerate().map(ranking).collect()
    }

    /// Whether `got` holds the ranks of all positives under all policies of ties.
    fn check(&self, got: &PositiveRanks) {
        let mut tied = Vec::new();
        for (q, ranking) in self.rankings().iter_mut().enumerate() {
            let mut ranks = |ties: Ties| -> Vec<u32> {
                ranking.sort_by_key(|&(id, similarity, relevant)| {
                    let place_of_equals = match ties {
                        Ties::Stable => false,
                        Ties::Pessimistic => relevant,
                        Ties::Optimistic => !relevant,
                    };
                    (descending(similarity), place_of_equals, id)
                });
                let relevant = (1..)
                    .zip(&*ranking)
                    .filter(|(_, (_, _, relevant))| *relevant);
                relevant.map(|(rank, _)| rank).collect()
            };
            for ties in [Ties::Stable, Ties::Pessimistic, Ties::Optimistic] {
                assert_eq!(got.of_under(q, ties), ranks(ties), "query {q}, {ties:?}");
            }
            assert_eq!(got.of(q), ranks(Ties::Stable));
            if ranks(Ties::Pessimistic) != ranks(Ties::Optimistic) {
                tied.push(q);
            }
            assert_eq!(got.candidates(q) as usize, ranking.len());
        }
        assert_eq!(got.tied().collect::<Vec<_>>(), tied);
        assert_eq!(got.queries(), self.query_labels.len());
    }
}

/// Similarities are multiples of 2^-12.
fn descending(similarity: f64) -> Reverse<i64> {
    Reverse((similarity * 4096.0) as i64)
}

fn cases() -> impl Strategy<Value = Case> {
    // Few values in few dimensions make ties and duplicates; few labels, large classes; many
    // labels, classes of one.
    let sizes = (
        any::<bool>(),
        1usize..12,
        1usize..90,
        1usize..9,
        1i64..60,
        0u32..3,
    );
    sizes.prop_flat_map(|(one_set, queries, items, dim, labels, fineness)| {
        let queries = if one_set { items } else { queries };
        let (largest, unit) = [(1i32, 1.0f32), (4, 0.5), (128, 1.0 / 64.0)][fineness as usize];
        let values = move |rows: usize| {
            let value = (-largest..=largest).prop_map(move |value| value as f32 * unit);
            prop::collection::vec(value, rows * dim)
        };
        let lists = move || {
            let list = prop::collection::vec(0..items as u32, 0..10);
            prop::option::of(prop::collection::vec(list, queries))
        };
        (
            values(queries),
            values(items),
            prop::collection::vec(0..labels, queries),
            prop::collection::vec(0..labels, items),
            lists(),
            lists(),
            prop::option::of((
                prop::collection::vec(0..4i64, queries),
                prop::collection::vec(0..4i64, items),
                any::<bool>(),
            )),
        )
            .prop_map(
                move |(
                    queries,
                    gallery,
                    query_labels,
                    gallery_labels,
                    positives,
                    junk,
                    ignored,
                )| Case {
                    ignored: ignored.map(|(query_groups, gallery_groups, all)| Ignored {
                        query_groups: if one_set {
                            gallery_groups.clone()
                        } else {
                            query_groups
                        },
                        gallery_groups,
                        all,
                    }),
                    one_set,
                    dim,
                    queries: if one_set { gallery.clone() } else { queries },
                    query_labels: if one_set {
                        gallery_labels.clone()
                    } else {
                        query_labels
                    },
                    gallery,
                    gallery_labels,
                    positives,
                    junk,
                },
            )
    })
}

proptest! {
    // Without optimisation the kernel is some hundred times slower.
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 4000 }))]

    #[test]
    fn ranks_are_exact(case in cases(), block in prop::sample::select(vec![1, 7, 64, 100])) {
        let (queries, gallery) = case.embeddings();
        let retrieval = case.retrieval(&queries, &gallery);
        let ranks = retrieval.ranks().unwrap();
        case.check(&ranks);
        prop_assert_eq!(&retrieval.ranks_with(block).unwrap(), &ranks);
    }

    #[test]
    fn neighbours_are_the_start_of_the_ranking(case in cases(), k in 0usize..100) {
        let (queries, gallery) = case.embeddings();
        let retrieval = case.retrieval(&queries, &gallery);
        let rankings = case.rankings();
        // Every other query, backwards.
        let asked: Vec<usize> = (0..rankings.len()).rev().step_by(2).collect();
        let found = nearest(&retrieval, &asked, k).unwrap();
        prop_assert_eq!(found.len(), asked.len());
        for (q, found) in asked.into_iter().zip(found) {
            let found = found.iter().map(|n| (n.id, f64::from(n.similarity), n.relevant));
            let want = &rankings[q][..k.min(rankings[q].len())];
            prop_assert_eq!(found.collect::<Vec<_>>(), want);
        }
    }

    #[test]
    fn metrics_follow_their_definitions(case in cases(), k in 1usize..100) {
        for ranking in case.rankings() {
            let hits: Vec<f64> =
                ranking.iter().map(|&(_, _, relevant)| f64::from(u8::from(relevant))).collect();
            let found = |n: usize| hits.iter().take(n).sum::<f64>();
            let positives = found(hits.len());
            let ranks: Vec<u32> =
                (1u32..).zip(&hits).filter(|(_, hit)| **hit > 0.0).map(|(rank, _)| rank).collect();
            let precision_sum = |n: usize| -> f64 {
                (1..=n.min(hits.len())).map(|i| hits[i - 1] * found(i) / i as f64).sum()
            };
            let r = positives as usize;
            let over_r = |value: f64| if r == 0 { 0.0 } else { value / positives };
            let last = ranks.last().map_or(0, |&rank| rank as usize).min(k);
            let wanted = [
                (Metric::RecallAt(k), if found(k) > 0.0 { 1.0 } else { 0.0 }),
                (Metric::IrRecallAt(k), over_r(found(k))),
                (Metric::PrecisionAt(k), found(k) / k as f64),
                (Metric::RPrecision, over_r(found(r))),
                (Metric::MapAtR, over_r(precision_sum(r))),
                (Metric::Map, over_r(precision_sum(hits.len()))),
                (Metric::MpAt(k), if last == 0 { 0.0 } else { found(last) / last as f64 }),
                (Metric::Mrr, ranks.first().map_or(0.0, |&rank| 1.0 / f64::from(rank))),
            ];
            for (metric, want) in wanted {
                let got = metric.of(&ranks);
                prop_assert!((got - want).abs() < 1e-12, "{}: {} instead of {}", metric, got, want);
            }
            // A positive moves the precision up, so that the trapezoid lies below the finite sum.
            let (area, sum) = (Metric::MapTrapezoid.of(&ranks), Metric::Map.of(&ranks));
            prop_assert!(area <= sum + 1e-12 && (0.0..=1.0).contains(&sum));
        }
    }
}

/// Values whose products round, unlike those above.
fn noise(rows: usize, dim: usize, seed: u64) -> Embeddings {
    let mut state = seed;
    let mut value = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut data: Vec<f32> = (0..rows * dim).map(|_| value()).collect();
    // Some rows twice: their similarities must be equal to the last bit wherever they lie.
    for row in (0..rows - rows / 2).step_by(3) {
        data.copy_within(row * dim..(row + 1) * dim, (row + rows / 2) * dim);
    }
    Embeddings::new(data, dim).unwrap().normalised().unwrap()
}

#[test]
fn neither_blocks_nor_threads_change_a_rank() {
    let (rows, dim) = if cfg!(debug_assertions) {
        (150, 5)
    } else {
        (700, 77)
    };
    let embeddings = noise(rows, dim, 1);
    // Classes of 1, of 3, and of more positives than are compared one by one.
    for classes in [rows as i64, 200, 2] {
        let labels: Vec<i64> = (0..rows as i64).map(|i| i * 7 % classes).collect();
        let junk = (0..rows as u32)
            .map(|q| vec![(q + 1) % rows as u32, q / 2])
            .collect();
        let retrieval = Retrieval::each_against_rest(&embeddings, &labels).unwrap();
        let retrieval = retrieval.junk(junk).unwrap();
        let want = retrieval.ranks().unwrap();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            for block in [1, 7, 64, rows] {
                let got = pool.install(|| retrieval.ranks_with(block)).unwrap();
                assert!(
                    got == want,
                    "{classes} classes, {threads} threads, blocks of {block}"
                );
            }
            assert!(pool.install(|| retrieval.ranks()).unwrap() == want);
        }
    }
}

#[test]
fn a_subset_of_the_gallery_ranks_alike() {
    // Queries one at a time must see the same bits as all of them together.
    let embeddings = noise(300, 40, 2);
    let labels: Vec<i64> = (0..300).map(|i| i % 20).collect();
    let together = Retrieval::query_against_gallery(&embeddings, &labels, &embeddings, &labels)
        .unwrap()
        .ranks()
        .unwrap();
    for q in (0..300).step_by(17) {
        let query = Embeddings::new(embeddings.row(q).to_vec(), 40).unwrap();
        let alone =
            Retrieval::query_against_gallery(&query, &labels[q..=q], &embeddings, &labels).unwrap();
        assert_eq!(alone.ranks().unwrap().of(0), together.of(q));
    }
}

/// Rows multiplied by powers of two.
fn scaled(rows: &Embeddings, power: impl Fn(usize) -> i32) -> Embeddings {
    let values = (rows.as_slice().chunks(rows.dim()).enumerate()).flat_map(|(at, row)| {
        let factor = 2.0_f32.powi(power(at));
        row.iter().map(move |value| value * factor)
    });
    Embeddings::new(values.collect(), rows.dim()).unwrap()
}

#[test]
fn the_scale_of_a_query_and_of_the_gallery_changes_no_rank() {
    let (queries, gallery) = (noise(60, 9, 3), noise(90, 9, 4));
    let labels = |rows: i64| -> Vec<i64> { (0..rows).map(|i| i % 12).collect() };
    let judge = |queries: &Embeddings, gallery: &Embeddings| {
        let retrieval =
            Retrieval::query_against_gallery(queries, &labels(60), gallery, &labels(90)).unwrap();
        let found = nearest(&retrieval, &[7, 8], 5).unwrap();
        (retrieval.ranks().unwrap(), found)
    };
    let (ranks, found) = judge(&queries, &gallery);
    for power in [-110, -40, 40, 110] {
        // Lengths of about 2^-110 to 2^110, side by side.
        let of_query = |at: usize| (at as i32 * 37) % 221 - 110;
        let queries = scaled(&queries, of_query);
        let (scaled_ranks, scaled_found) = judge(&queries, &scaled(&gallery, |_| power));
        assert_eq!(scaled_ranks, ranks, "2^{power}");
        for (q, (found, scaled)) in [7, 8].into_iter().zip(found.iter().zip(scaled_found)) {
            for (plain, scaled) in found.iter().zip(scaled) {
                let back = f64::from(of_query(q) + power).exp2();
                let similarity = (f64::from(plain.similarity) * back) as f32;
                assert_eq!((scaled.id, scaled.similarity), (plain.id, similarity));
            }
        }
    }
}

#[test]
fn items_of_very_different_lengths_do_not_tie() {
    let rows = 120;
    let unit = noise(rows, 9, 5);
    let lengths = |at: usize| (at as i32 * 53) % 171 - 100;
    let labels: Vec<i64> = (0..rows as i64).map(|i| i % 10).collect();
    let scaled = scaled(&unit, lengths);
    let retrieval = Retrieval::each_against_rest(&scaled, &labels).unwrap();
    let ranks = retrieval.ranks().unwrap();
    assert_eq!(ranks.tied().count(), 0);
    for q in 0..rows {
        let similarity = |item: usize| -> f64 {
            let products = scaled.row(q).iter().zip(scaled.row(item));
            products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let mut others: Vec<usize> = (0..rows).filter(|&item| item != q).collect();
        others.sort_by(|&a, &b| similarity(b).total_cmp(&similarity(a)));
        let wanted: Vec<u32> = (1..)
            .zip(&others)
            .filter(|&(_, &item)| labels[item] == labels[q])
            .map(|(rank, _)| rank)
            .collect();
        assert_eq!(ranks.of(q), wanted, "query {q}");
    }
}

#[test]
fn the_query_leaves_by_identity() {
    // Item 0 and its duplicates 1 and 2, all nearest to each other: a program that drops the first
    // place loses one.
    let embeddings = Embeddings::new(vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2).unwrap();
    let retrieval = Retrieval::each_against_rest(&embeddings, &[5, 6, 5, 6]).unwrap();
    let ranks = retrieval.ranks().unwrap();
    assert_eq!(ranks.iter().collect::<Vec<_>>(), [[2], [3], [1], [2]]);
    assert_eq!(
        (0..4).map(|q| ranks.candidates(q)).collect::<BTreeSet<_>>(),
        BTreeSet::from([3])
    );
}

#[test]
fn the_zeros_are_equal() {
    // Products: -0, 0 and -0.
    let query = Embeddings::new(vec![0.0, 0.0], 2).unwrap();
    let gallery = Embeddings::new(vec![-1.0, -1.0, 1.0, 1.0, -1.0, -2.0], 2).unwrap();
    for (positive, rank) in [(0, 1), (1, 2), (2, 3)] {
        let retrieval =
            Retrieval::query_against_gallery_with(&query, &gallery, vec![vec![positive]]).unwrap();
        assert_eq!(retrieval.ranks().unwrap().of(0), [rank]);
        let first = nearest(&retrieval, &[0], 3).unwrap();
        assert_eq!(first[0].iter().map(|n| n.id).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

#[test]
fn a_collapsed_model() {
    // Everything ties with everything: an item's rank is its id, less one if the query came before
    // it.
    let rows = 600;
    let embeddings = Embeddings::new(vec![0.5; rows * 3], 3).unwrap();
    let retrieval = Retrieval::each_against_rest(&embeddings, &vec![0; rows]).unwrap();
    let ranks = retrieval.ranks().unwrap();
    let all: Vec<u32> = (1..rows as u32).collect();
    assert!(ranks.iter().all(|ranks| ranks == all));
}

#[test]
fn one_item_alone() {
    let embeddings = Embeddings::new(vec![1.0], 1).unwrap();
    let retrieval = Retrieval::each_against_rest(&embeddings, &[0]).unwrap();
    let ranks = retrieval.ranks().unwrap();
    assert_eq!((ranks.of(0), ranks.candidates(0)), (&[][..], 0));
    assert!(nearest(&retrieval, &[0], 3).unwrap()[0].is_empty());
    let error = evaluate(&ranks, &[Metric::Map], EmptyQueries::Skip).unwrap_err();
    assert!(matches!(error, EvalError::NothingToAverage { queries: 1 }));
    let zero = evaluate(&ranks, &[Metric::Map], EmptyQueries::Zero).unwrap();
    assert_eq!(zero.get(Metric::Map), Some(0.0));
}

#[test]
fn what_is_refused() {
    let two = Embeddings::new(vec![1.0, 2.0, 3.0, 4.0], 2).unwrap();
    let other = Embeddings::new(vec![1.0, 2.0, 3.0], 3).unwrap();
    let refused = |result: Result<Retrieval<'_>, EvalError>| result.unwrap_err().to_string();

    assert_eq!(
        refused(Retrieval::each_against_rest(&two, &[1])),
        "1 labels for 2 embeddings: each row needs one label"
    );
    let error = refused(Retrieval::query_against_gallery(
        &two,
        &[1, 2],
        &other,
        &[1],
    ));
    assert_eq!(
        error,
        "queries have 2 dimensions and gallery items 3: they must agree"
    );

    let retrieval = Retrieval::each_against_rest(&two, &[1, 1]).unwrap();
    assert_eq!(
        refused(retrieval.clone().junk(vec![vec![]])),
        "1 lists of junk for 2 queries: each query needs one, empty or not"
    );
    assert_eq!(
        refused(retrieval.clone().positives(vec![vec![], vec![0, 2]])),
        "positives of query 1 name item 2, but the gallery ends at 1"
    );
    assert!(matches!(
        retrieval.ranks_with(0),
        Err(EvalError::EmptyBlock)
    ));
    assert!(matches!(
        nearest(&retrieval, &[1, 2], 1),
        Err(EvalError::UnknownQuery {
            query: 2,
            queries: 2
        })
    ));
}

#[test]
fn ranks_from_elsewhere() {
    let lists =
        |ranks: &[u32], candidates| PositiveRanks::from_lists(&[ranks.to_vec()], vec![candidates]);
    assert!(lists(&[1, 2, 9], 9).is_ok());
    assert!(lists(&[], 0).is_ok());
    for wrong in [&[0, 1][..], &[2, 2], &[3, 1], &[10]] {
        assert!(matches!(
            lists(wrong, 9),
            Err(EvalError::InvalidRanks { query: 0, .. })
        ));
    }
    assert!(PositiveRanks::from_lists(&[], vec![1]).is_err());
}

#[test]
fn a_report() {
    let ranks =
        PositiveRanks::from_lists(&[vec![1, 4], vec![3], vec![], vec![2]], vec![9; 4]).unwrap();
    let metrics = [Metric::RecallAt(1), Metric::RPrecision, Metric::RecallAt(1)];
    let skip = evaluate(&ranks, &metrics, EmptyQueries::default()).unwrap();
    assert_eq!(skip.to_string(), "recall@1     0.3333\nr_precision  0.1667");
    let zero = evaluate(&ranks, &metrics, EmptyQueries::Zero).unwrap();
    assert_eq!(
        serde_json::to_string(&zero).unwrap(),
        r#"{"recall@1":0.25,"r_precision":0.125,"queries":4,"without_positives":1,"tied":0}"#
    );
    let error = evaluate(&ranks, &metrics, EmptyQueries::Error).unwrap_err();
    assert!(matches!(
        error,
        EvalError::WithoutPositives {
            count: 1,
            queries: 4,
            first: 2
        }
    ));
    let error = evaluate(&ranks, &[Metric::MpAt(0)], EmptyQueries::Skip).unwrap_err();
    assert_eq!(error.to_string(), "`mp@0` looks at no rank: k starts at 1");
}
