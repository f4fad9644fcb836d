//! Files of weights: the forms PyTorch users have them in, and what is wrong with a file by name.
//! `xtask/peers/backbones.py` made the fixtures.

use std::path::{Path, PathBuf};

use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use recall_engine::{
    Backbone, Embedder, EngineError, Head, LoadedWeights, ModelConfig, Network, load_weights,
    save_weights,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::backbones::write_weights;
use crate::support::alone;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The model whose weights the small fixtures hold.
fn small() -> Network<Flex> {
    let config = ModelConfig {
        dim: 5,
        widths: vec![4, 6],
        grid: 2,
        ..ModelConfig::default()
    };
    config.init([16, 16], &Default::default()).unwrap()
}

fn load(path: &Path) -> Result<(Network<Flex>, LoadedWeights), EngineError> {
    load_weights(small(), path, None)
}

fn refusal(path: &Path) -> String {
    load(path).map(|_| ()).unwrap_err().to_string()
}

fn embedding(model: &Network<Flex>) -> Vec<f32> {
    let pixels: Vec<f32> = (0..2 * 3 * 16 * 16).map(|i| (i % 17) as f32).collect();
    let pixels = TensorData::new(pixels, [2, 3, 16, 16]);
    let embedded = model.embed(Tensor::from_data(pixels, &Default::default()));
    embedded.into_data().iter::<f32>().collect()
}

/// Writes the small fixture again with its tensors changed.
fn changed(folder: &Path, change: impl Fn(&mut Vec<(String, Vec<usize>, Vec<u8>)>)) -> PathBuf {
    let bytes = std::fs::read(fixture("small.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    tensors.sort();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let path = folder.join("changed.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}

#[test]
fn every_form_gives_the_same_model() {
    let _alone = alone();
    let (model, loaded) = load(&fixture("small.safetensors")).unwrap();
    assert_eq!(loaded.taken, 6);
    let expected = embedding(&model);
    assert_ne!(expected, embedding(&small()));
    for name in [
        "small-fp16.safetensors",
        "small.pth",
        "small-fp16.pth",
        "small-state-dict.pth",
        "small-model.bin",
        "pytorch/small-channels-last.pth",
        "pytorch/small-legacy.pth",
    ] {
        let (model, loaded) = load(&fixture(name)).unwrap();
        assert_eq!(loaded.taken, 6, "{name}");
        assert_eq!(embedding(&model), expected, "{name}");
    }
}

#[test]
fn what_was_saved_loads_again() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = small();
    save_weights(&model, &path).unwrap();
    let (again, loaded) = load(&path).unwrap();
    assert_eq!(
        loaded,
        LoadedWeights {
            taken: 6,
            ..LoadedWeights::default()
        }
    );
    assert_eq!(embedding(&again), embedding(&model));
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let missing = changed(folder, |tensors| {
        tensors.retain(|(name, ..)| name != "norm.bias")
    });
    let message = refusal(&missing);
    assert!(message.ends_with("missing: norm.bias"), "{message}");
    assert!(message.contains("changed.safetensors"), "{message}");

    let renamed = changed(folder, |tensors| tensors[0].0 += "_old");
    let message = refusal(&renamed);
    assert!(
        message.contains("missing: convolutions.0.weight;"),
        "{message}"
    );
    assert!(
        message.ends_with("unknown to the model: convolutions.0.weight_old"),
        "{message}"
    );

    let reshaped = changed(folder, |tensors| {
        for (name, shape, _) in tensors {
            if name == "head.weight" {
                shape.reverse();
            }
        }
    });
    let message = refusal(&reshaped);
    assert!(
        message.ends_with("of another shape: head.weight is [24, 5] and should be [5, 24]"),
        "{message}"
    );
}

#[test]
fn damaged_files_are_refused() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture("small.safetensors")).unwrap();
    let cut = folder.path().join("cut.safetensors");
    std::fs::write(&cut, &whole[..whole.len() - 10]).unwrap();
    let message = refusal(&cut);
    assert!(
        message.contains("cut short within the tensor stem.weight"),
        "{message}"
    );

    for name in ["small.pth", "small-model.bin"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for end in [0, 1, 100, whole.len() / 2, whole.len() - 10] {
            let cut = folder.path().join(format!("cut-{name}"));
            std::fs::write(&cut, &whole[..end]).unwrap();
            let message = refusal(&cut);
            assert!(message.contains("cut-small"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
    for end in [0, 7, 8, 50, 300] {
        std::fs::write(&cut, &whole[..end]).unwrap();
        assert!(refusal(&cut).contains("cut.safetensors"));
    }
    let message = refusal(&folder.path().join("nowhere.pth"));
    assert!(message.contains("nowhere.pth: No such file"), "{message}");
}

#[test]
fn a_backbone_without_our_head_is_taken_and_its_classifier_is_not() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backbone.safetensors");
    let config = ModelConfig {
        backbone: Backbone::VitS16,
        dim: 8,
        ..ModelConfig::default()
    };
    let device = Default::default();
    let donor = config.init::<Flex>([32, 32], &device).unwrap();
    save_weights(&donor, &path).unwrap();

    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let classifier = vec![0; 4 * 384 * 10];
    let mut views: Vec<_> = file
        .iter()
        .filter(|(name, _)| !name.starts_with("embedding."))
        .collect();
    views.push((
        "head.weight",
        TensorView::new(Dtype::F32, vec![10, 384], &classifier).unwrap(),
    ));
    safetensors::serialize_to_file(views, None, &path).unwrap();

    // Other images: 3 × 4 patches in place of 2 × 2.
    let model = config.init::<Autodiff<Flex>>([48, 64], &device).unwrap();
    let (_, loaded) = load_weights(model, &path, Some([3, 4])).unwrap();
    assert_eq!(loaded.ignored, ["head.weight"]);
    assert_eq!(loaded.fresh.len(), 4);
    assert!(
        loaded
            .fresh
            .iter()
            .all(|name| name.starts_with("embedding."))
    );
    assert_eq!(loaded.interpolated, Some([[2, 2], [3, 4]]));
    let notes = loaded.notes().join("; ");
    assert!(notes.contains("from 2 × 2 to 3 × 4 patches"), "{notes}");

    // A grid that is not said cannot be interpolated to.
    let model = config.init::<Flex>([48, 64], &device).unwrap();
    let message = load_weights(model, &path, None).map(|_| ()).unwrap_err();
    assert!(
        message.to_string().contains("pos_embed is [1, 5, 384]"),
        "{message}"
    );
}

/// A file of this model's tensors by the names that cirtorch would give them, as far as `taken`.
fn by_cirtorchs_names(from: &Path, to: &Path, taken: impl Fn(&str) -> bool) {
    let parts = [
        ("conv1.", "features.0."),
        ("bn1.", "features.1."),
        ("layer1.", "features.4."),
        ("layer2.", "features.5."),
        ("layer3.", "features.6."),
        ("layer4.", "features.7."),
        ("gem.", "pool."),
        ("embedding.linear.", "whiten."),
    ];
    let bytes = std::fs::read(from).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let views = file.iter().filter(|(name, _)| taken(name));
    let views = views.map(|(name, view)| {
        let mut renamed = parts.iter().filter_map(|(ours, theirs)| {
            let rest = name.strip_prefix(ours)?;
            Some(format!("state_dict.{theirs}{rest}"))
        });
        (renamed.next().unwrap(), view)
    });
    safetensors::serialize_to_file(views, None, to).unwrap();
}

#[test]
fn networks_of_cirtorch_come_with_their_projection_or_without() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let [ours, whole, bare] = ["ours", "whole", "bare"].map(|name| folder.path().join(name));
    let config = ModelConfig {
        backbone: Backbone::Resnet18,
        head: Head::Whitening,
        dim: 8,
        ..ModelConfig::default()
    };
    let device = Default::default();
    let donor = config.init::<Flex>([32, 32], &device).unwrap();
    write_weights(&donor, &ours);
    by_cirtorchs_names(&ours, &whole, |_| true);
    by_cirtorchs_names(&ours, &bare, |name| !name.starts_with("embedding."));
    assert_eq!(Backbone::of_weights(&whole).unwrap(), [Backbone::Resnet18]);

    let load = |path: &Path, config: &ModelConfig| {
        let model = config.init::<Flex>([32, 32], &device).unwrap();
        load_weights(model, path, None)
    };
    let embedded = |path: &Path| {
        let (model, loaded) = load(path, &config).unwrap();
        let images = Tensor::<Flex, 4>::ones([1, 3, 32, 32], &device);
        let row: Vec<f32> = model.embed(images).into_data().iter().collect();
        (row, loaded)
    };
    let (expected, _) = embedded(&ours);
    let (found, loaded) = embedded(&whole);
    assert_eq!(found, expected);
    assert!(loaded.fresh.is_empty() && loaded.ignored.is_empty());
    assert!(loaded.notes()[0].contains("cirtorch"));
    let (_, loaded) = embedded(&bare);
    assert_eq!(
        loaded.fresh,
        ["embedding.linear.weight", "embedding.linear.bias"]
    );

    // The head of the paper has no such projection.
    let other = ModelConfig {
        head: Head::LayerNorm,
        ..config.clone()
    };
    let message = load(&whole, &other).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("model.head=whitening"), "{message}");
}

#[test]
fn what_is_in_a_file_decides_and_not_its_name() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let expected = embedding(&load(&fixture("small.safetensors")).unwrap().0);
    for (original, name) in [
        ("small.safetensors", "pytorch_model.bin"),
        ("small.safetensors", "model.pth"),
        ("small.pth", "model.safetensors"),
        ("pytorch/small-legacy.pth", "weights"),
    ] {
        let path = folder.path().join(name);
        std::fs::copy(fixture(original), &path).unwrap();
        let (model, _) = load(&path).unwrap();
        assert_eq!(embedding(&model), expected, "{original} as {name}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_the_name_of_their_tensor() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for (value, count) in [(f32::NAN, 1), (f32::INFINITY, 3), (f32::NEG_INFINITY, 2)] {
        let path = changed(folder.path(), |tensors| {
            for (name, _, bytes) in tensors {
                if name == "head.weight" {
                    let (numbers, _) = bytes.as_chunks_mut();
                    numbers[..count].fill(value.to_le_bytes());
                }
            }
        });
        let message = refusal(&path);
        let wanted =
            format!("NaN, infinite or beyond single precision: head.weight ({count} of 120);");
        assert!(message.contains(&wanted), "{message}");
    }
    let path = changed(folder.path(), |tensors| {
        for (_, _, bytes) in tensors {
            let (numbers, _) = bytes.as_chunks_mut();
            numbers[0] = f32::NAN.to_le_bytes();
        }
    });
    let message = refusal(&path);
    assert!(
        message.contains("stem.weight (1 of 192), convolutions.0.weight (1 of 216), norm.weight"),
        "{message}"
    );

    // The same in a file of PyTorch: its last storage is that of `stem.weight`, in half precision.
    let whole = std::fs::read(fixture("pytorch/small-legacy.pth")).unwrap();
    let mut bytes = whole.clone();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let path = folder.path().join("nan.pth");
    std::fs::write(&path, &bytes).unwrap();
    let message = refusal(&path);
    assert!(message.contains("(1 of "), "{message}");
}

#[test]
fn a_prefix_that_is_not_known_is_told_with_the_way_to_take_it_off() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let prefixed = changed(folder.path(), |tensors| {
        for (name, ..) in tensors.iter_mut() {
            *name = format!("net.trunk.{name}");
        }
        tensors.push(("loss.weight".into(), vec![1], vec![0; 4]));
    });
    let message = refusal(&prefixed);
    assert!(
        message.contains("its names begin with `net.trunk.`, which the model's do not"),
        "{message}"
    );
    assert!(
        message.contains("load_file(\"changed.safetensors\")"),
        "{message}"
    );
    assert!(!message.contains('\n'), "{message}");
    // What the message says to do.
    let stripped = changed(folder.path(), |tensors| {
        for (name, ..) in tensors.iter_mut() {
            *name = format!("_orig_mod.module.{name}");
        }
    });
    assert!(load(&stripped).is_ok());
}
