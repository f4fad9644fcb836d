//! The command as its user meets it: what it says when something is wrong, and what a run leaves.

use std::fs;
use std::path::Path;

use recall_eval::{Embeddings, EmptyQueries, Metric, Retrieval, evaluate, read_labels};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    checkpoint, class_folders, command, metrics, picture, refuse, succeed, table, tiny,
};

/// A folder `images` with four classes of four images to train on, and as many to test.
fn with_images() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..4, 4);
    class_folders(&dir.path().join("images/test"), 4..8, 4);
    dir
}

fn assert_contains(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn backends_that_are_not_there() {
    let dir = tempdir().unwrap();
    let message = refuse(&mut command(dir.path(), &["--backend", "nosuch"]));
    assert_contains(
        &message,
        &["there is no backend `nosuch`", "cuda, wgpu, flex"],
    );

    // The features of this build follow from what else is built, and a GPU may be there: then it is
    // the folder that is refused.
    let arguments = ["--backend", "cuda", "--data", "folder:/missing"];
    let message = refuse(&mut command(dir.path(), &arguments));
    let known = [
        "this build has no cuda backend; build it with `--features cuda`",
        "the cuda backend finds no usable device",
        "/missing is not there",
    ];
    assert!(
        known.iter().any(|start| message.starts_with(start)),
        "{message}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn data_that_is_not_there() {
    let dir = with_images();
    let refused = |data| refuse(&mut tiny(dir.path(), &["--data", data]));
    assert_contains(
        &refused("folder:/missing"),
        &["/missing is not there", "DIR/class/image"],
    );
    assert_contains(
        &refused("csv:none.csv"),
        &["none.csv is not there", "path,label"],
    );
    assert_contains(
        &refused("folder:images/train/class-00"),
        &[
            "the images of class-00 are in no class folders",
            "training needs DIR/class/image",
        ],
    );

    assert_contains(
        &refused("nosuch:x"),
        &["`nosuch:x` is no data set", "folder:DIR"],
    );

    // Nothing was begun, so nothing is left behind.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn classes_with_too_few_images() {
    let dir = with_images();
    let images = dir.path().join("images");
    let train = ["--data", "folder:images", "--out", "run"];

    // One such class is left out and told; a test image alone in its class asks nothing.
    picture(&images.join("train/single/0.png"), 9, 0);
    picture(&images.join("test/alone/0.png"), 10, 0);
    let (stdout, stderr) = succeed(&mut tiny(dir.path(), &train));
    assert_contains(
        &stderr,
        &["too few images are left out of training (1 images)"],
    );
    assert_contains(&stdout, &["1 queries without another image of their class"]);
    let records = metrics(&dir.path().join("run"));
    assert_eq!(records.last().unwrap()["queries"], 17);
    assert_eq!(records.last().unwrap()["without_positives"], 1);

    // Where too few classes are left for a batch, the numbers and a way out are told.
    for class in 0..3 {
        for instance in 1..4 {
            let path = format!("train/class-{class:02}/{instance}.png");
            fs::remove_file(images.join(path)).unwrap();
        }
    }
    let arguments = ["--data", "folder:images", "--out", "other"];
    let message = refuse(&mut tiny(dir.path(), &arguments));
    assert_contains(
        &message,
        &[
            "batch.size: a batch of 8 images",
            "needs 4 classes",
            "no batch works with fewer than two such classes",
        ],
    );
    assert!(!dir.path().join("other").exists());

    // A whole tree of one class is no retrieval problem.
    class_folders(&dir.path().join("one"), 0..1, 1);
    let message = refuse(&mut tiny(dir.path(), &["--data", "folder:one"]));
    assert_contains(&message, &["one has 1 class folder"]);
}

#[test]
fn corrupt_images_stop_the_run_or_are_counted() {
    let dir = with_images();
    for path in ["train/class-01/2.png", "test/class-05/3.png"] {
        let path = dir.path().join("images").join(path);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() / 2);
        fs::write(path, bytes).unwrap();
    }
    let strict = ["--data", "folder:images", "--out", "strict"];
    let message = refuse(&mut tiny(dir.path(), &strict));
    assert_contains(&message, &["cannot decode the image", ".png"]);

    let lenient = [
        "--data",
        "folder:images",
        "--skip-corrupt",
        "--out",
        "lenient",
    ];
    let (stdout, _) = succeed(&mut tiny(dir.path(), &lenient));
    assert_eq!(table(&stdout)[0].0, "recall@1");
    let run = dir.path().join("lenient");
    let records = metrics(&run);
    let (steps, evaluations): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record["kind"] == "step");
    let sum = |key: &str| {
        steps
            .iter()
            .map(|step| step[key].as_u64().unwrap())
            .sum::<u64>()
    };
    // Two steps of eight take every training image once.
    assert_eq!((sum("images"), sum("skipped")), (15, 1));
    assert!(evaluations.iter().all(|record| record["queries"] == 15));
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    let page = page.replace("&#x2f;", "/");
    let page = page.replace(&format!("{}/", dir.path().display()), "");
    let told = "2 images that could not be read: images/test/class-05/3.png and images/train/class-01/2.png";
    assert!(page.contains(told));

    let arguments = ["eval", "--checkpoint", "lenient", "--data", "folder:images"];
    let message = refuse(&mut command(dir.path(), &arguments));
    assert_contains(&message, &["class-05/3.png"]);
    let (stdout, stderr) = succeed(command(dir.path(), &arguments).arg("--skip-corrupt"));
    assert_eq!(table(&stdout).len(), 3);
    assert_contains(
        &stderr,
        &["1 image could not be read and is left out: images/test/class-05/3.png"],
    );
}

#[test]
fn unknown_settings_are_named_with_their_place() {
    let dir = tempdir().unwrap();
    let refused = |arguments: &[&str]| refuse(&mut command(dir.path(), arguments));
    fs::write(
        dir.path().join("run.toml"),
        "epochs = 1\n[loss]\ntau_rnk = 3\n",
    )
    .unwrap();
    assert_contains(
        &refused(&["--config", "run.toml"]),
        &["run.toml: unknown setting loss.tau_rnk; did you mean loss.tau_rank?"],
    );
    fs::write(dir.path().join("broken.toml"), "epochs = = 1\n").unwrap();
    assert_contains(&refused(&["--config", "broken.toml"]), &["broken.toml: "]);
    assert_contains(
        &refused(&["--config", "none.toml"]),
        &["cannot read none.toml"],
    );
    assert_contains(
        &refused(&["--set", "epoch=3"]),
        &["--set epoch=3: unknown setting epoch; did you mean epochs?"],
    );
    assert_contains(&refused(&["--set", "epochs"]), &["key=value"]);
    assert_contains(&refused(&["--set", "epochs=many"]), &["--set epochs=many"]);
    assert_contains(&refused(&["--set", "epochs=0"]), &["epochs: "]);
    assert_contains(
        &refused(&["--set", "loss.tau_rank=-1"]),
        &["loss.tau_rank: -1 "],
    );
    assert_contains(&refused(&["--set", "loss.ks=[1,1]"]), &["ks = [1, 1]"]);
    assert_contains(&refused(&["--set", "batch.chunk=0"]), &["batch.chunk"]);
    assert_contains(
        &refused(&["--set", "batch.size=66"]),
        &["66 is not a multiple of"],
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn an_occupied_folder_is_left_alone() {
    let dir = with_images();
    fs::create_dir(dir.path().join("mine")).unwrap();
    fs::write(dir.path().join("mine/config.toml"), "precious").unwrap();
    let arguments = ["--data", "folder:images", "--out", "mine"];
    let message = refuse(&mut tiny(dir.path(), &arguments));
    assert_contains(&message, &["mine is not empty", "--out"]);
    assert_eq!(fs::read_dir(dir.path().join("mine")).unwrap().count(), 1);
    let kept = fs::read_to_string(dir.path().join("mine/config.toml")).unwrap();
    assert_eq!(kept, "precious");

    let arguments = ["--data", "folder:images", "--out", "mine/config.toml"];
    assert_contains(
        &refuse(&mut tiny(dir.path(), &arguments)),
        &["mine/config.toml"],
    );
}

#[test]
fn checkpoints_that_cannot_be_loaded() {
    let dir = with_images();
    succeed(&mut tiny(
        dir.path(),
        &["--data", "folder:images", "--out", "run"],
    ));
    let eval = |checkpoint| {
        let arguments = [
            "eval",
            "--checkpoint",
            checkpoint,
            "--data",
            "folder:images",
        ];
        command(dir.path(), &arguments)
    };
    for checkpoint in ["run", "run/checkpoints/last"] {
        succeed(&mut eval(checkpoint));
    }
    for nothing in ["images", "nowhere"] {
        assert_contains(
            &refuse(&mut eval(nothing)),
            &[nothing, "holds no checkpoint"],
        );
    }

    let last = checkpoint(&dir.path().join("run"), "last");
    let weights = last.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    for length in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&weights, &whole[..length]).unwrap();
        let message = refuse(&mut eval("run"));
        assert_contains(
            &message,
            &["/step-", " is damaged", "model.safetensors has"],
        );
    }
    fs::write(&weights, &whole).unwrap();

    // What fits together no longer is as good as damaged.
    let config = fs::read_to_string(last.join("config.toml")).unwrap();
    let other = config.replace("dim = 16", "dim = 17");
    fs::write(last.join("config.toml"), other).unwrap();
    assert_contains(&refuse(&mut eval("run")), &["config.toml is not as it was"]);
    fs::write(last.join("config.toml"), config).unwrap();

    fs::write(last.join("state.json"), "{").unwrap();
    assert_contains(&refuse(&mut eval("run")), &["state.json"]);
}

/// From the embedded images to embeddings on disk, and every number the same wherever it appears.
#[test]
fn a_run_and_what_it_leaves() {
    let dir = tempdir().unwrap();
    let run = dir.path().join("run");
    let (stdout, stderr) = succeed(&mut command(
        dir.path(),
        &[
            "--backend",
            "flex",
            "--out",
            "run",
            "--set",
            "epochs=1",
            "--set",
            "batch.size=64",
            "--set",
            "model.widths=[8,16]",
            "--set",
            "loss.ks=[1,2]",
        ],
    ));
    assert!(stdout.starts_with("recall@1  0."), "{stdout}");
    let values = table(&stdout);
    let names: Vec<_> = values.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["recall@1", "recall@2", "recall@4", "recall@8", "map@r"]
    );
    let best = checkpoint(&run, "best");
    let best = best.strip_prefix(dir.path()).unwrap().display();
    let ending: Vec<_> = stdout.lines().rev().take(2).collect();
    assert_eq!(
        ending,
        ["report  run/report.html", &format!("model   {best}")]
    );
    assert_contains(
        &stderr,
        &["backend flex", "after epoch 0: ", "after epoch 1: "],
    );

    for file in ["config.toml", "model.safetensors", "state.json"] {
        for which in ["last", "best"] {
            assert!(checkpoint(&run, which).join(file).is_file(), "{file}");
        }
    }
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("data:image/png;base64,"));
    for elsewhere in [
        "<script src",
        "<link rel=\"stylesheet\"",
        "src=\"http",
        "@import",
    ] {
        assert!(!report.contains(elsewhere), "{elsewhere}");
    }
    let records = metrics(&run);
    let untrained = &records[0];
    let trained = records.last().unwrap();
    assert_eq!(
        (&untrained["kind"], &untrained["step"]),
        (&"evaluation".into(), &0.into())
    );
    assert_same_numbers(trained, &values);
    let recall = trained["recall@1"].as_f64().unwrap();
    let shown = format!("<td class=\"value\">{:.1}", 100.0 * recall);
    assert!(report.contains(&shown), "{shown}");

    let eval = ["eval", "--backend", "flex", "--checkpoint", "run"];
    let (stdout, _) = succeed(&mut command(dir.path(), &eval));
    assert_eq!(table(&stdout), values);
    let (json, stderr) = succeed(command(dir.path(), &eval).arg("--json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(stderr, "");
    assert_same_numbers(&json, &values);
    assert_eq!(json["queries"], trained["queries"]);
    let (stdout, _) =
        succeed(command(dir.path(), &eval).args(["--metrics", "r_precision,recall@3"]));
    assert!(stdout.starts_with("r_precision  0."), "{stdout}");
    assert!(stdout.contains("recall@3     0."), "{stdout}");

    embeddings_judge_as_the_run(dir.path(), &json);

    // The configuration that a run wrote repeats it.
    let arguments = [
        "--backend",
        "flex",
        "--config",
        "run/config.toml",
        "--out",
        "again",
    ];
    succeed(&mut command(dir.path(), &arguments));
    let again = dir.path().join("again");
    assert_eq!(metrics(&again), records);
    let config = |run: &Path| fs::read_to_string(run.join("config.toml")).unwrap();
    assert_eq!(config(&again), config(&run));
    let eval = [
        "eval",
        "--backend",
        "flex",
        "--checkpoint",
        "again",
        "--json",
    ];
    let (repeated, _) = succeed(&mut command(dir.path(), &eval));
    assert_eq!(serde_json::from_str::<Value>(&repeated).unwrap(), json);
}

fn assert_same_numbers(record: &Value, values: &[(String, String)]) {
    for (name, value) in values {
        assert_eq!(
            format!("{:.4}", record[name].as_f64().unwrap()),
            *value,
            "{name}"
        );
    }
}

fn embeddings_judge_as_the_run(dir: &Path, json: &Value) {
    let queries = json["queries"].as_u64().unwrap() as usize;
    for (output, labels) in [
        ("e.npy", "e.labels.npy"),
        ("f.safetensors", "f.safetensors"),
    ] {
        let embed = [
            "embed",
            "--backend",
            "flex",
            "--checkpoint",
            "run",
            "--output",
            output,
        ];
        let (stdout, _) = succeed(&mut command(dir, &embed));
        assert_contains(
            &stdout,
            &[&format!("{queries} embeddings of 128 numbers"), output],
        );
        let embeddings = Embeddings::open(dir.join(output)).unwrap();
        let labels = read_labels(dir.join(labels)).unwrap();
        assert!(embeddings.is_normalised());
        assert_eq!((embeddings.rows(), labels.len()), (queries, queries));
        let list = fs::read_to_string(dir.join(output).with_extension("txt")).unwrap();
        assert_eq!(list.lines().count(), queries);

        let ranks = Retrieval::each_against_rest(&embeddings, &labels)
            .and_then(|retrieval| retrieval.ranks())
            .unwrap();
        let wanted = [Metric::RecallAt(1), Metric::MapAtR];
        let judged = evaluate(&ranks, &wanted, EmptyQueries::Skip).unwrap();
        for metric in wanted {
            // By way of text, as the other: in reading it the last digit may be lost.
            let text = judged.get(metric).unwrap().to_string();
            let value: f64 = serde_json::from_str(&text).unwrap();
            assert_eq!(Some(value), json[metric.to_string()].as_f64(), "{metric}");
        }
    }
}
