//! `eval` and `embed` with what comes after the network, and `whiten`, which learns it.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use recall_eval::refine::{
    DatabaseAugmentation, Diffusion, KReciprocal, PairWhitening, PcaWhitening, QueryExpansion,
    Reranking, Whitening,
};
use recall_eval::{
    Embeddings, EmptyQueries, Metric, PositiveRanks, Retrieval, evaluate, read_ground_truth,
    save_labels,
};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{checkpoint, command, picture, refuse, succeed, tiny};

const DIM: usize = 8;

/// Rows of ten classes, not of length 1.
fn rows(count: usize, seed: u64) -> Embeddings {
    let mut state = 7_u64;
    let mut uniform = |of: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(of);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let centres: Vec<f32> = (0..10 * DIM).map(|_| uniform(1)).collect();
    let values = (0..count * DIM)
        .map(|at| centres[label(at / DIM) as usize * DIM + at % DIM] + 1.4 * uniform(2 * seed + 1));
    Embeddings::new(values.collect(), DIM).unwrap()
}

fn label(row: usize) -> i64 {
    (row * row % 9) as i64
}

fn labels(count: usize) -> Vec<i64> {
    (0..count).map(label).collect()
}

/// Training rows, queries, a gallery and distractors.
fn folder() -> TempDir {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (name, count, seed) in [("train", 200, 1), ("q", 20, 2), ("g", 70, 3), ("d", 90, 4)] {
        rows(count, seed).save(at(&format!("{name}.npy"))).unwrap();
        save_labels(at(&format!("{name}.labels.npy")), &labels(count)).unwrap();
    }
    let entry = |q: usize| {
        let of = |what: usize| -> Vec<usize> {
            (0..70)
                .filter(|&row| label(row) == label(q) && row % 3 == what)
                .collect()
        };
        serde_json::json!({"easy": of(0), "hard": of(1), "junk": of(2)})
    };
    let truth: Vec<Value> = (0..20).map(entry).collect();
    fs::write(at("truth.json"), Value::from(truth).to_string()).unwrap();
    dir
}

fn judged(dir: &Path, arguments: &[&str]) -> Value {
    let line = [
        "eval",
        "--json",
        "--resamples",
        "0",
        "--metrics",
        "map,recall@1",
    ];
    let (json, _) = succeed(command(dir, &line).args(arguments));
    serde_json::from_str(&json).expect(&json)
}

fn assert_same(found: &Value, ranks: &PositiveRanks) {
    let metrics = [Metric::Map, Metric::RecallAt(1)];
    let wanted = evaluate(ranks, &metrics, EmptyQueries::Skip).unwrap();
    for (metric, wanted) in wanted.values {
        let found = found[metric.to_string()].as_f64().unwrap_or(f64::NAN);
        assert!(
            (found - wanted).abs() < 1e-12,
            "{metric}: {found} instead of {wanted}"
        );
    }
}

const QUERIES: [&str; 8] = [
    "--embeddings",
    "g.npy",
    "--labels",
    "g.labels.npy",
    "--query-embeddings",
    "q.npy",
    "--query-labels",
    "q.labels.npy",
];

const TRUTH: [&str; 6] = [
    "--embeddings",
    "g.npy",
    "--query-embeddings",
    "q.npy",
    "--ground-truth",
    "truth.json",
];

#[test]
fn each_step_is_that_of_the_library() {
    let dir = folder();
    let [queries, gallery] = [rows(20, 2), rows(70, 3)].map(|rows| rows.normalised().unwrap());
    let (query_labels, gallery_labels) = (labels(20), labels(70));
    let retrieval = || {
        Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &gallery_labels)
            .unwrap()
    };
    let with = |options: &[&str]| judged(dir.path(), &[&QUERIES, options].concat());
    let plain = retrieval().ranks().unwrap();
    assert_same(&with(&[]), &plain);

    let expansion = QueryExpansion {
        neighbours: 5,
        alpha: 3.0,
    };
    let expanded = retrieval().expand_queries(&expansion).unwrap();
    assert_ne!(expanded.ranks().unwrap(), plain);
    assert_same(
        &with(&["--query-expansion", "5"]),
        &expanded.ranks().unwrap(),
    );
    assert_same(
        &with(&["--query-expansion", "5:3"]),
        &expanded.ranks().unwrap(),
    );
    let average = retrieval()
        .expand_queries(&QueryExpansion::average(4))
        .unwrap();
    assert_same(
        &with(&["--query-expansion", "4:0"]),
        &average.ranks().unwrap(),
    );

    let augmentation = DatabaseAugmentation {
        neighbours: 3,
        alpha: 1.0,
    };
    let augmented = || retrieval().augment_gallery(&augmentation).unwrap();
    assert_same(
        &with(&["--database-augmentation", "3:1"]),
        &augmented().ranks().unwrap(),
    );
    let both = augmented().expand_queries(&expansion).unwrap();
    let options = ["--query-expansion", "5", "--database-augmentation", "3:1"];
    assert_same(&with(&options), &both.ranks().unwrap());

    let usual = Reranking::KReciprocal(KReciprocal::default());
    assert_same(
        &with(&["--rerank", "k-reciprocal"]),
        &retrieval().ranks_reranked(&usual).unwrap(),
    );
    let other = Reranking::KReciprocal(KReciprocal {
        k1: 7,
        k2: 3,
        lambda: 0.5,
    });
    let found = with(&["--rerank", "k-reciprocal:k1=7,k2=3,lambda=0.5"]);
    assert_same(&found, &retrieval().ranks_reranked(&other).unwrap());
    let usual = Reranking::Diffusion(Diffusion::default());
    assert_same(
        &with(&["--rerank", "diffusion"]),
        &retrieval().ranks_reranked(&usual).unwrap(),
    );
    let other = Diffusion {
        neighbours: 6,
        query_neighbours: 2,
        gamma: 1.0,
        alpha: 0.9,
        shortlist: 30,
        iterations: 9,
        ..Diffusion::default()
    };
    let found = with(&[
        "--rerank",
        "diffusion:k=6,kq=2,gamma=1,alpha=0.9,shortlist=30,iterations=9",
    ]);
    assert_same(
        &found,
        &retrieval()
            .ranks_reranked(&Reranking::Diffusion(other))
            .unwrap(),
    );

    // Each against the rest.
    let rest = Retrieval::each_against_rest(&gallery, &gallery_labels).unwrap();
    let rest = rest.expand_queries(&expansion).unwrap();
    let files = [
        "--embeddings",
        "g.npy",
        "--labels",
        "g.labels.npy",
        "--query-expansion",
        "5",
    ];
    assert_same(&judged(dir.path(), &files), &rest.ranks().unwrap());
}

#[test]
fn whitening_is_learned_and_applied() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let train = rows(200, 1).normalised().unwrap();
    let pairs: Vec<[u32; 2]> = (0..150).map(|a| [a, a + 9]).collect();
    let text: String = pairs.iter().map(|[a, b]| format!("{a}, {b}\n")).collect();
    fs::write(at("pairs.csv"), text).unwrap();
    let pca = PcaWhitening {
        dim: Some(5),
        ..Default::default()
    };
    let pair = PairWhitening {
        dim: Some(6),
        shrinkage: 0.1,
    };
    let [queries, gallery] = [rows(20, 2), rows(70, 3)].map(|rows| rows.normalised().unwrap());
    for (options, wanted) in [
        (&["--dim", "5"][..], pca.learn(&train)),
        (
            &["--power", "0.5", "--shrinkage", "0.2"],
            PcaWhitening {
                dim: None,
                power: 0.5,
                shrinkage: 0.2,
            }
            .learn(&train),
        ),
        (
            &["--labels", "train.labels.npy"],
            PairWhitening::default().learn_from_labels(&train, &labels(200)),
        ),
        (
            &["--pairs", "pairs.csv", "--dim", "6", "--shrinkage", "0.1"],
            pair.learn_from_pairs(&train, &pairs),
        ),
    ] {
        let wanted = wanted.unwrap();
        let line = [
            "whiten",
            "--embeddings",
            "train.npy",
            "--output",
            "w.safetensors",
            "--force",
        ];
        let (stdout, _) = succeed(command(dir.path(), &line).args(options));
        let says = format!(
            "whitening of 8 dimensions to {}, learned from 200 rows",
            wanted.out()
        );
        assert!(
            stdout.starts_with(&says) && stdout.contains("wrote  w.safetensors"),
            "{stdout}"
        );
        assert_eq!(Whitening::open(at("w.safetensors")).unwrap(), wanted);
        let [queries, gallery] = [&queries, &gallery].map(|rows| wanted.apply(rows).unwrap());
        let retrieval =
            Retrieval::query_against_gallery(&queries, &labels(20), &gallery, &labels(70)).unwrap();
        let retrieval = retrieval
            .expand_queries(&QueryExpansion::average(2))
            .unwrap();
        let steps = ["--whiten", "w.safetensors", "--query-expansion", "2:0"];
        let found = judged(dir.path(), &[&QUERIES[..], &steps].concat());
        assert_same(&found, &retrieval.ranks().unwrap());
    }
}

#[test]
fn distractors_follow_the_database() {
    let dir = folder();
    let truth = read_ground_truth(dir.path().join("truth.json")).unwrap();
    let queries = rows(20, 2).normalised().unwrap();
    let together =
        [rows(70, 3), rows(90, 4)].map(|rows| rows.normalised().unwrap().as_slice().to_vec());
    let gallery = Embeddings::new(together.concat(), DIM).unwrap();
    let options = [&TRUTH[..], &["--distractor-embeddings", "d.npy"]].concat();
    let found = judged(dir.path(), &options);
    for (setup, retrieval) in truth.retrievals(&queries, &gallery).unwrap() {
        assert_same(
            &found[setup.unwrap().to_string()],
            &retrieval.ranks().unwrap(),
        );
    }
    let reranked = judged(
        dir.path(),
        &[&options[..], &["--rerank", "k-reciprocal"]].concat(),
    );
    assert_ne!(found, reranked);
}

#[test]
fn embed_whitens() {
    let dir = tempdir().unwrap();
    succeed(&mut tiny(dir.path(), &["--out", "run", "--quiet"]));
    let embed = |options: &[&str]| {
        let line = [
            "embed",
            "--checkpoint",
            "run",
            "--backend",
            "flex",
            "--quiet",
        ];
        let mut embed = command(dir.path(), &line);
        embed.args(options);
        embed
    };
    succeed(&mut embed(&["--output", "plain.npy"]));
    let line = [
        "whiten",
        "--embeddings",
        "plain.npy",
        "--labels",
        "plain.labels.npy",
        "--output",
        "w.safetensors",
        "--dim",
        "4",
        "--shrinkage",
        "0.1",
    ];
    succeed(&mut command(dir.path(), &line));
    succeed(&mut embed(&[
        "--output",
        "white.npy",
        "--whiten",
        "w.safetensors",
    ]));
    let open = |name: &str| Embeddings::open(dir.path().join(name)).unwrap();
    let whitening = Whitening::open(dir.path().join("w.safetensors")).unwrap();
    let wanted = whitening
        .apply(&open("plain.npy").normalised().unwrap())
        .unwrap();
    assert_eq!(open("white.npy"), wanted);

    // Judged as it is embedded.
    let judged = |line: &[&str]| {
        let (json, _) =
            succeed(command(dir.path(), line).args(["--json", "--quiet", "--metrics", "map"]));
        serde_json::from_str::<Value>(&json).unwrap()
    };
    let by_file = judged(&[
        "eval",
        "--embeddings",
        "white.npy",
        "--labels",
        "white.labels.npy",
    ]);
    let by_model = judged(&[
        "eval",
        "--checkpoint",
        "run",
        "--backend",
        "flex",
        "--whiten",
        "w.safetensors",
    ]);
    assert_eq!(by_file["map"], by_model["map"]);

    // The model alone does not give such rows.
    let line = [
        "gallery",
        "--checkpoint",
        "run",
        "--index",
        "white.npy",
        "--images",
        "none.png",
        "--backend",
        "flex",
        "--output",
        "page.html",
    ];
    fs::write(dir.path().join("none.png"), "").unwrap();
    refuse(&mut command(dir.path(), &line));
    let origin = fs::read_to_string(dir.path().join("white.json")).unwrap();
    assert!(origin.contains("\"whitening\""), "{origin}");
}

#[test]
fn a_whitening_in_a_checkpoint_stands_behind_its_model() {
    let dir = tempdir().unwrap();
    succeed(&mut tiny(dir.path(), &["--out", "run", "--quiet"]));
    let with_model = |line: &[&str]| {
        let mut command = command(dir.path(), line);
        command.args(["--checkpoint", "run", "--backend", "flex", "--quiet"]);
        command
    };
    let learn = |options: &[&str]| {
        let mut learn = command(dir.path(), &["whiten", "--checkpoint", "run"]);
        learn.args(options);
        learn
    };
    succeed(&mut with_model(&["embed", "--output", "plain.npy"]));
    let options = ["--embeddings", "plain.npy", "--dim", "3"];
    succeed(&mut learn(&options));
    let message = refuse(&mut learn(&options));
    assert!(message.contains("there already"), "{message}");
    succeed(learn(&options).arg("--force"));

    succeed(&mut with_model(&["embed", "--output", "white.npy"]));
    succeed(&mut with_model(&[
        "embed",
        "--output",
        "again.npy",
        "--no-whitening",
    ]));
    let open = |name: &str| Embeddings::open(dir.path().join(name)).unwrap();
    let place = checkpoint(&dir.path().join("run"), "best");
    let whitening = Whitening::open(place.join("whitening.safetensors")).unwrap();
    assert_eq!(open("again.npy"), open("plain.npy"));
    assert_eq!(
        open("white.npy"),
        whitening
            .apply(&open("plain.npy").normalised().unwrap())
            .unwrap()
    );

    // Judged and shown as it is embedded.
    let json = |mut line: Command| {
        let (json, _) = succeed(line.args(["--json", "--metrics", "map"]));
        serde_json::from_str::<Value>(&json).unwrap()
    };
    let by_model = json(with_model(&["eval"]));
    let labels = ["--embeddings", "white.npy", "--labels", "white.labels.npy"];
    let mut by_file = command(dir.path(), &["eval", "--quiet"]);
    by_file.args(labels);
    assert_eq!(json(by_file)["map"], by_model["map"]);
    picture(&dir.path().join("query.png"), 1, 0);
    let gallery = |index: &str, page: &str| {
        let mut gallery = with_model(&["gallery", "--images", "query.png"]);
        gallery.args(["--index", index, "--output", page]);
        gallery
    };
    succeed(&mut gallery("white.npy", "white.html"));
    let message = refuse(&mut gallery("plain.npy", "plain.html"));
    assert!(
        message.contains("whitened here and were not there"),
        "{message}"
    );
    succeed(gallery("plain.npy", "plain.html").arg("--no-whitening"));

    // Learned from these rows alone.
    let message = refuse(learn(&["--embeddings", "white.npy"]).arg("--force"));
    assert!(
        message.contains("3 numbers and those of the model"),
        "{message}"
    );
    succeed(&mut tiny(
        dir.path(),
        &["--out", "other", "--quiet", "--set", "seed=9"],
    ));
    let mut other = command(dir.path(), &["embed", "--checkpoint", "other"]);
    succeed(other.args(["--backend", "flex", "--quiet", "--output", "other.npy"]));
    let message = refuse(learn(&["--embeddings", "other.npy"]).arg("--force"));
    assert!(message.contains("by another model"), "{message}");
}

#[test]
fn what_is_refused_is_said_in_a_sentence() {
    let dir = folder();
    fs::write(dir.path().join("bad.csv"), "0,1\n2;3\n").unwrap();
    fs::write(dir.path().join("far.csv"), "0,1\n2,200\n").unwrap();
    rows(9, 5).save(dir.path().join("w.safetensors")).unwrap();
    Embeddings::new(vec![1.0; 12], 3)
        .unwrap()
        .save(dir.path().join("three.npy"))
        .unwrap();
    let eval = |options: &[&str], says: &str| {
        let message = refuse(command(dir.path(), &["eval"]).args(QUERIES).args(options));
        assert!(message.contains(says), "{message}");
    };
    eval(
        &["--query-expansion", "0"],
        "how many neighbours, 1 or more",
    );
    eval(&["--query-expansion", "5:-1"], "0 or more");
    eval(&["--database-augmentation", "x"], "as in 10 or 10:3");
    eval(
        &["--rerank", "magic"],
        "the methods are k-reciprocal and diffusion",
    );
    eval(
        &["--rerank", "k-reciprocal:k3=1"],
        "no setting `k3`: they are k1, k2 and lambda",
    );
    eval(&["--rerank", "diffusion:alpha"], "write name=value");
    eval(&["--rerank", "diffusion:alpha=x"], "alpha takes a number");
    eval(&["--rerank", "diffusion:alpha=1"], "at least 0 and below 1");
    eval(&["--rerank", "k-reciprocal:lambda=2"], "between 0 and 1");
    eval(
        &["--rerank", "diffusion", "--rank-on", "device"],
        "leave --rank-on device out",
    );
    eval(
        &["--query-expansion", "5", "--no-normalise"],
        "--no-normalise",
    );
    eval(&["--whiten", "none.safetensors"], "none.safetensors");
    eval(
        &["--whiten", "w.safetensors"],
        "`mean` is a tensor of floats",
    );
    eval(&["--whiten", "q.npy"], "use a .safetensors file");
    eval(&["--distractor-embeddings", "d.npy"], "--ground-truth");
    let files = [
        "eval",
        "--embeddings",
        "g.npy",
        "--labels",
        "g.labels.npy",
        "--protocol",
        "random-gallery",
        "--query-expansion",
        "2",
    ];
    let message = refuse(&mut command(dir.path(), &files));
    assert!(message.contains("no neighbours to learn from"), "{message}");
    let line = [
        &["eval"],
        &TRUTH[..],
        &["--distractor-embeddings", "three.npy"],
    ]
    .concat();
    let message = refuse(&mut command(dir.path(), &line));
    assert!(
        message.contains("three.npy have 3 dimensions") && message.contains("have 8"),
        "{message}"
    );

    let whiten = |options: &[&str], says: &str| {
        let line = ["whiten", "--embeddings", "train.npy"];
        let message = refuse(command(dir.path(), &line).args(options));
        assert!(message.contains(says), "{message}");
    };
    let new = ["--output", "new.safetensors"];
    let with = |options: &[&'static str]| [&new[..], options].concat();
    whiten(&["--output", "new.npy"], "kept in a .safetensors file");
    whiten(&["--output", "w.safetensors"], "there already");
    whiten(&with(&["--dim", "9"]), "between 1 and the 8 of the rows");
    whiten(&with(&["--power", "2"]), "between 0 and 1");
    whiten(
        &with(&["--labels", "q.labels.npy"]),
        "20 labels for 200 embeddings",
    );
    whiten(&with(&["--pairs", "bad.csv"]), "line 2 is no pair of rows");
    whiten(
        &with(&["--pairs", "far.csv"]),
        "pair 1 is of rows 2 and 200",
    );
    whiten(
        &with(&["--pairs", "far.csv", "--labels", "train.labels.npy"]),
        "--pairs",
    );
    assert!(!dir.path().join("new.safetensors").exists());
}
