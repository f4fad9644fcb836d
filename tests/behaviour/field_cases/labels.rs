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
