//! How images go through the model, to be trained on or judged.

use recall_data::{RatioTransform, Transform, WholeTransform};
use recall_engine::Scales;

use super::{ConfigError, RunConfig};

/// How images go through a model that embeds them, to be judged or searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct Passes {
    /// Images that are loaded, and embedded, at once.
    pub chunk: usize,
    /// The sizes at which each is embedded.
    pub scales: Scales,
}

impl RunConfig {
    /// What happens to an image that is trained on: of `image.train`, with sides that the model takes.
    pub fn trained_images(&self) -> Transform {
        let train = self.image.train.clone();
        match self.image.keep_ratio {
            true => Transform::Ratio(RatioTransform {
                train,
                multiple_of: self.model.side_step(),
                at_least: self.model.smallest_side(),
            }),
            false => train.into(),
        }
    }

    /// What happens to an image that is embedded to be judged: of `image.eval`, with sides that the model takes.
    pub fn judged_images(&self) -> Transform {
        match self.whole() {
            Some(whole) => whole.into(),
            None => self.image.eval.into(),
        }
    }

    /// How images go through the model to be judged.
    ///
    /// `evaluation.chunk` counts images of `image.eval.crop`. Where they stay whole, as many are taken at once as have
    /// the pixels of these, even if all were square: at least one. So memory does not grow with their size, unless
    /// one alone is larger than all of these.
    pub fn passes(&self) -> Passes {
        let chunk = self.evaluation.chunk;
        let squared = |side: usize| (side as u128).saturating_mul(side as u128).max(1);
        Passes {
            chunk: match self.image.eval.longest_side {
                None => chunk,
                Some(side) => {
                    let pixels = (chunk as u128).saturating_mul(squared(self.image.eval.crop));
                    let images = (pixels / squared(side)).clamp(1, chunk.max(1) as u128);
                    usize::try_from(images).unwrap_or(chunk)
                }
            },
            scales: self.scales(),
        }
    }

    /// Height and width of the largest image that is judged.
    pub(crate) fn largest_judged(&self) -> [usize; 2] {
        match (self.whole(), self.image.eval.longest_side) {
            (Some(whole), Some(side)) => {
                let side = u32::try_from(side).unwrap_or(u32::MAX);
                whole.size_of(side, side)
            }
            _ => [self.image.eval.crop; 2],
        }
    }

    /// Whether each judged image has one size and goes through the model once, as it is.
    pub(crate) fn judges_one_size(&self) -> bool {
        self.image.eval.longest_side.is_none() && self.scales().are_plain()
    }

    fn whole(&self) -> Option<WholeTransform> {
        (self.image.eval.whole()).map(|whole| WholeTransform {
            multiple_of: self.model.side_step(),
            at_least: self.model.smallest_side(),
            ..whole
        })
    }

    fn scales(&self) -> Scales {
        Scales {
            factors: self.evaluation.scales.clone(),
            power: self.evaluation.scale_power,
        }
    }

    /// Refuses sizes of judged images that make no sense together.
    pub(super) fn check_judged(&self) -> Result<(), ConfigError> {
        let value = |key, problem| Err(ConfigError::Value { key, problem });
        if let Some((field, problem)) = self.scales().problem() {
            let key = match field {
                "power" => "evaluation.scale_power",
                _ => "evaluation.scales",
            };
            return value(key, problem);
        }
        self.check_rows("image.keep_ratio", self.image.keep_ratio)?;
        if self.image.keep_ratio && self.loss.input_mixup.is_some() {
            let problem = "loss.input_mixup mixes images of one size; turn one of them off";
            return value("image.keep_ratio", problem.into());
        }
        let Some(side) = self.image.eval.longest_side else {
            return self.check_rows("evaluation.scales", !self.scales().are_plain());
        };
        self.check_rows("image.eval.longest_side", true)?;
        let smallest = self.model.smallest_side();
        if side < smallest {
            let name = self.model.backbone;
            let problem = format!("{name} takes no side of fewer than {smallest} pixels");
            return value("image.eval.longest_side", problem);
        }
        match &self.image.cache {
            Some(cache) if cache.shorter_side < side => value(
                "image.cache.shorter_side",
                format!(
                    "images that are kept with a shorter side of {} pixels cannot be evaluated with up to {side} \
                     (image.eval.longest_side): give at least as many",
                    cache.shorter_side
                ),
            ),
            _ => Ok(()),
        }
    }

    /// Rows of features have no size.
    fn check_rows(&self, key: &'static str, set: bool) -> Result<(), ConfigError> {
        match set && self.model.backbone.takes_features() {
            true => Err(ConfigError::Value {
                key,
                problem: format!(
                    "{} takes rows of features, which have no size; leave it out",
                    self.model.backbone
                ),
            }),
            false => Ok(()),
        }
    }
}
