//! Heads on rows of features, and the features of frozen backbones.

use std::fs;
use std::path::Path;

use recall_eval::{Embeddings, EmbeddingsFile, read_labels, save_labels};
use tempfile::{TempDir, tempdir};

use crate::support::{checkpoint, class_folders, command, metrics, picture, refuse, succeed};

const CLASSES: usize = 60;
const EACH: usize = 6;
const DIM: usize = 12;

/// Rows whose classes differ in the last four numbers, beside eight louder ones that are noise.
fn rows() -> Embeddings {
    let mut state = 11_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let centres: Vec<f32> = (0..CLASSES * 4).map(|_| uniform()).collect();
    let mut values = Vec::with_capacity(CLASSES * EACH * DIM);
    for row in 0..CLASSES * EACH {
        values.extend((0..8).map(|_| 2.0 * uniform()));
        let centre = &centres[4 * (row % CLASSES)..][..4];
        values.extend(centre.iter().map(|centre| centre + 0.15 * uniform()));
    }
    Embeddings::new(values, DIM).unwrap()
}

fn labels() -> Vec<i64> {
    (0..CLASSES * EACH)
        .map(|row| (row % CLASSES) as i64)
        .collect()
}

/// `f.npy` with its labels beside it, as `embed` writes them.
fn folder() -> TempDir {
    let dir = tempdir().unwrap();
    rows().save(dir.path().join("f.npy")).unwrap();
    save_labels(dir.path().join("f.labels.npy"), &labels()).unwrap();
    dir
}

/// A head that is trained in a moment.
fn train(dir: &Path, data: &str, out: &str, extra: &[&str]) -> assert_cmd::Command {
    let mut command = command(dir, &["--backend", "flex", "--data", data, "--out", out]);
    let settings = [
        "epochs=60",
        "model.dim=12",
        "optimiser.learning_rate=0.01",
        "evaluation.gallery=2",
    ];
    for setting in settings.iter().chain(extra) {
        command.args(["--set", setting]);
    }
    command
}

/// The recall@1 of the features and of the head, from the table that a run prints.
fn recall(stdout: &str) -> (f64, f64) {
    let line = stdout.lines().find(|line| line.starts_with("recall@1 "));
    let numbers: Vec<f64> = line
        .expect(stdout)
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}

#[test]
fn a_head_finds_what_the_features_hide_and_is_shown_beside_them() {
    let dir = folder();
    let (stdout, stderr) = succeed(&mut train(dir.path(), "embeddings:f.npy", "run", &[]));
    let (features, head) = recall(&stdout);
    assert!(head > features + 0.2, "{stdout}");
    assert!(stdout.contains("features  head"), "{stdout}");
    assert!(
        stderr.contains("the test features as they came: recall@1"),
        "{stderr}"
    );

    // Judged again, it is the same.
    let again = [
        "eval",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--resamples",
        "0",
    ];
    let (judged, _) = succeed(&mut command(dir.path(), &again));
    assert!(
        judged.contains(&format!("recall@1  {head:.4}")),
        "{judged}\n{stdout}"
    );

    let page = fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("The mark on a bar is the features as they came."));
    assert!(page.contains("Query by query, the head changes the recall@1"));
    assert!(
        page.contains("row "),
        "rows without pictures are shown by their names"
    );
}

#[test]
fn both_heads_start_from_each_of_the_starts() {
    let dir = folder();
    for backbone in ["linear", "residual"] {
        for start in ["random", "identity", "standard", "pca"] {
            let (model, start) = (
                format!("model.backbone={backbone}"),
                format!("model.start={start}"),
            );
            let out = format!("{backbone}-{start}");
            let settings = [model.as_str(), start.as_str(), "epochs=3"];
            let (stdout, _) = succeed(&mut train(dir.path(), "embeddings:f.npy", &out, &settings));
            assert!(recall(&stdout).1 > 0.0);
        }
    }
}

#[test]
fn batches_of_some_classes_work_as_well_as_the_whole_set() {
    let dir = folder();
    for (out, settings) in [
        (
            "some",
            &[
                "batch.size=16",
                "batch.samples_per_class=4",
                "loss.mixup=true",
            ][..],
        ),
        ("chunks", &["batch.chunk=7"]),
        ("auto", &["batch.size=auto", "batch.chunk=auto"]),
    ] {
        let mut settings = settings.to_vec();
        settings.push("loss.ks=[1,2]");
        let (stdout, _) = succeed(&mut train(dir.path(), "embeddings:f.npy", out, &settings));
        let (features, head) = recall(&stdout);
        assert!(head > features, "{settings:?}: {stdout}");
    }
}

#[test]
fn a_table_brings_splits_roles_and_pictures() {
    let dir = folder();
    let mut table = String::from("label,split,is_query,is_gallery,path\n");
    for (row, label) in labels().into_iter().enumerate() {
        let split = if label < 30 { "train" } else { "test" };
        let query = row < CLASSES;
        table += &format!("thing {label},{split},{query},{},{row}.png\n", !query);
    }
    fs::write(dir.path().join("t.csv"), table).unwrap();
    for row in 0..CLASSES * EACH {
        picture(
            &dir.path().join(format!("{row}.png")),
            (row % CLASSES) as u32,
            0,
        );
    }
    let mut run = train(dir.path(), "embeddings:f.npy", "run", &[]);
    let (_, stderr) = succeed(run.args(["--labels", "t.csv"]));
    assert!(stderr.contains("180 test"), "{stderr}");
    let records = metrics(&dir.path().join("run"));
    assert_eq!(records.last().unwrap()["queries"], 30);

    let page = fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(
        page.contains("data:image/"),
        "pictures are shown where they are known"
    );

    // The same by the name of the data set, to embed.
    let embed = [
        "embed",
        "--backend",
        "flex",
        "--checkpoint",
        "run",
        "--output",
        "e.npy",
    ];
    succeed(command(dir.path(), &embed).args(["--data", "embeddings:f.npy,t.csv"]));
    let names = fs::read_to_string(dir.path().join("e.txt")).unwrap();
    assert_eq!(names.lines().next(), Some("30.png"));
    let classes = fs::read_to_string(dir.path().join("e.classes.csv")).unwrap();
    assert!(classes.contains("thing 59"));
    succeed(&mut command(dir.path(), &["gallery", "--index", "e.npy"]));
    let page = fs::read_to_string(dir.path().join("gallery.html")).unwrap();
    assert!(page.contains("data:image/"));
}

#[test]
fn names_stay_what_they_are_from_one_head_to_the_next() {
    let dir = folder();
    let mut table = String::from("label,path\n");
    for label in labels() {
        table += &format!("back\\slash {label},set\\{label}.png\n");
    }
    fs::write(dir.path().join("t.csv"), table).unwrap();
    let heads = [
        ("embeddings:f.npy,t.csv", "first"),
        ("embeddings:first.npy", "second"),
    ];
    for (data, out) in heads {
        succeed(&mut train(dir.path(), data, out, &["epochs=2"]));
        let embed = ["embed", "--backend", "flex", "--split", "all"];
        let output = format!("{out}.npy");
        let of_run = ["--checkpoint", out, "--output", &output];
        succeed(command(dir.path(), &embed).args(of_run));
    }
    for ending in ["txt", "classes.csv", "labels.npy"] {
        let [first, second] =
            heads.map(|(_, out)| fs::read(dir.path().join(format!("{out}.{ending}"))).unwrap());
        assert!(first == second, "{ending} differs");
    }
}

#[test]
fn what_embed_writes_is_read_again() {
    let dir = folder();
    succeed(&mut train(
        dir.path(),
        "embeddings:f.npy",
        "run",
        &["epochs=2"],
    ));
    for output in ["rows.npy", "tensors.safetensors"] {
        let embed = [
            "embed",
            "--backend",
            "flex",
            "--checkpoint",
            "run",
            "--split",
            "all",
        ];
        succeed(command(dir.path(), &embed).args(["--output", output]));
        let (stdout, _) = succeed(&mut train(
            dir.path(),
            &format!("embeddings:{output}"),
            &format!("on-{output}"),
            &["epochs=2"],
        ));
        assert!(stdout.contains("features  head"));
        let (report, _) = succeed(&mut command(
            dir.path(),
            &["check", &format!("embeddings:{output}")],
        ));
        assert!(
            report.contains("360 rows of 60 classes") && report.contains("one batch of all"),
            "{report}"
        );
    }
}

#[test]
fn any_number_of_rows_goes_through_a_head_in_single_or_half_precision() {
    let dir = folder();
    succeed(&mut train(
        dir.path(),
        "embeddings:f.npy",
        "run",
        &["epochs=2"],
    ));
    let embed = |arguments: &[&str]| {
        let fixed = ["embed", "--backend", "flex", "--checkpoint", "run"];
        succeed(command(dir.path(), &fixed).args(arguments));
    };
    embed(&["--split", "all", "--output", "data.npy"]);
    embed(&["--features", "f.npy", "--output", "rows.npy"]);
    embed(&[
        "--features",
        "f.npy",
        "--output",
        "half.npy",
        "--precision",
        "f16",
    ]);
    let open = |name: &str| Embeddings::open(dir.path().join(name)).unwrap();
    assert_eq!(open("data.npy"), open("rows.npy"));
    let (single, half) = (open("rows.npy"), open("half.npy"));
    let apart = single.as_slice().iter().zip(half.as_slice());
    assert!(apart.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 5e-4);
    let size = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
    assert!(size("half.npy") < size("rows.npy") * 6 / 10);

    // Labels in the file are passed on.
    let labelled = dir.path().join("l.safetensors");
    rows().save_with_labels(&labelled, &labels()).unwrap();
    embed(&["--features", "l.safetensors", "--output", "o.safetensors"]);
    assert_eq!(
        read_labels(dir.path().join("o.safetensors")).unwrap(),
        labels()
    );
}

#[test]
fn a_run_on_features_goes_on_to_the_same_bits() {
    let dir = folder();
    let settings = [
        "checkpoint.keep=9",
        "evaluation.every=5",
        "model.dropout=0.3",
        "batch.chunk=20",
    ];
    let data = "embeddings:f.npy";
    succeed(&mut train(dir.path(), data, "straight", &settings));
    succeed(&mut train(dir.path(), data, "run", &settings));
    let mut steps: Vec<_> = fs::read_dir(dir.path().join("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    steps.sort();
    let from = steps[1].to_str().unwrap();
    succeed(&mut command(
        dir.path(),
        &["--backend", "flex", "--resume", from],
    ));
    let [straight, run] = ["straight", "run"].map(|run| dir.path().join(run));
    assert_eq!(metrics(&run), metrics(&straight));
    let weights = |run: &Path| fs::read(checkpoint(run, "last").join("model.safetensors")).unwrap();
    assert!(weights(&run) == weights(&straight));

    // Other rows are noticed, though they have the same names.
    let mut values = rows().as_slice().to_vec();
    values[5] += 1.0;
    Embeddings::new(values, DIM)
        .unwrap()
        .save(dir.path().join("f.npy"))
        .unwrap();
    let message = refuse(&mut command(
        dir.path(),
        &["--backend", "flex", "--resume", from],
    ));
    assert!(
        message.contains("f.npy") || message.contains("differ"),
        "{message}"
    );
}

#[test]
fn rows_that_cannot_be_trained_on_are_refused_in_a_sentence() {
    let dir = folder();
    let place = |name: &str| dir.path().join(name);
    let with = |name: &str, change: &dyn Fn(&mut Vec<f32>)| {
        let mut values = rows().as_slice().to_vec();
        change(&mut values);
        npy(&place(name), &values);
        fs::copy(
            place("f.labels.npy"),
            place(name).with_extension("labels.npy"),
        )
        .unwrap();
    };
    with("nan.npy", &|values| values[40 * DIM + 3] = f32::NAN);
    with("zero.npy", &|values| values[41 * DIM..42 * DIM].fill(0.0));
    save_labels(place("few.npy"), &labels()[1..]).unwrap();
    save_labels(place("one.npy"), &vec![7; CLASSES * EACH]).unwrap();
    fs::write(place("no.csv"), "name\na\n").unwrap();
    rows().save(place("bare.npy")).unwrap();
    for (data, words) in [
        (
            "embeddings:nan.npy",
            &["row 40", "nan.npy", "NaN", "column 3"][..],
        ),
        ("embeddings:zero.npy", &["row 41", "zero.npy", "all zeros"]),
        ("embeddings:f.npy,few.npy", &["few.npy", "359", "360"]),
        ("embeddings:f.npy,one.npy", &["one.npy", "only one label"]),
        ("embeddings:f.npy,no.csv", &["no.csv", "`label`"]),
        ("embeddings:f.labels.npy", &["f.labels.npy", "type <i8"]),
        ("embeddings:bare.npy", &["bare", "label"]),
        ("embeddings:gone.npy", &["gone.npy"]),
        ("embeddings:t.csv", &["t.csv", ".npy or .safetensors"]),
    ] {
        let message = refuse(&mut train(
            dir.path(),
            data,
            "run",
            &["evaluation.validation=0"],
        ));
        for word in words {
            assert!(message.contains(word), "{data}: {message}");
        }
        assert!(!place("run").exists(), "{data} left a folder");
    }
    // Leaving such rows out is possible.
    let mut skipping = train(dir.path(), "embeddings:nan.npy", "skipped", &["epochs=2"]);
    let (_, stderr) = succeed(skipping.arg("--skip-corrupt"));
    assert!(stderr.contains("row 40"), "{stderr}");
    let mut check = command(dir.path(), &["check", "embeddings:nan.npy"]);
    let report = String::from_utf8(check.output().unwrap().stdout).unwrap();
    assert!(
        report.contains("1 row cannot be used") && report.contains("NaN"),
        "{report}"
    );
}

#[test]
fn images_and_rows_are_not_taken_for_each_other() {
    let dir = folder();
    let refused = |arguments: &[&str]| refuse(&mut command(dir.path(), arguments));
    let message = refused(&[
        "--data",
        "embeddings:f.npy",
        "--set",
        "model.backbone=resnet50",
    ]);
    assert!(message.contains("resnet50 takes images"), "{message}");
    let message = refused(&["--set", "model.backbone=linear"]);
    assert!(
        message.contains("linear takes rows of features"),
        "{message}"
    );
    let message = refused(&["--preset", "features"]);
    assert!(message.contains("embeddings:FILE"), "{message}");
    let message = refused(&["--labels", "f.labels.npy"]);
    assert!(message.contains("--data embeddings:FILE"), "{message}");

    succeed(&mut train(
        dir.path(),
        "embeddings:f.npy",
        "run",
        &["epochs=1"],
    ));
    let message = refused(&["eval", "--checkpoint", "run", "--data", "emoji"]);
    assert!(message.contains("takes rows of 12 numbers"), "{message}");
    Embeddings::new(vec![1.0; 40], 10)
        .unwrap()
        .save(dir.path().join("ten.npy"))
        .unwrap();
    let message = refused(&[
        "embed",
        "--checkpoint",
        "run",
        "--features",
        "ten.npy",
        "--output",
        "o.npy",
    ]);
    assert!(message.contains("ten.npy have 10 numbers"), "{message}");
}

#[test]
fn features_of_a_frozen_backbone_are_computed_once_and_change_no_bit() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("photos"), 0..16, 4);
    let run = |out: &str, extra: &[&str]| {
        let mut command = command(
            dir.path(),
            &["--backend", "flex", "--data", "folder:photos", "--out", out],
        );
        command.env("XDG_CACHE_HOME", dir.path().join("cache"));
        for setting in [
            "model.backbone=resnet50",
            "model.dim=8",
            "image.train.size=[32,32]",
            "image.train.random_resized_crop=false",
            "image.train.colour_jitter=false",
            "image.eval={resize=36,crop=32}",
            "optimiser.freeze_backbone=true",
            "epochs=3",
            "batch.size=auto",
            "batch.samples_per_class=2",
            "batch.chunk=3",
            "loss.ks=[1,2]",
            "evaluation.validation=0.3",
            "evaluation.every=1",
            "evaluation.gallery=1",
        ]
        .iter()
        .chain(extra)
        {
            command.args(["--set", setting]);
        }
        succeed(&mut command).1
    };
    run("plain", &["features.keep=false"]);
    let first = run("first", &[]);
    assert!(first.contains("are computed once"), "{first}");
    let second = run("second", &[]);
    assert!(second.contains("are there already"), "{second}");
    let left = |out: &str| {
        let run = dir.path().join(out);
        let weights = fs::read(checkpoint(&run, "last").join("model.safetensors")).unwrap();
        (metrics(&run), weights)
    };
    let plain = left("plain");
    for out in ["first", "second"] {
        let (records, weights) = left(out);
        assert_eq!(records, plain.0, "{out}");
        assert!(weights == plain.1, "{out}: other weights");
    }

    // Other weights, another transform and changed images have features of their own.
    let kept = || {
        fs::read_dir(dir.path().join("cache/recall"))
            .unwrap()
            .count()
    };
    let before = kept();
    assert!(!run("seed", &["seed=1"]).contains("are there already"));
    assert_eq!(kept(), before + 2);
    let resized = run("resized", &["image.train.size=[40,40]"]);
    assert!(resized.contains("are computed once"), "{resized}");
    // A file that is cut short is computed again.
    for entry in fs::read_dir(dir.path().join("cache/recall")).unwrap() {
        fs::write(entry.unwrap().path(), b"cut").unwrap();
    }
    let mended = run("mended", &[]);
    assert!(!mended.contains("are there already"), "{mended}");
    assert_eq!(left("mended").0, plain.0);
    // No more than was asked for is kept.
    let few = run(
        "few",
        &["features.at_most=1000B", "features.folder=elsewhere"],
    );
    assert!(few.contains("more than features.at_most"), "{few}");
    assert_eq!(left("few").0, plain.0);
    let augmented = run(
        "augmented",
        &["image.train.horizontal_flip=0.5", "epochs=1"],
    );
    assert!(augmented.contains("times as fast"), "{augmented}");
}

/// Writes rows as they are, which may be none that embeddings take.
fn npy(path: &Path, values: &[f32]) {
    let mut header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {DIM}), }}",
        values.len() / DIM
    );
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
    assert_eq!(
        EmbeddingsFile::open(path).unwrap().rows(),
        values.len() / DIM
    );
}
