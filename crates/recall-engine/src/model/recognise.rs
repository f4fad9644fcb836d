//! Which models a file of weights can belong to, by the names and shapes of its tensors.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Backbone, ENTRIES, Family, Size, Style};
use crate::EngineError;
use crate::weights::shapes_of;

impl Backbone {
    /// The models that the weights in a file can belong to: none if it is another one, and several where models
    /// differ in what no tensor shows, such as the activation.
    ///
    /// # Errors
    ///
    /// [`EngineError::Weights`] if it is no file of weights.
    pub fn of_weights(path: &Path) -> Result<Vec<Self>, EngineError> {
        let shapes = shapes_of(path)?;
        let shapes = shapes.iter();
        Ok(Self::of_tensors(
            &shapes
                .map(|(name, shape)| (name.as_str(), &shape[..]))
                .collect(),
        ))
    }

    fn of_tensors(shapes: &BTreeMap<&str, &[usize]>) -> Vec<Self> {
        let fits = |family: Family| match family {
            Family::ResNet { blocks, bottleneck } => resnet(shapes) == Some((blocks, bottleneck)),
            Family::VisionTransformer { patch, size, style } => {
                let Size { width, depth, .. } = size;
                transformer(shapes) == Some((patch, width, depth, seen(style)))
            }
            Family::ConvNet | Family::Head { .. } | Family::Own => false,
        };
        let fitting = ENTRIES.iter().filter(|entry| fits(entry.family));
        fitting.map(|entry| entry.backbone).collect()
    }
}

/// An error of loading weights, with the word that they are those of another model, if they are.
pub(crate) fn of_another_model(error: EngineError, wanted: Backbone, path: &Path) -> EngineError {
    let EngineError::Weights { .. } = &error else {
        return error;
    };
    let found = Backbone::of_weights(path).unwrap_or_default();
    let Some(first) = found.first().filter(|_| !found.contains(&wanted)) else {
        return error;
    };
    EngineError::Weights {
        path: path.to_owned(),
        problem: format!(
            "they are those of {}, and the model is {wanted}: give --set model.backbone={first}",
            either(&found)
        ),
    }
}

/// Their names with "or" between them.
fn either(backbones: &[Backbone]) -> String {
    let names: Vec<&str> = backbones.iter().map(|backbone| backbone.name()).collect();
    names.join(" or ")
}

/// As much of a style as tensors show.
fn seen(style: Style) -> Style {
    match style {
        Style::Clip { .. } => Style::Clip { quick_gelu: false },
        other => other,
    }
}

/// The blocks of each stage, and whether they are bottlenecks.
fn resnet(shapes: &BTreeMap<&str, &[usize]>) -> Option<([usize; 4], bool)> {
    let stem = *shapes.get("conv1.weight")?;
    let blocks = [1, 2, 3, 4].map(|stage| numbered(shapes, &format!("layer{stage}.")));
    let bottleneck = shapes.contains_key("layer1.0.conv3.weight");
    // Wider ones have the same names.
    let inner = if bottleneck { "conv2" } else { "conv1" };
    let first = *shapes.get(format!("layer1.0.{inner}.weight").as_str())?;
    let plain = stem == [64, 3, 7, 7] && first == [64, 64, 3, 3];
    plain.then_some((blocks, bottleneck))
}

/// Pixels a side of a patch, length of a token, number of blocks, and the style.
fn transformer(shapes: &BTreeMap<&str, &[usize]>) -> Option<(usize, usize, usize, Style)> {
    let [width, 3, patch, across] = **shapes.get("patch_embed.proj.weight")? else {
        return None;
    };
    let style = if shapes.contains_key("norm_pre.weight") {
        Style::Clip { quick_gelu: false }
    } else if shapes.contains_key("blocks.0.ls1.gamma") {
        let registers = match shapes.get("reg_token") {
            Some([1, count, _]) => *count,
            _ => 0,
        };
        Style::Dinov2 { registers }
    } else {
        Style::Plain
    };
    (patch == across).then_some((patch, width, numbered(shapes, "blocks."), style))
}

/// One more than the largest number that follows `prefix` in a name.
fn numbered(shapes: &BTreeMap<&str, &[usize]>, prefix: &str) -> usize {
    let numbers = shapes.keys().filter_map(|name| {
        let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
        number.parse::<usize>().ok()
    });
    numbers.max().map_or(0, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tensors: &[(&str, &[usize])]) -> Vec<Backbone> {
        Backbone::of_tensors(&tensors.iter().copied().collect())
    }

    #[test]
    fn what_only_looks_like_a_model_is_none() {
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[("conv1.weight", &[64, 3, 7, 7])]), []);
        // torchvision's wide_resnet50_2.
        let wide: &[(&str, &[usize])] = &[
            ("conv1.weight", &[64, 3, 7, 7]),
            ("layer1.0.conv2.weight", &[128, 128, 3, 3]),
            ("layer1.2.conv3.weight", &[256, 128, 1, 1]),
            ("layer1.0.conv3.weight", &[256, 128, 1, 1]),
            ("layer2.3.conv1.weight", &[1]),
            ("layer3.5.conv1.weight", &[1]),
            ("layer4.2.conv1.weight", &[1]),
        ];
        assert_eq!(found(wide), []);
        let patch: (&str, &[usize]) = ("patch_embed.proj.weight", &[384, 3, 16, 16]);
        assert_eq!(found(&[patch, ("blocks.7.norm1.weight", &[384])]), []);
        let huge = format!("blocks.{}.norm1.weight", u64::MAX);
        assert_eq!(found(&[patch, (&huge, &[384])]), []);
        let whole = [patch, ("blocks.11.norm1.weight", &[384][..])];
        assert_eq!(found(&whole), [Backbone::VitS16]);
    }
}
