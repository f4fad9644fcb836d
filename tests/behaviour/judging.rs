//! `eval` on embeddings in files: what it prints beside what the library computes, and what it refuses.

use std::fs;
use std::path::Path;

use recall_eval::{
    Bootstrap, Embeddings, EmptyQueries, IgnoreGroup, Metric, Policy, RandomGallery, Retrieval,
    Scores, Units, evaluate, save_labels,
};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{command, refuse, succeed, table};

const ROWS: usize = 60;
const DIM: usize = 8;
const NOISE: f32 = 1.4;

/// Embeddings of ten classes, not of length 1; the larger the noise, the worse.
fn embeddings(noise: f32) -> Embeddings {
    let mut state = 7_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let centres: Vec<f32> = (0..10 * DIM).map(|_| uniform()).collect();
    let values = (0..ROWS * DIM)
        .map(|at| centres[label(at / DIM) as usize * DIM + at % DIM] + noise * uniform());
    Embeddings::new(values.collect(), DIM).unwrap()
}

/// Classes of uneven sizes; the last is alone.
fn label(row: usize) -> i64 {
    if row == ROWS - 1 {
        9
    } else {
        (row * row % 9) as i64
    }
}

fn labels() -> Vec<i64> {
    (0..ROWS).map(label).collect()
}

fn cameras() -> Vec<i64> {
    (0..ROWS as i64).map(|row| row % 3).collect()
}

fn folder() -> TempDir {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    embeddings(NOISE).save(at("e.npy")).unwrap();
    embeddings(NOISE)
        .save_with_labels(at("e.safetensors"), &labels())
        .unwrap();
    embeddings(NOISE / 2.0).save(at("better.npy")).unwrap();
    save_labels(at("l.npy"), &labels()).unwrap();
    save_labels(at("cameras.npy"), &cameras()).unwrap();
    let (queries, rest): (Vec<usize>, Vec<usize>) = (0..ROWS).partition(|row| row % 4 == 0);
    for (name, rows) in [("q", queries), ("g", rest)] {
        embeddings(NOISE)
            .select(&rows)
            .unwrap()
            .save(at(&format!("{name}.npy")))
            .unwrap();
        let labels: Vec<i64> = rows.iter().map(|&row| label(row)).collect();
        save_labels(at(&format!("{name}.labels.npy")), &labels).unwrap();
    }
    dir
}

/// JSON is read a last bit inexactly.
fn assert_close(got: &Value, want: f64) {
    let got = got.as_f64().unwrap_or(f64::NAN);
    assert!((got - want).abs() < 1e-12, "{got} instead of {want}");
}

fn judged(dir: &Path, arguments: &[&str]) -> Value {
    let (json, _) = succeed(command(dir, &["eval", "--json"]).args(arguments));
    serde_json::from_str(&json).expect(&json)
}

#[test]
fn what_it_prints_is_what_the_library_computes() {
    let dir = folder();
    let unit = embeddings(NOISE).normalised().unwrap();
    let ranks = Retrieval::each_against_rest(&unit, &labels())
        .unwrap()
        .ranks()
        .unwrap();
    let metrics = [
        Metric::RecallAt(1),
        Metric::RecallAt(10),
        Metric::RecallAt(100),
        Metric::RecallAt(1000),
        Metric::RPrecision,
        Metric::MapAtR,
    ];
    let scores = Scores::new(&ranks, &metrics, Policy::default()).unwrap();
    let expected = scores.evaluation();
    assert!((0.2..0.9).contains(&expected.values[0].1), "{expected}");
    for files in [
        &["--embeddings", "e.npy", "--labels", "l.npy"][..],
        &["--embeddings", "e.safetensors"],
        &["--embeddings", "e.safetensors", "--labels", "l.npy"],
    ] {
        let (text, stderr) = succeed(command(dir.path(), &["eval"]).args(files));
        let shown: Vec<_> = table(&text)
            .into_iter()
            .map(|(name, value)| [name, value])
            .collect();
        let wanted = expected
            .values
            .iter()
            .map(|(name, value)| [name.to_string(), format!("{value:.4}")]);
        assert_eq!(shown, wanted.take(4).collect::<Vec<_>>(), "{text}");
        assert!(
            text.contains("map@r") && text.contains("60 queries, 1 of them with nothing"),
            "{text}"
        );
        assert!(
            stderr.contains("lengths between") && stderr.contains("length 1"),
            "{stderr}"
        );

        let json = judged(dir.path(), files);
        let bootstrap = Bootstrap::default();
        let intervals = bootstrap.intervals(&scores, Units::Queries).unwrap();
        for ((metric, value), interval) in expected.values.iter().zip(intervals) {
            let name = metric.to_string();
            assert_close(&json[&name], *value);
            assert_close(&json["intervals"][&name][0], interval.low);
            assert_close(&json["intervals"][&name][1], interval.high);
        }
        assert_eq!(
            (&json["queries"], &json["without_positives"]),
            (&60.into(), &1.into())
        );
        assert_eq!(json["tied"], 0);
    }
    // Fewer or no intervals, another policy, means over classes.
    let files = [
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
        "--metrics",
        "map",
        "--by-class",
    ];
    let json = judged(
        dir.path(),
        &[&files[..], &["--resamples", "0", "--empty", "zero"]].concat(),
    );
    assert!(json.get("intervals").is_none());
    let zero = Policy::from(EmptyQueries::Zero);
    let scores = Scores::new(&ranks, &[Metric::Map], zero).unwrap();
    assert_close(&json["map"], scores.evaluation().values[0].1);
    assert_close(
        &json["by_class"]["map"],
        scores.by_class(&labels()).unwrap().values[0].1,
    );
    let message = refuse(command(dir.path(), &["eval", "--empty", "error"]).args(files));
    assert!(
        message.contains("1 of 60 queries have no positive, the first is query 59"),
        "{message}"
    );
}

#[test]
fn a_device_ranks_as_the_cpu() {
    let dir = folder();
    let files = [
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
        "--resamples",
        "0",
    ];
    let cpu = judged(dir.path(), &files);
    for backend in ["flex", "ndarray"] {
        let on = ["--rank-on", "device", "--backend", backend];
        let device = judged(dir.path(), &[&files[..], &on].concat());
        for name in ["recall@1", "map@r", "r_precision"] {
            assert_close(&device[name], cpu[name].as_f64().unwrap());
        }
    }
}

#[test]
fn dot_products_if_asked_for() {
    let dir = folder();
    let metrics = [Metric::RecallAt(1), Metric::Map];
    let raw = embeddings(NOISE);
    let ranks = Retrieval::each_against_rest(&raw, &labels())
        .unwrap()
        .ranks()
        .unwrap();
    let expected = evaluate(&ranks, &metrics, EmptyQueries::Skip).unwrap();
    let files = [
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
        "--metrics",
        "recall@1,map",
    ];
    let json = judged(dir.path(), &[&files[..], &["--no-normalise"]].concat());
    for (metric, value) in expected.values {
        assert_close(&json[metric.to_string()], value);
    }
    assert_ne!(json["map"], judged(dir.path(), &files)["map"]);
}

#[test]
fn queries_against_a_gallery_groups_and_random_galleries() {
    let dir = folder();
    let metric = ["--metrics", "map"];
    let only = [Metric::Map];
    let unit = |name: &str| {
        Embeddings::open(dir.path().join(name))
            .unwrap()
            .normalised()
            .unwrap()
    };
    let read = |name: &str| recall_eval::read_labels(dir.path().join(name)).unwrap();
    let mean = |retrieval: Retrieval<'_>| {
        evaluate(&retrieval.ranks().unwrap(), &only, EmptyQueries::Skip)
            .unwrap()
            .values[0]
            .1
    };

    let (queries, gallery) = (unit("q.npy"), unit("g.npy"));
    let (query_labels, gallery_labels) = (read("q.labels.npy"), read("g.labels.npy"));
    let files = [
        "--embeddings",
        "g.npy",
        "--labels",
        "g.labels.npy",
        "--query-embeddings",
        "q.npy",
        "--query-labels",
        "q.labels.npy",
    ];
    let retrieval =
        Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &gallery_labels);
    let json = judged(dir.path(), &[&files[..], &metric].concat());
    assert_close(&json["map"], mean(retrieval.unwrap()));
    assert_eq!(json["queries"], 15);

    let all = unit("e.npy");
    for (flag, which) in [
        ("same-class", IgnoreGroup::SameClass),
        ("all", IgnoreGroup::All),
    ] {
        let retrieval = Retrieval::each_against_rest(&all, &labels()).unwrap();
        let retrieval = retrieval
            .ignore_group(&cameras(), &cameras(), which)
            .unwrap();
        let files = [
            "--embeddings",
            "e.npy",
            "--labels",
            "l.npy",
            "--groups",
            "cameras.npy",
            "--ignore",
        ];
        let json = judged(dir.path(), &[&files[..], &[flag], &metric].concat());
        assert_close(&json["map"], mean(retrieval));
    }

    let draws = RandomGallery { draws: 4, seed: 9 };
    let expected = draws
        .evaluate(&all, &labels(), &only, Policy::default())
        .unwrap();
    let files = [
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
        "--protocol",
        "random-gallery",
        "--draws",
        "4",
        "--seed",
        "9",
    ];
    let json = judged(dir.path(), &[&files[..], &metric].concat());
    assert_close(&json["map"], expected.values[0].1);
    assert_eq!((&json["draws"], &json["queries"]), (&4.into(), &55.into()));
}

#[test]
fn lists_in_the_place_of_labels() {
    let dir = folder();
    let lists = r#"[{"positives": [0, 2], "junk": [1]}"#.to_owned()
        + &r#", {"positives": [3]}"#.repeat(14)
        + "]";
    fs::write(dir.path().join("lists.json"), lists).unwrap();
    let files = [
        "--embeddings",
        "g.npy",
        "--query-embeddings",
        "q.npy",
        "--ground-truth",
    ];
    let json = judged(dir.path(), &[&files[..], &["lists.json"]].concat());
    let (queries, gallery) = ["q.npy", "g.npy"]
        .map(|name| {
            Embeddings::open(dir.path().join(name))
                .unwrap()
                .normalised()
                .unwrap()
        })
        .into();
    let positives = (0..15)
        .map(|q| if q == 0 { vec![0, 2] } else { vec![3] })
        .collect();
    let junk = (0..15)
        .map(|q| if q == 0 { vec![1] } else { vec![] })
        .collect();
    let ranks = Retrieval::query_against_gallery_with(&queries, &gallery, positives)
        .and_then(|retrieval| retrieval.junk(junk))
        .and_then(|retrieval| retrieval.ranks())
        .unwrap();
    let expected = evaluate(&ranks, &[Metric::Map, Metric::Mrr], EmptyQueries::Skip).unwrap();
    assert_close(&json["map"], expected.values[0].1);
    assert_close(&json["mrr"], expected.values[1].1);

    let graded = r#"{"gnd": ["#.to_owned()
        + &r#"{"easy": [0], "hard": [1], "junk": []},"#.repeat(14)
        + r#"{"easy": [], "hard": [1]}]}"#;
    fs::write(dir.path().join("graded.json"), graded).unwrap();
    let json = judged(dir.path(), &[&files[..], &["graded.json"]].concat());
    assert_eq!(json["easy"]["without_positives"], 1);
    assert_eq!(json["hard"]["without_positives"], 0);
    let (text, _) = succeed(
        command(dir.path(), &["eval"])
            .args(files)
            .arg("graded.json"),
    );
    assert!(text.starts_with("easy\nmap_trapezoid  0."), "{text}");
    for setup in ["\n\nmedium\n", "\n\nhard\n"] {
        assert!(text.contains(setup), "{text}");
    }
}

#[test]
fn two_sets_beside_each_other() {
    let dir = folder();
    let files = [
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
        "--compare",
        "better.npy",
    ];
    let json = judged(
        dir.path(),
        &[&files[..], &["--metrics", "map,recall@1"]].concat(),
    );
    let scores = |noise| {
        let unit = embeddings(noise).normalised().unwrap();
        let ranks = Retrieval::each_against_rest(&unit, &labels())
            .unwrap()
            .ranks()
            .unwrap();
        Scores::new(
            &ranks,
            &[Metric::Map, Metric::RecallAt(1)],
            Policy::default(),
        )
        .unwrap()
    };
    let bootstrap = Bootstrap::default();
    let expected = bootstrap
        .compare(&scores(NOISE), &scores(NOISE / 2.0), Units::Queries)
        .unwrap();
    for comparison in &expected {
        let of = &json[comparison.metric.to_string()];
        assert_close(&of["first"], comparison.first);
        assert_close(&of["second"], comparison.second);
        assert_close(&of["difference"], comparison.difference);
        assert_close(&of["p_value"], comparison.p_value);
        assert_close(&of["interval"][0], comparison.interval.low);
    }
    assert!(expected[0].difference > 0.0 && expected[0].p_value < 0.01);
    let (text, _) = succeed(command(dir.path(), &["eval", "--quiet"]).args(files));
    assert!(text.contains("first") && text.contains("p = 0.0"), "{text}");
}

#[test]
fn equal_similarities_are_told() {
    let dir = tempdir().unwrap();
    let same = Embeddings::new([0.6, 0.8].repeat(10), 2).unwrap();
    same.save_with_labels(
        dir.path().join("same.safetensors"),
        &[0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    )
    .unwrap();
    let recall = |ties| {
        let arguments = [
            "--embeddings",
            "same.safetensors",
            "--metrics",
            "recall@1",
            "--ties",
            ties,
        ];
        let json = judged(dir.path(), &arguments);
        assert_eq!(json["tied"], 10);
        json["recall@1"].as_f64().unwrap()
    };
    assert_eq!(
        ["pessimistic", "stable", "optimistic"].map(recall),
        [0.0, 0.5, 1.0]
    );
    let (text, _) = succeed(&mut command(
        dir.path(),
        &["eval", "--embeddings", "same.safetensors"],
    ));
    assert!(
        text.contains("the results of 10 (100.0 %) depend on the order of equal"),
        "{text}"
    );
}

#[test]
fn one_sentence_for_whatever_cannot_be_judged() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let whole = fs::read(at("e.npy")).unwrap();
    fs::write(at("cut.npy"), &whole[..1_000]).unwrap();
    fs::write(at("empty.npy"), "").unwrap();
    fs::write(at("text.json"), "what?").unwrap();
    let mut nan = whole.clone();
    let start = nan.len() - 4 * ROWS * DIM + 4 * (3 * DIM + 2);
    nan[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(at("nan.npy"), nan).unwrap();
    save_labels(at("short.npy"), &[1, 2, 3]).unwrap();
    Embeddings::new(vec![1.0; 15], 3)
        .unwrap()
        .save(at("narrow.npy"))
        .unwrap();

    let labelled = ["--embeddings", "e.npy", "--labels", "l.npy"];
    let lists = [
        "--embeddings",
        "g.npy",
        "--query-embeddings",
        "q.npy",
        "--ground-truth",
    ];
    for (arguments, parts) in [
        (&[][..], &["--checkpoint"][..]),
        (
            &["--embeddings", "e.npy"],
            &["e.npy holds no labels", "--labels"],
        ),
        (&["--labels", "l.npy"], &["--embeddings"]),
        (
            &["--embeddings", "none.npy", "--labels", "l.npy"],
            &["none.npy", "No such file"],
        ),
        (
            &["--embeddings", "cut.npy", "--labels", "l.npy"],
            &["cut.npy", "incomplete"],
        ),
        (
            &["--embeddings", "empty.npy", "--labels", "l.npy"],
            &["empty.npy", "ends within its header"],
        ),
        (
            &["--embeddings", "nan.npy", "--labels", "l.npy"],
            &["nan.npy: row 3", "NaN", "column 2"],
        ),
        (
            &["--embeddings", "l.npy", "--labels", "l.npy"],
            &["l.npy", "floats"],
        ),
        (
            &["--embeddings", "e.npy", "--labels", "e.npy"],
            &["e.npy", "integers"],
        ),
        (
            &["--embeddings", "e.npy", "--labels", "short.npy"],
            &["3 labels for the 60 rows of e.npy"],
        ),
        (
            &["--embeddings", "e.csv", "--labels", "l.npy"],
            &["e.csv", ".npy or .safetensors"],
        ),
        (
            &[&labelled[..], &["--groups", "short.npy"]].concat(),
            &["3 groups for 60"],
        ),
        (&[&labelled[..], &["--data", "emoji"]].concat(), &["--data"]),
        (
            &[&labelled[..], &["--checkpoint", "x"]].concat(),
            &["--checkpoint"],
        ),
        (
            &[&labelled[..], &["--metrics", "precision"]].concat(),
            &["unknown metric `precision`"],
        ),
        (
            &[&labelled[..], &["--level", "1"]].concat(),
            &["level between 0 and 1"],
        ),
        (
            &[&labelled[..], &["--ties", "best"]].concat(),
            &["pessimistic"],
        ),
        (
            &[
                &labelled[..],
                &["--draws", "0", "--protocol", "random-gallery"],
            ]
            .concat(),
            &["at least one draw"],
        ),
        (
            &[&labelled[..], &["--compare", "g.npy"]].concat(),
            &["60 labels for the 45 rows of g.npy"],
        ),
        (
            &[
                &labelled[..],
                &["--compare", "e.npy", "--protocol", "random-gallery"],
            ]
            .concat(),
            &["random gallery"],
        ),
        (
            &[&labelled[..], &["--query-embeddings", "q.npy"]].concat(),
            &["q.npy holds no labels", "--query-labels"],
        ),
        (
            &[
                &labelled[..],
                &[
                    "--query-embeddings",
                    "narrow.npy",
                    "--query-labels",
                    "short.npy",
                ],
            ]
            .concat(),
            &["3 labels for the 5 rows of narrow.npy"],
        ),
        (
            &[&lists[..], &["text.json"]].concat(),
            &["text.json", "no JSON"],
        ),
        (
            &[&lists[..], &["text.json", "--labels", "l.npy"]].concat(),
            &["--ground-truth"],
        ),
    ] {
        let message = refuse(command(dir.path(), &["eval"]).args(arguments));
        for part in parts {
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }
    fs::write(at("one.json"), r#"[{"positives": [1]}]"#).unwrap();
    let message = refuse(command(dir.path(), &["eval"]).args(lists).arg("one.json"));
    assert!(
        message.contains("1 lists of positives for 15 queries"),
        "{message}"
    );
    let by_class = refuse(
        command(dir.path(), &["eval", "--by-class"])
            .args(lists)
            .arg("one.json"),
    );
    assert!(!by_class.is_empty());
}
