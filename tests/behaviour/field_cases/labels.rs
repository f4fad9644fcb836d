//! Labels of embeddings: the same name, the same number, wherever it is embedded.

use std::fs;
use std::path::Path;

use recall_eval::{Embeddings, read_labels, save_labels};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, refuse, succeed, tiny};

/// Images of eight classes, and a model `run` trained on four of them.
fn trained() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images"), 0..8, 4);
    for (split, classes) in [("train", 0..4), ("test", 4..8)] {
        class_folders(&dir.path().join("data").join(split), classes, 4);
    }
    train(dir.path(), "run", "0");
    dir
}

fn train(dir: &Path, run: &str, seed: &str) {
    let data = ["--data", "folder:data", "--out", run];
    succeed(tiny(dir, &data).args(["--set", &format!("seed={seed}")]));
}

/// A table of the images of these classes, all of them to test, under these names.
fn table(dir: &Path, file: &str, classes: &[(u32, &str)], images: std::ops::Range<u32>) {
    let mut table = "path,label,split\n".to_owned();
    for (class, name) in classes {
        for image in images.clone() {
            table += &format!("images/class-{class:02}/{image}.png,\"{name}\",test\n");
        }
    }
    fs::write(dir.join(file), table).unwrap();
}

fn embed(dir: &Path, run: &str, data: &str, output: &str) -> String {
    let arguments = ["embed", "--backend", "flex", "--checkpoint", run];
    let rest = ["--split", "test", "--data", data, "--output", output];
    succeed(command(dir, &arguments).args(rest)).0
}

/// Judges `q` against `g`: standard output as JSON, and standard error.
fn judged(dir: &Path, [queries, gallery]: [&str; 2]) -> (Value, String) {
    let arguments = ["eval", "--json", "--metrics", "recall@1"];
    let (stdout, stderr) = succeed(command(dir, &arguments).args([
        "--query-embeddings",
        &format!("{queries}.npy"),
        "--query-labels",
        &format!("{queries}.labels.npy"),
        "--embeddings",
        &format!("{gallery}.npy"),
        "--labels",
        &format!("{gallery}.labels.npy"),
    ]));
    (serde_json::from_str(&stdout).unwrap(), stderr)
}

#[test]
fn queries_and_gallery_of_two_tables_agree() {
    let dir = trained();
    // The gallery has classes that the queries do not have, and they come first.
    let all = [
        (0, "anvil"),
        (1, "a bench"),
        (4, "cup, small"),
        (5, "dish"),
        (6, "007"),
        (7, "7"),
    ];
    table(dir.path(), "gallery.csv", &all, 0..4);
    table(dir.path(), "queries.csv", &all[2..], 0..4);
    embed(dir.path(), "run", "csv:queries.csv", "q.npy");
    let told = embed(dir.path(), "run", "csv:gallery.csv", "g.npy");
    assert!(told.contains("wrote  g.classes.csv"), "{told}");

    // The images of the queries are in the gallery: each finds itself.
    let (json, stderr) = judged(dir.path(), ["q", "g"]);
    assert_eq!(json["recall@1"], 1.0);
    assert!(
        stderr.contains("query and gallery share 4 of 6 class names"),
        "{stderr}"
    );

    let of_queries = read_labels(dir.path().join("q.labels.npy")).unwrap();
    let of_gallery = read_labels(dir.path().join("g.labels.npy")).unwrap();
    assert_eq!(of_queries, of_gallery[8..]);
    // Numbers stay numbers.
    assert_eq!(of_gallery[20..], [7; 4]);
    assert!(of_gallery[..20].iter().all(|label| *label >= 1 << 52));

    let names = fs::read_to_string(dir.path().join("g.classes.csv")).unwrap();
    let mut lines = names.lines();
    assert_eq!(lines.next(), Some("label,name"));
    assert_eq!(lines.clone().count(), 6, "{names}");
    assert!(lines.clone().any(|line| line == "7,7"));
    assert!(
        lines.any(|line| line.ends_with(",\"cup, small\"")),
        "{names}"
    );

    // In one file, the same.
    for part in ["queries", "gallery"] {
        let output = format!("{part}.safetensors");
        embed(dir.path(), "run", &format!("csv:{part}.csv"), &output);
    }
    let in_one = ["eval", "--json", "--metrics", "recall@1"];
    let (stdout, stderr) = succeed(command(dir.path(), &in_one).args([
        "--query-embeddings",
        "queries.safetensors",
        "--embeddings",
        "gallery.safetensors",
    ]));
    assert!(stdout.contains("\"recall@1\":1.0"), "{stdout}");
    assert!(stderr.contains("share 4 of 6 class names"), "{stderr}");
}

#[test]
fn sets_without_a_common_class_are_told() {
    let dir = trained();
    table(dir.path(), "q.csv", &[(4, "cup"), (5, "dish")], 0..4);
    table(dir.path(), "g.csv", &[(4, "Cup"), (5, "Dish")], 0..4);
    embed(dir.path(), "run", "csv:q.csv", "q.npy");
    embed(dir.path(), "run", "csv:g.csv", "g.npy");
    let files = [
        "--query-embeddings",
        "q.npy",
        "--query-labels",
        "q.labels.npy",
    ];
    let gallery = ["--embeddings", "g.npy", "--labels", "g.labels.npy"];
    let mut eval = command(dir.path(), &["eval"]);
    let output = eval.args(files).args(gallery).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("share none of their class names (`cup`"),
        "{stderr}"
    );

    // Numbers that mean different things.
    fs::write(dir.path().join("q.classes.csv"), "label,name\n1,cup\n").unwrap();
    fs::write(dir.path().join("g.classes.csv"), "label,name\n1,dish\n").unwrap();
    let message = refuse(command(dir.path(), &["eval"]).args(files).args(gallery));
    assert!(
        message.contains("the label 1 is `cup` for the queries and `dish` in the gallery"),
        "{message}"
    );
}

#[test]
fn a_number_that_is_taken_by_a_name_is_refused() {
    let dir = trained();
    table(dir.path(), "one.csv", &[(4, "cup"), (5, "dish")], 0..2);
    embed(dir.path(), "run", "csv:one.csv", "one.npy");
    let taken = read_labels(dir.path().join("one.labels.npy")).unwrap()[0].to_string();
    table(dir.path(), "two.csv", &[(4, "cup"), (5, &taken)], 0..2);
    let arguments = ["embed", "--backend", "flex", "--checkpoint", "run"];
    let rest = ["--data", "csv:two.csv", "--output", "two.npy"];
    let message = refuse(command(dir.path(), &arguments).args(rest));
    assert!(
        message.contains("`cup`") && message.contains("the same number"),
        "{message}"
    );
    assert!(!dir.path().join("two.npy").exists());
}

#[test]
fn an_index_knows_its_model_and_its_data() {
    let dir = trained();
    train(dir.path(), "other", "1");
    embed(dir.path(), "run", "folder:data", "i.npy");
    let text = fs::read_to_string(dir.path().join("i.json")).unwrap();
    let about: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&about["rows"], &about["dim"]), (&16.into(), &16.into()));
    assert_eq!(
        (&about["split"], &about["unit_length"]),
        (&"test".into(), &true.into())
    );
    assert_eq!(about["image"]["eval"]["resize"], 32);
    assert_eq!(about["model"]["sha256"].as_str().unwrap().len(), 64);
    let data = about["data"].as_str().unwrap();
    assert!(
        Path::new(data.strip_prefix("folder:").unwrap()).is_absolute(),
        "{data}"
    );

    let search = |run: &str, index: &str| {
        let arguments = [
            "gallery",
            "--backend",
            "flex",
            "--force",
            "--images",
            "images",
        ];
        let mut command = command(dir.path(), &arguments);
        command.args(["--checkpoint", run, "--index", index]);
        command
    };
    let (_, stderr) = succeed(&mut search("run", "i.npy"));
    assert!(!stderr.contains("model"), "{stderr}");
    let message = refuse(&mut search("other", "i.npy"));
    assert!(
        message.contains("i.npy was embedded by another model than that of other"),
        "{message}"
    );

    // From elsewhere: it cannot be known, and is said.
    fs::rename(dir.path().join("i.json"), dir.path().join("kept.json")).unwrap();
    let (_, stderr) = succeed(&mut search("other", "i.npy"));
    assert!(
        stderr.contains("i.npy does not say by which model"),
        "{stderr}"
    );

    // Of other rows.
    let rows = Embeddings::open(dir.path().join("i.npy")).unwrap();
    rows.select(&[0, 1, 2])
        .unwrap()
        .save(dir.path().join("few.npy"))
        .unwrap();
    fs::rename(dir.path().join("kept.json"), dir.path().join("few.json")).unwrap();
    fs::write(dir.path().join("few.txt"), "a\nb\nc\n").unwrap();
    let message = refuse(&mut search("run", "few.npy"));
    assert!(message.contains("do not belong together"), "{message}");
}

#[test]
fn queries_of_another_model_than_the_gallery_are_told() {
    let dir = trained();
    train(dir.path(), "other", "1");
    embed(dir.path(), "run", "folder:data", "q.npy");
    embed(dir.path(), "run", "folder:data", "g.npy");
    embed(dir.path(), "other", "folder:data", "o.npy");
    let (_, stderr) = judged(dir.path(), ["q", "g"]);
    assert!(!stderr.contains("different models"), "{stderr}");
    let (_, stderr) = judged(dir.path(), ["q", "o"]);
    assert!(
        stderr.contains("q.npy and o.npy were embedded by different models"),
        "{stderr}"
    );
    // Labels from elsewhere have no names, and nothing is said about them.
    save_labels(dir.path().join("mine.npy"), &[1; 16]).unwrap();
    let files = ["eval", "--embeddings", "q.npy", "--labels", "mine.npy"];
    let (_, stderr) = succeed(&mut command(dir.path(), &files));
    assert!(!stderr.contains("class names"), "{stderr}");
}

/// Rows of classes of four that are neither told apart perfectly nor at random, [24, 512].
fn rows() -> Vec<f32> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let centres: Vec<f32> = (0..6 * 512).map(|_| noise()).collect();
    (0..24 * 512)
        .map(|at| 0.3 * centres[at / (4 * 512) * 512 + at % 512] + noise())
        .collect()
}

/// What is printed of rows of `rows()` after `change`, with these options, as JSON, and what was said.
fn judged_rows(dir: &Path, rows: Vec<f32>, options: &[&str]) -> (Value, String) {
    let embeddings = Embeddings::new(rows, 512).unwrap();
    embeddings.save(dir.join("e.npy")).unwrap();
    let labels: Vec<i64> = (0..24).map(|row| row / 4).collect();
    save_labels(dir.join("l.npy"), &labels).unwrap();
    let arguments = [
        "eval",
        "--json",
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
    ];
    let (stdout, stderr) = succeed(command(dir, &arguments).args(options));
    (serde_json::from_str(&stdout).unwrap(), stderr)
}

#[test]
fn rows_of_half_precision_are_judged_by_cosine_as_the_same_rows_doubled_are() {
    let dir = tempdir().unwrap();
    // As numpy's float16 holds rows of length 1: eleven binary digits.
    let unit = Embeddings::new(rows(), 512).unwrap().normalised().unwrap();
    let half = |value: &f32| {
        let scale = 2.0_f32.powi(10 - value.abs().log2().floor() as i32);
        (value * scale).round_ties_even() / scale
    };
    let halves: Vec<f32> = unit.as_slice().iter().map(half).collect();
    let doubled: Vec<f32> = halves.iter().map(|value| 2.0 * value).collect();
    assert!(
        Embeddings::new(halves.clone(), 512)
            .unwrap()
            .is_normalised()
    );
    let (of_halves, _) = judged_rows(dir.path(), halves.clone(), &[]);
    let (of_doubled, said) = judged_rows(dir.path(), doubled, &[]);
    assert_eq!(of_halves, of_doubled);
    assert!(said.contains("are brought to length 1"), "{said}");
    let value = of_halves["metrics"]["map@r"].as_f64();
    assert!(value.is_none_or(|value| value < 1.0), "{of_halves}");
}

#[test]
fn rows_far_from_length_1_are_not_ranked_by_id() {
    let dir = tempdir().unwrap();
    let (plain, _) = judged_rows(dir.path(), rows(), &["--no-normalise"]);
    for power in [-100, 60] {
        let scaled = rows()
            .iter()
            .map(|value| value * 2.0_f32.powi(power))
            .collect();
        let (found, said) = judged_rows(dir.path(), scaled, &["--no-normalise"]);
        assert_eq!(found, plain, "2^{power}");
        assert!(said.contains("e-") || said.contains("e1"), "{said}");
    }
}

#[test]
fn messages_name_what_is_wrong_with_a_file_of_labels_or_embeddings() {
    let dir = tempdir().unwrap();
    let rows = Embeddings::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
    rows.save(dir.path().join("e.npy")).unwrap();
    rows.save(dir.path().join("E.NPY")).unwrap();
    save_labels(dir.path().join("l.npy"), &[0, 0]).unwrap();
    let eval = |arguments: &[&str]| refuse(command(dir.path(), &["eval"]).args(arguments));
    for (embeddings, labels, word) in [
        ("l.npy", "l.npy", "these look like labels"),
        ("e.npy", "e.npy", "these look like embeddings"),
    ] {
        let message = eval(&["--embeddings", embeddings, "--labels", labels]);
        assert!(
            message.contains(word) && message.contains("swapped"),
            "{message}"
        );
    }
    // An array of Python objects, as numpy saves strings of different lengths in pandas columns.
    let mut header = b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }".to_vec();
    header.resize(117, b' ');
    header.push(b'\n');
    let file = [b"\x93NUMPY\x01\x00\x76\x00".as_slice(), &header, b"pickle"].concat();
    fs::write(dir.path().join("o.npy"), file).unwrap();
    let message = eval(&["--embeddings", "e.npy", "--labels", "o.npy"]);
    assert!(message.contains("number the names"), "{message}");
    let message = eval(&["--embeddings", "o.npy", "--labels", "l.npy"]);
    assert!(message.contains("float32"), "{message}");
    // All images by one camera.
    save_labels(dir.path().join("g.npy"), &[7, 7]).unwrap();
    let message = eval(&[
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
        "--groups",
        "g.npy",
    ]);
    assert!(message.contains("groups"), "{message}");
    let message = eval(&[
        "--embeddings",
        "e.npy",
        "--labels",
        "l.npy",
        "--resamples",
        "many",
    ]);
    assert!(
        message.contains("'many'") && message.contains("a whole number"),
        "{message}"
    );
    assert!(!message.contains("invalid digit"), "{message}");
    let message = refuse(&mut command(dir.path(), &["--set", "=3"]));
    assert!(message.contains("write key=value"), "{message}");

    let spaced = ["eval", "--embeddings", "E.NPY", "--labels", "l.npy"];
    let (stdout, _) = succeed(command(dir.path(), &spaced).args(["--metrics", "recall@1, map@r"]));
    assert!(
        stdout.contains("recall@1") && stdout.contains("map@r"),
        "{stdout}"
    );
    let (_, stderr) = succeed(command(dir.path(), &spaced).args([
        "--query-embeddings",
        "./E.NPY",
        "--query-labels",
        "l.npy",
    ]));
    assert!(stderr.contains("each query finds itself"), "{stderr}");
}
