//! Files of weights say which model they belong to, also under the names that its authors gave them.

use std::path::Path;

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn_flex::Flex;
use recall_engine::{
    Backbone, Device, Embedder, Engine, EngineConfig, LoadedWeights, ModelConfig, Network,
    load_weights, of_backend, save_weights,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::backbones::{floats, formula, write_weights};
use crate::support::alone;

type Named = Vec<(String, Vec<usize>, Vec<f32>)>;

fn config(backbone: Backbone) -> ModelConfig {
    ModelConfig {
        backbone,
        dim: 8,
        ..ModelConfig::default()
    }
}

fn init(backbone: Backbone, side: usize) -> Network<Flex> {
    let device = Default::default();
    config(backbone).init([side, side], &device).unwrap()
}

/// Weights by the formula, without those of the head.
fn tensors(backbone: Backbone, side: usize, folder: &Path) -> Named {
    let path = folder.join("formula.safetensors");
    write_weights(&init(backbone, side), &path);
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let backbone = file
        .iter()
        .filter(|(name, _)| !name.starts_with("embedding."));
    backbone
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), floats(view.data())))
        .collect()
}

fn write(tensors: &Named, path: &Path) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// What the backbone hands to the head, with these weights.
fn features(
    backbone: Backbone,
    side: usize,
    tensors: &Named,
    folder: &Path,
) -> (Vec<f32>, LoadedWeights) {
    let path = folder.join("tensors.safetensors");
    write(tensors, &path);
    let grid = config(backbone).patch_grid([side, side]);
    let (model, loaded) = load_weights(init(backbone, side), &path, grid).unwrap();
    let pixels = formula("pixels", 2 * 3 * side * side);
    let pixels: Vec<f32> = pixels.into_iter().map(|value| value as f32).collect();
    let images = Tensor::<Flex, 1>::from_floats(&pixels[..], &Default::default());
    let features = model.features(images.reshape([2, 3, side, side])).unwrap();
    (features.into_data().iter::<f32>().collect(), loaded)
}

/// open_clip's name and shape of a tensor of timm.
fn of_open_clip(
    (name, mut shape, values): (String, Vec<usize>, Vec<f32>),
) -> (String, Vec<usize>, Vec<f32>) {
    let renamed = match name.as_str() {
        "cls_token" => {
            shape.drain(..2);
            "class_embedding".to_owned()
        }
        "pos_embed" => {
            shape.remove(0);
            "positional_embedding".to_owned()
        }
        _ => {
            let pairs = [
                ("patch_embed.proj", "conv1"),
                ("norm_pre", "ln_pre"),
                ("norm1", "ln_1"),
                ("norm2", "ln_2"),
                ("attn.qkv.", "attn.in_proj_"),
                ("attn.proj", "attn.out_proj"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
                ("blocks.", "transformer.resblocks."),
            ];
            let name = match name.strip_prefix("norm.") {
                Some(rest) => format!("ln_post.{rest}"),
                None => name,
            };
            pairs
                .iter()
                .fold(name, |name, (timm, theirs)| name.replace(timm, theirs))
        }
    };
    (format!("visual.{renamed}"), shape, values)
}

#[test]
fn the_image_tower_is_taken_from_a_file_of_open_clip() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let timm = tensors(Backbone::ClipB32, 64, folder.path());
    let (expected, _) = features(Backbone::ClipB32, 64, &timm, folder.path());

    let mut theirs: Named = timm.into_iter().map(of_open_clip).collect();
    let text: [(&str, &[usize]); 4] = [
        ("positional_embedding", &[77, 4]),
        ("transformer.resblocks.0.ln_1.weight", &[4]),
        ("logit_scale", &[]),
        ("visual.proj", &[768, 4]),
    ];
    for (name, shape) in text {
        let count = shape.iter().product();
        theirs.push((name.to_owned(), shape.to_vec(), vec![1.0; count]));
    }
    let (found, loaded) = features(Backbone::ClipB32, 64, &theirs, folder.path());
    assert_eq!(found, expected);
    assert_eq!(loaded.ignored, ["head.weight"]);
    let notes = loaded.notes().join("; ");
    assert!(notes.contains("open_clip"), "{notes}");

    let path = folder.path().join("tensors.safetensors");
    let either = [Backbone::ClipB32, Backbone::ClipB32Quickgelu];
    assert_eq!(Backbone::of_weights(&path).unwrap(), either);
}

#[test]
fn registers_by_the_names_of_their_authors_add_a_position_to_the_class_token() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let timm = tensors(Backbone::Dinov2S14Reg4, 56, folder.path());
    let position: Vec<f32> = formula("position", 384)
        .into_iter()
        .map(|value| value as f32)
        .collect();

    let mut added = timm.clone();
    let mut theirs = timm;
    for (name, shape, values) in &mut theirs {
        match name.as_str() {
            "reg_token" => *name = "register_tokens".to_owned(),
            "pos_embed" => {
                shape[1] += 1;
                values.splice(..0, position.iter().copied());
            }
            _ => {}
        }
    }
    for (name, _, values) in &mut added {
        if name == "cls_token" {
            values
                .iter_mut()
                .zip(&position)
                .for_each(|(value, add)| *value += add);
        }
    }
    theirs.push(("mask_token".to_owned(), vec![1, 384], vec![0.0; 384]));
    // Also where the grid is another one.
    for side in [56, 42] {
        let (expected, _) = features(Backbone::Dinov2S14Reg4, side, &added, folder.path());
        let (found, loaded) = features(Backbone::Dinov2S14Reg4, side, &theirs, folder.path());
        assert_eq!(found, expected, "{side}");
        assert_eq!(loaded.interpolated.is_some(), side != 56);
    }
    let path = folder.path().join("tensors.safetensors");
    let found = Backbone::of_weights(&path).unwrap();
    assert_eq!(found, [Backbone::Dinov2S14Reg4]);
}

#[test]
fn a_file_says_whose_weights_it_holds() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    for backbone in [
        Backbone::Resnet18,
        Backbone::Resnet34,
        Backbone::Resnet50,
        Backbone::VitS16,
        Backbone::Dinov2S14,
    ] {
        save_weights(&init(backbone, 112), &path).unwrap();
        assert_eq!(Backbone::of_weights(&path).unwrap(), [backbone]);
    }
    save_weights(&init(Backbone::Convnet, 32), &path).unwrap();
    assert_eq!(Backbone::of_weights(&path).unwrap(), []);
}

#[test]
fn weights_of_another_model_are_refused_by_its_name() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save_weights(&init(Backbone::Resnet18, 64), &path).unwrap();
    let config = EngineConfig {
        model: config(Backbone::VitS16),
        image: [32, 32],
        ..EngineConfig::default()
    };
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    let mut engine: Box<dyn Engine> = device.engine(&config).unwrap();
    let refused = engine.load_pretrained(&path).unwrap_err().to_string();
    let word =
        "they are those of resnet18, and the model is vit-s16: give --set model.backbone=resnet18";
    assert!(refused.ends_with(word), "{refused}");
}
