//! Files of weights: what people have under such names, and what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

use crate::support::{class_folders, command, metrics, refuse, succeed, tiny};

/// The small model of the fixtures.
const SMALL: [&str; 4] = ["--set", "model.widths=[4,6]", "--set", "model.dim=5"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/recall-engine/tests/fixtures")
        .join(name)
}

fn photos(dir: &Path) {
    class_folders(&dir.join("photos"), 0..8, 4);
}

/// Trains the small model from a file of weights.
fn trained(dir: &Path, weights: &Path, out: &str) -> String {
    let weights = weights.to_str().unwrap();
    let mut command = tiny(
        dir,
        &[
            "--data",
            "folder:photos",
            "--out",
            out,
            "--weights",
            weights,
        ],
    );
    succeed(command.args(SMALL)).1
}

fn refused(dir: &Path, weights: &Path) -> String {
    let weights = weights.to_str().unwrap();
    let mut command = tiny(
        dir,
        &[
            "--data",
            "folder:photos",
            "--out",
            "run",
            "--weights",
            weights,
        ],
    );
    let message = refuse(command.args(SMALL));
    assert!(!dir.join("run").exists(), "a run folder was left");
    message
}

#[test]
fn a_checkpoint_of_pytorch_in_channels_last_trains_as_its_numbers_do() {
    let dir = tempfile::tempdir().unwrap();
    photos(dir.path());
    let said = trained(dir.path(), &fixture("small.safetensors"), "plain");
    assert!(said.contains("6 tensors loaded"), "{said}");
    let expected = metrics(&dir.path().join("plain"));
    for (name, out) in [
        ("pytorch/small-channels-last.pth", "channels-last"),
        ("pytorch/small-legacy.pth", "legacy"),
    ] {
        let said = trained(dir.path(), &fixture(name), out);
        assert!(said.contains("6 tensors loaded"), "{said}");
        let found = metrics(&dir.path().join(out));
        // The first line has the names of files in it.
        let steps = |records: &[serde_json::Value]| -> Vec<_> {
            let steps = records.iter().filter(|record| record["kind"] == "step");
            steps.cloned().collect()
        };
        assert!(!steps(&expected).is_empty());
        assert_eq!(steps(&found), steps(&expected), "{name}");
    }
}

#[test]
fn files_that_are_no_weights_are_told_for_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    photos(dir.path());
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n";
    let index = r#"{"metadata": {"total_size": 8}, "weight_map": {"stem.weight": "model-00001-of-00002.safetensors"}}"#;
    for (name, text, word) in [
        ("resnet50.pth", pointer, "this is a pointer of Git LFS"),
        ("model.safetensors", pointer, "`git lfs pull`"),
        (
            "model.safetensors.index.json",
            index,
            "the index of weights in 1 files",
        ),
        (
            "resnet50-0676ba61.pth",
            "<!DOCTYPE html>\n<html>",
            "this is a web page",
        ),
        ("empty.pth", "", "the file is empty"),
        (
            "notes.txt",
            "weights are on the other disk",
            "neither a file in safetensors format nor",
        ),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let message = refused(dir.path(), &path);
        assert!(
            message.contains(word) && message.contains(name),
            "{message}"
        );
    }
}

/// Writes a file in safetensors format again with one number of a tensor changed.
fn with_number(from: &Path, to: &Path, tensor: &str, number: f32) {
    let bytes = fs::read(from).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    for (name, _, data) in &mut tensors {
        if name == tensor {
            data[..4].copy_from_slice(&number.to_le_bytes());
        }
    }
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, to).unwrap();
}

#[test]
fn weights_that_are_not_numbers_are_refused_before_they_train() {
    let dir = tempfile::tempdir().unwrap();
    photos(dir.path());
    let path = dir.path().join("nan.safetensors");
    for number in [f32::NAN, f32::INFINITY] {
        with_number(&fixture("small.safetensors"), &path, "stem.weight", number);
        let message = refused(dir.path(), Path::new("nan.safetensors"));
        let wanted = "nan.safetensors: numbers that are NaN, infinite or beyond single precision: \
                      stem.weight (1 of 192); take weights from before they became so";
        assert!(message.ends_with(wanted), "{message}");
    }
    // A checkpoint's, although its manifest says that it is as it was written.
    trained(dir.path(), &fixture("small.safetensors"), "plain");
    let checkpoints = dir.path().join("plain/checkpoints");
    let folder = fs::read_dir(&checkpoints).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?.to_owned();
        name.starts_with("step-").then_some(path)
    });
    let folder = folder.unwrap();
    let (model, manifest) = (
        folder.join("model.safetensors"),
        folder.join("manifest.json"),
    );
    let before = hash(&model);
    with_number(&model, &path, "stem.weight", f32::NAN);
    fs::rename(&path, &model).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(text.contains(&before));
    fs::write(&manifest, text.replace(&before, &hash(&model))).unwrap();
    let folder = folder.to_str().unwrap();
    let message = refuse(&mut command(
        dir.path(),
        &["eval", "--backend", "flex", "--checkpoint", folder],
    ));
    assert!(message.contains("stem.weight (1 of 192)"), "{message}");
}

fn hash(path: &Path) -> String {
    let hash = Sha256::digest(fs::read(path).unwrap());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn without_a_backbone_the_weights_say_which_it_is() {
    let dir = tempfile::tempdir().unwrap();
    photos(dir.path());
    let write = |name: &str, shapes: &[(&str, &[usize])]| {
        let bytes: Vec<Vec<u8>> = shapes
            .iter()
            .map(|(_, shape)| vec![0; 4 * shape.iter().product::<usize>()])
            .collect();
        let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap(),
            )
        });
        let path = dir.path().join(name);
        safetensors::serialize_to_file(views, None, &path).unwrap();
        path
    };
    let patches: (&str, &[usize]) = ("patch_embed.proj.weight", &[384, 3, 16, 16]);
    let small = write(
        "s16.safetensors",
        &[patches, ("blocks.11.norm1.weight", &[384])],
    );
    let message = refused(dir.path(), &small);
    assert!(
        message.contains("missing: patch_embed.proj.bias, cls_token"),
        "{message}"
    );
    // Named, it is what was named.
    let weights = small.to_str().unwrap();
    let line = ["--data", "folder:photos", "--weights", weights];
    let message = refuse(tiny(dir.path(), &line).args(["--set", "model.backbone=convnet"]));
    let word =
        "they are those of vit-s16, and the model is convnet: give --set model.backbone=vit-s16";
    assert!(message.ends_with(word), "{message}");

    let patches: (&str, &[usize]) = ("patch_embed.proj.weight", &[768, 3, 32, 32]);
    let tower = [
        patches,
        ("norm_pre.weight", &[768]),
        ("blocks.11.norm1.weight", &[768]),
    ];
    let message = refused(dir.path(), &write("tower.safetensors", &tower));
    assert!(
        message.contains("those of clip-b32 or clip-b32-quickgelu"),
        "{message}"
    );
}
