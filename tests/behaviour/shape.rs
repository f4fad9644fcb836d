//! Images that are judged in their shape and at several sizes, wherever a trained model embeds.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use recall_train::{Checkpoint, NamedBackend, TrainedModel};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{command, metrics, refuse, succeed, tiny};

/// Landscape and portrait, sides that nothing divides, a line and a single pixel.
const SIZES: [(u32, u32); 6] = [(40, 36), (36, 40), (17, 33), (1, 1), (61, 3), (23, 23)];

fn photos(dir: &Path) {
    for (split, classes) in [("train", 0..6), ("test", 6..9)] {
        for class in classes {
            for (instance, (width, height)) in (0..).zip(SIZES) {
                let image = RgbImage::from_fn(width, height, |x, y| {
                    let shade = |shift: u32| (x * (class + shift) * 5 + y * 7 + class * 23) as u8;
                    Rgb([shade(1), shade(4), shade(instance)])
                });
                let folder = dir.join(format!("photos/{split}/class-{class}"));
                fs::create_dir_all(&folder).unwrap();
                image.save(folder.join(format!("{instance}.png"))).unwrap();
            }
        }
    }
}

const DATA: [&str; 2] = ["--data", "folder:photos"];

/// Images and a run that judges them whole, at two sizes.
fn trained(settings: &[&str]) -> TempDir {
    let dir = tempdir().unwrap();
    photos(dir.path());
    let mut train = tiny(dir.path(), &["--out", "run"]);
    train
        .args(DATA)
        .args(["--set", "image.eval.longest_side=24"]);
    for setting in settings {
        train.args(["--set", setting]);
    }
    let (stdout, _) = succeed(&mut train);
    assert!(stdout.contains("recall@1"), "{stdout}");
    dir
}

fn model(dir: &Path, chunk: usize) -> TrainedModel {
    let mut of = Checkpoint::open(&dir.join("run")).unwrap();
    of.config.evaluation.chunk = chunk;
    TrainedModel::on(&*NamedBackend::FLEX.open().unwrap(), of).unwrap()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let of = |class| (0..SIZES.len()).map(move |i| format!("photos/test/class-{class}/{i}.png"));
    (6..9).flat_map(of).map(|path| dir.join(path)).collect()
}

#[test]
fn an_image_alone_is_embedded_as_among_others_and_in_its_place() {
    let dir = trained(&["evaluation.scales=[1.0,0.7071]"]);
    let (dir, files) = (dir.path(), files(dir.path()));
    let together = model(dir, 256).embed_files(&files).unwrap();
    let model = model(dir, 1);
    assert_eq!(model.checkpoint().config.passes().chunk, 1);
    let one_by_one = model.embed_files(&files).unwrap();
    let rows = |rows: &recall_eval::Embeddings| -> Vec<Vec<f32>> {
        let of = rows.as_slice().chunks(rows.dim());
        of.map(<[f32]>::to_vec).collect()
    };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    for ((path, row), other) in files.iter().zip(rows(&together)).zip(rows(&one_by_one)) {
        let alone = rows(&model.embed_files(&[path]).unwrap());
        assert!(near(&row, &other) && near(&row, &alone[0]), "{path:?}");
    }
}

#[test]
fn threads_change_no_bit() {
    let dir = trained(&["evaluation.scales=[1.0,0.5]"]);
    let embed = |threads: &str| {
        let name = format!("{threads}.npy");
        let line = ["embed", "--backend", "flex", "--checkpoint", "run"];
        let rest = ["--threads", threads, "--output", &name];
        succeed(command(dir.path(), &line).args(DATA).args(rest));
        let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
        (read(&name), read(&format!("{threads}.txt")))
    };
    let one = embed("1");
    assert_eq!(one, embed("4"));
    // By class, and within a class by name.
    let names = String::from_utf8(one.1).unwrap();
    assert_eq!(names.lines().count(), 3 * SIZES.len());
    assert!(names.lines().is_sorted());
    let about = fs::read_to_string(dir.path().join("1.json")).unwrap();
    let about: Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about["image"]["eval"]["longest_side"], 24);
    assert_eq!(about["scales"]["factors"], serde_json::json!([1.0, 0.5]));
}

#[test]
fn a_checkpoint_is_judged_at_other_sizes_than_its_run() {
    let dir = trained(&[]);
    let eval = |more: &[&str]| {
        let line = ["eval", "--backend", "flex", "--checkpoint", "run", "--json"];
        let mut command = command(dir.path(), &line);
        command.args(["--metrics", "map,recall@1"]).args(more);
        command
    };
    let map = |more: &[&str]| {
        let (json, _) = succeed(&mut eval(more));
        let json: Value = serde_json::from_str(&json).unwrap();
        json["map"].as_f64().unwrap()
    };
    let as_trained = map(&[]);
    assert_eq!(as_trained, map(&["--longest-side", "24", "--scales", "1"]));
    let three = ["--longest-side", "40", "--scales", "1,0.7071,0.5"];
    assert!(map(&three) > 0.0);
    let message = refuse(&mut eval(&["--scales", "1,0"]));
    assert!(message.starts_with("evaluation.scales: "), "{message}");
    let message = refuse(&mut eval(&["--scale-power=-1"]));
    assert!(message.starts_with("evaluation.scale_power: "), "{message}");
    let message = refuse(&mut eval(&["--longest-side", "2"]));
    assert!(
        message.starts_with("image.eval.longest_side: convnet takes no side"),
        "{message}"
    );

    // What was embedded in another shape is not searched in.
    let line = ["embed", "--backend", "flex", "--checkpoint", "run"];
    succeed(
        command(dir.path(), &line)
            .args(DATA)
            .args(["--output", "index.npy"]),
    );
    let gallery = |more: &[&str]| {
        let line = ["gallery", "--backend", "flex", "--checkpoint", "run"];
        let mut command = command(dir.path(), &line);
        command.args(["--index", "index.npy", "--force"]);
        command.args(["--images", "photos/test/class-6/0.png"]);
        command.args(more);
        command
    };
    succeed(&mut gallery(&[]));
    let message = refuse(&mut gallery(&["--longest-side", "20"]));
    assert!(message.contains("image.eval.longest_side"), "{message}");
    let message = refuse(&mut gallery(&["--scales", "0.5"]));
    assert!(message.contains("evaluation.scales"), "{message}");
}

#[test]
fn sizes_that_do_not_fit_together_are_refused() {
    let dir = tempdir().unwrap();
    photos(dir.path());
    for (settings, key) in [
        (
            &["image.eval.longest_side=2"][..],
            "image.eval.longest_side",
        ),
        (&["image.eval.longest_side=0"], "image.eval.longest_side"),
        (&["model.pad_patches=true"], "model.pad_patches"),
        (&["evaluation.scales=[]"], "evaluation.scales"),
        (&["evaluation.scales=[9.0]"], "evaluation.scales"),
        (&["evaluation.scale_power=0"], "evaluation.scale_power"),
        (
            &[
                "image.eval.longest_side=24",
                "image.cache={folder=\"kept\",shorter_side=16}",
            ],
            "image.cache.shorter_side",
        ),
    ] {
        let mut train = tiny(dir.path(), &DATA);
        for setting in settings {
            train.args(["--set", setting]);
        }
        let message = refuse(&mut train);
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn a_frozen_backbone_judges_whole_images_though_their_features_are_not_kept() {
    let dir = trained(&[
        "optimiser.freeze_backbone=true",
        "image.train.random_resized_crop=false",
        "image.train.colour_jitter=false",
        "features.folder=\"features\"",
    ]);
    let kept = fs::read_dir(dir.path().join("features")).unwrap();
    assert_eq!(kept.count(), 1, "those of training");
}

#[test]
fn training_images_keep_their_ratio_and_the_run_its_bits() {
    let dir = tempdir().unwrap();
    photos(dir.path());
    let train = |out: &str, more: &[&str]| {
        let mut train = tiny(dir.path(), &["--out", out, "--quiet"]);
        train.args(DATA).args(["--set", "image.keep_ratio=true"]);
        train.args(["--set", "epochs=2"]).args(more);
        train
    };
    succeed(&mut train("one", &["--threads", "1"]));
    succeed(&mut train("two", &["--threads", "3"]));
    let steps = |out: &str| -> Vec<Value> {
        let records = metrics(&dir.path().join(out)).into_iter();
        records.filter(|record| record["kind"] == "step").collect()
    };
    assert!(steps("one").len() > 2 && steps("one").iter().all(|step| step["loss"].is_number()));
    assert_eq!(steps("one"), steps("two"));
    // In squares they are other images; in smaller chunks the same.
    succeed(&mut train("squares", &["--set", "image.keep_ratio=false"]));
    assert_ne!(steps("squares"), steps("one"));
    succeed(&mut train("chunks", &["--set", "batch.chunk=3"]));
    let losses = |out: &str| {
        steps(out)
            .iter()
            .map(|step| step["loss"].as_f64().unwrap())
            .collect()
    };
    let (whole, parts): (Vec<f64>, Vec<f64>) = (losses("one"), losses("chunks"));
    let near = whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(near, "{whole:?} {parts:?}");

    let refused = |settings: &[&str]| {
        let mut train = command(dir.path(), &["--set", "image.keep_ratio=true"]);
        for setting in settings {
            train.args(["--set", setting]);
        }
        refuse(&mut train)
    };
    let message = refused(&["loss.kind=norm-softmax", "loss.input_mixup=0.2"]);
    let word = "image.keep_ratio: loss.input_mixup";
    assert!(message.starts_with(word), "{message}");
    let message = refused(&["model.backbone=residual"]);
    let word = "image.keep_ratio: residual takes rows";
    assert!(message.starts_with(word), "{message}");
}
