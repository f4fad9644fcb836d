//! Names that the authors of a model give its tensors where timm gives them others.

use std::collections::BTreeMap;

use super::stored::Stored;

/// Gives tensors the names and axes of timm, if they have those of open_clip (and OpenAI, which has the same) or of
/// DINOv2's authors; then also in words what they are. What open_clip keeps beside its image tower is left out.
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
    (tensors, None)
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
    let first = FIRST.iter().find_map(|(theirs, timm)| {
        let rest = name.strip_prefix(theirs)?;
        Some(format!("{timm}{rest}"))
    });
    let name = first.unwrap_or_else(|| name.to_owned());
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

        // The names of timm's own towers stay.
        assert_eq!(of(&["cls_token"]), (vec!["cls_token".to_owned()], None));
    }
}
