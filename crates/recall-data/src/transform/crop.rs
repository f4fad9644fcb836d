use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::picture::Region;

/// A random part of the image, of a random area and aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Smallest and largest area, as parts of the image's.
    ///
    /// Above 0 and up to 1. Default: 0.08, 1.
    #[cfg_attr(feature = "schemars", schemars(extend("exclusiveMinimum" = 0, "maximum" = 1)))]
    pub scale: (f32, f32),
    /// Smallest and largest ratio of width to height, drawn uniformly in the logarithm.
    ///
    /// Above 0. Default: 3/4, 4/3.
    #[cfg_attr(feature = "schemars", schemars(extend("exclusiveMinimum" = 0)))]
    pub ratio: (f32, f32),
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self {
            scale: (0.08, 1.0),
            ratio: (3.0 / 4.0, 4.0 / 3.0),
        }
    }
}

impl RandomResizedCrop {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        let (low, high) = self.scale;
        if !(low > 0.0 && low <= high && high <= 1.0) {
            return Err(DataError::Transform {
                field: "random_resized_crop.scale",
                value: format!("({low}, {high})"),
                expected: "it is the smallest and the largest part of the area, above 0 and up to 1",
            });
        }
        let (low, high) = self.ratio;
        if !(low > 0.0 && low <= high && high.is_finite()) {
            return Err(DataError::Transform {
                field: "random_resized_crop.ratio",
                value: format!("({low}, {high})"),
                expected: "it is the smallest and the largest ratio of width to height, above 0",
            });
        }
        Ok(())
    }

    /// Draws a region of a `width` x `height` image: ten tries, then the largest part in the
    /// middle whose aspect ratio is allowed.
    pub(super) fn draw(&self, width: u32, height: u32, rng: &mut impl Rng) -> Region {
        let area = f64::from(width) * f64::from(height);
        let uniform = |low: f64, high: f64, rng: &mut _| low + (high - low) * unit(rng);
        let (scale_low, scale_high) = (f64::from(self.scale.0), f64::from(self.scale.1));
        let (ratio_low, ratio_high) = (f64::from(self.ratio.0), f64::from(self.ratio.1));
        for _ in 0..10 {
            let target = area * uniform(scale_low, scale_high, rng);
            let ratio = uniform(ratio_low.ln(), ratio_high.ln(), rng).exp();
            // Saturating casts: an absurd ratio gives a side that is too long, and another try.
            let crop_width = (target * ratio).sqrt().round_ties_even() as u32;
            let crop_height = (target / ratio).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                let top = rng.random_range(0..=height - crop_height);
                let left = rng.random_range(0..=width - crop_width);
                return Region {
                    left,
                    top,
                    width: crop_width,
                    height: crop_height,
                };
            }
        }

        let whole_ratio = f64::from(width) / f64::from(height);
        let (crop_width, crop_height) = if whole_ratio < ratio_low {
            (
                width,
                (f64::from(width) / ratio_low).round_ties_even() as u32,
            )
        } else if whole_ratio > ratio_high {
            (
                (f64::from(height) * ratio_high).round_ties_even() as u32,
                height,
            )
        } else {
            (width, height)
        };
        let (crop_width, crop_height) = (crop_width.clamp(1, width), crop_height.clamp(1, height));
        Region {
            left: (width - crop_width) / 2,
            top: (height - crop_height) / 2,
            width: crop_width,
            height: crop_height,
        }
    }
}

/// Uniform in [0, 1).
fn unit(rng: &mut impl Rng) -> f64 {
    rng.random()
}
