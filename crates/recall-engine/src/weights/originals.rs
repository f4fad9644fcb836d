//! Names that the authors of a model give its tensors where timm gives them others.

use std::collections::BTreeMap;

use super::stored::Stored;

/// What a network of cirtorch is, in words.
pub(super) const CIRTORCH: &str = "by the names of cirtorch";

/// Gives tensors the names and axes of torchvision and timm, if they have those of open_clip (and OpenAI, which has the
/// same), of DINOv2's authors or of cirtorch's ResNets; then also in words what they are. What open_clip keeps beside its
/// image tower is left out.
pub(super) fn renamed(
    tensors: BTreeMap<String, Stored>,
) -> (BTreeMap<String, Stored>, Option<&'static str>) {
    if tensors.contains_key("visual.class_embedding") {
        let towers = tensors.into_iter();
        let image = towers.filter_map(|(name, stored)| {
            let name = name.strip_prefix("visual.")?;
            Some(match name {
                "class_embedding" => ("cls_token".to_owned(), stored.beneath(2)),
                "positional_embedding" => ("pos_embed".to_owned(), stored.beneath(1)),
                _ => (of_open_clip(name), stored),
            })
        });
        return (
            image.collect(),
            Some("the image tower, by the names of open_clip"),
        );
    }
    if tensors.contains_key("register_tokens") {
        let named = tensors
            .into_iter()
            .map(|(name, stored)| match name.as_str() {
                "register_tokens" => ("reg_token".to_owned(), stored),
                _ => (name, stored),
            });
        return (named.collect(), Some("by the names of DINOv2's authors"));
    }
    if tensors.contains_key("features.0.weight")
        && tensors.contains_key("features.4.0.conv1.weight")
    {
        let named = tensors.into_iter();
        let named = named.map(|(name, stored)| (of_cirtorch(&name), stored));
        return (named.collect(), Some(CIRTORCH));
    }
    (tensors, None)
}

/// torchvision's name of a tensor of cirtorch, which numbers the parts of a ResNet, and this project's of what stands
/// behind them.
fn of_cirtorch(name: &str) -> String {
    const PARTS: [(&str, &str); 8] = [
        ("features.0.", "conv1."),
        ("features.1.", "bn1."),
        ("features.4.", "layer1."),
        ("features.5.", "layer2."),
        ("features.6.", "layer3."),
        ("features.7.", "layer4."),
        ("pool.", "gem."),
        ("whiten.", "embedding.linear."),
    ];
    first_part(name, &PARTS).unwrap_or_else(|| name.to_owned())
}

/// The name with another first part, if that is one of these.
fn first_part(name: &str, parts: &[(&str, &str)]) -> Option<String> {
    parts.iter().find_map(|(theirs, ours)| {
        let rest = name.strip_prefix(theirs)?;
        Some(format!("{ours}{rest}"))
    })
}

/// timm's name of a tensor of the image tower.
fn of_open_clip(name: &str) -> String {
    const FIRST: [(&str, &str); 4] = [
        ("conv1.", "patch_embed.proj."),
        ("ln_pre.", "norm_pre."),
        ("ln_post.", "norm."),
        ("transformer.resblocks.", "blocks."),
    ];
    const INNER: [(&str, &str); 7] = [
        (".ln_1.", ".norm1."),
        (".ln_2.", ".norm2."),
        (".attn.in_proj_weight", ".attn.qkv.weight"),
        (".attn.in_proj_bias", ".attn.qkv.bias"),
        (".attn.out_proj.", ".attn.proj."),
        (".mlp.c_fc.", ".mlp.fc1."),
        (".mlp.c_proj.", ".mlp.fc2."),
    ];
    // From features to the space that images and texts share: a classifier, as it were.
    if name == "proj" {
        return "head.weight".to_owned();
    }
    let name = first_part(name, &FIRST).unwrap_or_else(|| name.to_owned());
    INNER
        .iter()
        .fold(name, |name, (theirs, timm)| name.replace(theirs, timm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> (Vec<String>, Option<&'static str>) {
        let stored = |shape: &[usize]| Stored {
            shape: shape.to_vec(),
            path: Vec::new(),
            numbers: Err(String::new()),
        };
        let tensors = names.iter().map(|name| ((*name).to_owned(), stored(&[3])));
        let (named, what) = renamed(tensors.collect());
        (named.into_keys().collect(), what)
    }

    #[test]
    fn names_become_those_of_timm() {
        let names = [
            "logit_scale",
            "positional_embedding",
            "transformer.resblocks.0.ln_1.weight",
            "visual.class_embedding",
            "visual.conv1.weight",
            "visual.ln_post.bias",
            "visual.proj",
            "visual.transformer.resblocks.10.attn.in_proj_bias",
            "visual.transformer.resblocks.10.mlp.c_proj.weight",
        ];
        let (named, what) = of(&names);
        let timm = [
            "blocks.10.attn.qkv.bias",
            "blocks.10.mlp.fc2.weight",
            "cls_token",
            "head.weight",
            "norm.bias",
            "patch_embed.proj.weight",
        ];
        assert_eq!(named, timm);
        assert!(what.is_some_and(|what| what.contains("open_clip")));

        let (named, what) = of(&["cls_token", "register_tokens"]);
        assert_eq!(named, ["cls_token", "reg_token"]);
        assert!(what.is_some());

        let cirtorch = [
            "features.0.weight",
            "features.1.running_mean",
            "features.4.0.conv1.weight",
            "features.7.2.downsample.1.bias",
            "pool.p",
            "whiten.bias",
        ];
        let (named, what) = of(&cirtorch);
        let torchvision = [
            "bn1.running_mean",
            "conv1.weight",
            "embedding.linear.bias",
            "gem.p",
            "layer1.0.conv1.weight",
            "layer4.2.downsample.1.bias",
        ];
        assert_eq!(named, torchvision);
        assert!(what.is_some_and(|what| what.contains("cirtorch")));

        // The names of timm's own towers stay.
        assert_eq!(of(&["cls_token"]), (vec!["cls_token".to_owned()], None));
    }
}
