//! Images embedded at several sizes.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use recall_step::l2_normalise;

use crate::{EngineError, ModelConfig};

/// The largest factor of size: at it an image has 64 times its pixels.
const LARGEST: f64 = 8.0;

/// The largest power of the mean: numbers of unit rows stay far from the smallest of `f32`.
const HIGHEST: f64 = 16.0;

/// At which sizes an image is embedded, and how its embeddings become one: the generalised mean over the sizes,
/// brought to unit length.
///
/// That is what the code of GeM (cirtorch) does with several scales. It takes the exponent of the network's pooling
/// as `power` where nothing stands behind that, else 1. A number below zero, which its power has none for, keeps its
/// sign here: it counts as the power of its absolute value with that sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Scales {
    /// By which the sides of an image are multiplied, each above 0 and at most 8.
    pub factors: Vec<f64>,
    /// The power of the mean, above 0 and at most 16. At 1 embeddings are added up.
    pub power: f64,
}

/// The images as they are.
impl Default for Scales {
    fn default() -> Self {
        Self {
            factors: vec![1.0],
            power: 1.0,
        }
    }
}

impl Scales {
    /// Whether images are embedded as they are and no more.
    pub fn are_plain(&self) -> bool {
        self.factors == [1.0]
    }

    /// What is wrong with the numbers: the name of the field, and a sentence without a full stop.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if self.factors.is_empty() {
            return Some(("factors", "give at least one factor of size".into()));
        }
        let within = |value: f64, most: f64| value > 0.0 && value <= most;
        if let Some(factor) = self.factors.iter().find(|x| !within(**x, LARGEST)) {
            let problem = format!("{factor} is no factor of size above 0 and at most {LARGEST}");
            return Some(("factors", problem));
        }
        (!within(self.power, HIGHEST)).then(|| {
            let problem = format!("{} is no power above 0 and at most {HIGHEST}", self.power);
            ("power", problem)
        })
    }

    /// Refuses numbers out of their range.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match self.problem() {
            Some((field, problem)) => Err(EngineError::Batch(format!("scales.{field}: {problem}"))),
            None => Ok(()),
        }
    }

    /// What rows at one size are for the mean.
    pub(crate) fn raised<B: Backend>(&self, rows: Tensor<B, 2>) -> Tensor<B, 2> {
        signed_power(rows, self.power)
    }

    /// The embeddings, from the sum over all sizes of what they are for the mean.
    pub(crate) fn combined<B: Backend>(&self, sum: Tensor<B, 2>) -> Tensor<B, 2> {
        l2_normalise(signed_power(sum, 1.0 / self.power))
    }
}

fn signed_power<B: Backend>(rows: Tensor<B, 2>, power: f64) -> Tensor<B, 2> {
    match power == 1.0 {
        true => rows,
        false => rows.clone().sign() * rows.abs().powf_scalar(power),
    }
}

/// The sides of images that a model takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sides {
    multiple_of: usize,
    at_least: usize,
}

impl Sides {
    pub fn of(model: &ModelConfig) -> Self {
        Self {
            multiple_of: model.side_step(),
            at_least: model.smallest_side(),
        }
    }

    /// The length of a side at another size, and how far apart its pixels lie in those of the image.
    fn scaled(self, side: usize, factor: f64) -> (usize, f64) {
        let plain = (side as f64 * factor) as usize;
        let taken = plain.max(self.at_least).max(1);
        let taken = ((taken + self.multiple_of / 2) / self.multiple_of).max(1) * self.multiple_of;
        match taken == plain {
            true => (taken, 1.0 / factor),
            false => (taken, side as f64 / taken as f64),
        }
    }

    /// Images `[n, 3, height, width]` at another size, bilinear between the nearest pixels as PyTorch's `interpolate`
    /// does it: sides are cut to whole pixels, and these lie `1 / factor` apart.
    pub fn resized<B: Backend>(self, images: Tensor<B, 4>, factor: f64) -> Tensor<B, 4> {
        if factor == 1.0 {
            return images;
        }
        let [_, _, height, width] = images.dims();
        let images = along(images, 2, height, self.scaled(height, factor));
        along(images, 3, width, self.scaled(width, factor))
    }
}

/// The images with one axis of `side` pixels resized.
fn along<B: Backend>(
    images: Tensor<B, 4>,
    axis: usize,
    side: usize,
    (length, apart): (usize, f64),
) -> Tensor<B, 4> {
    let device = images.device();
    let (mut first, mut second, mut share) = (Vec::new(), Vec::new(), Vec::new());
    for place in 0..length {
        let at = ((place as f64 + 0.5) * apart - 0.5).max(0.0);
        let before = (at as usize).min(side - 1);
        first.push(before as i64);
        second.push((before + 1).min(side - 1) as i64);
        share.push((at - before as f64).min(1.0) as f32);
    }
    let picked = |places: Vec<i64>| {
        let places = TensorData::new(places, [length]);
        images
            .clone()
            .select(axis, Tensor::<B, 1, Int>::from_data(places, &device))
    };
    let mut shape = [1; 4];
    shape[axis] = length;
    let share = Tensor::<B, 1>::from_data(TensorData::new(share, [length]), &device).reshape(shape);
    let (first, second) = (picked(first), picked(second));
    first.clone() + (second - first) * share
}

#[cfg(test)]
mod tests;
