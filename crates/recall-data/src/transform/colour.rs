use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Random changes of brightness, contrast, saturation and hue, in a random order. A strength `s`
/// draws a factor uniformly from `[max(0, 1 - s), 1 + s]`, and for the hue a part of the circle of
/// colours from `[-s, s]`; at 0 the step is left out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ColourJitter {
    /// Strength for the brightness.
    ///
    /// At least 0. Default: 0.
    #[cfg_attr(feature = "schemars", schemars(range(min = 0)))]
    #[serde(default)]
    pub brightness: f32,
    /// Strength for the contrast.
    ///
    /// At least 0. Default: 0.
    #[cfg_attr(feature = "schemars", schemars(range(min = 0)))]
    #[serde(default)]
    pub contrast: f32,
    /// Strength for the saturation.
    ///
    /// At least 0. Default: 0.
    #[cfg_attr(feature = "schemars", schemars(range(min = 0)))]
    #[serde(default)]
    pub saturation: f32,
    /// Strength for the hue.
    ///
    /// From 0 to 0.5. Default: 0.
    #[cfg_attr(feature = "schemars", schemars(range(min = 0, max = 0.5)))]
    #[serde(default)]
    pub hue: f32,
}

#[derive(Clone, Copy)]
enum Step {
    Brightness,
    Contrast,
    Saturation,
    Hue,
}

impl ColourJitter {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        for (field, strength) in [
            ("colour_jitter.brightness", self.brightness),
            ("colour_jitter.contrast", self.contrast),
            ("colour_jitter.saturation", self.saturation),
        ] {
            if !(strength >= 0.0 && strength.is_finite()) {
                return Err(DataError::Transform {
                    field,
                    value: strength.to_string(),
                    expected: "it is a strength, at least 0",
                });
            }
        }
        if !(0.0..=0.5).contains(&self.hue) {
            return Err(DataError::Transform {
                field: "colour_jitter.hue",
                value: self.hue.to_string(),
                expected: "it is a part of the circle of colours, from 0 to 0.5",
            });
        }
        Ok(())
    }

    /// Changes interleaved RGB pixels in place.
    pub(super) fn apply(&self, pixels: &mut [u8], rng: &mut impl Rng) {
        let mut steps = [
            (Step::Brightness, self.brightness),
            (Step::Contrast, self.contrast),
            (Step::Saturation, self.saturation),
            (Step::Hue, self.hue),
        ];
        if self.hue == 0.0 {
            // Without the hue three steps are put in order: as it was before there was one, so that
            // older runs can be repeated.
            steps[..3].shuffle(rng);
        } else {
            steps.shuffle(rng);
        }
        for (step, strength) in steps {
            if strength > 0.0 {
                let (low, high) = match step {
                    Step::Hue => (-strength, strength),
                    _ => ((1.0 - strength).max(0.0), 1.0 + strength),
                };
                let factor = low + (high - low) * rng.random::<f32>();
                step.apply(pixels, factor);
            }
        }
    }
}

impl Step {
    fn apply(self, pixels: &mut [u8], factor: f32) {
        match self {
            Self::Brightness => {
                pixels
                    .iter_mut()
                    .for_each(|value| *value = blend(0, *value, factor));
            }
            Self::Contrast => {
                let mean = mean_luma(pixels);
                pixels
                    .iter_mut()
                    .for_each(|value| *value = blend(mean, *value, factor));
            }
            Self::Saturation => {
                for pixel in pixels.chunks_exact_mut(3) {
                    let grey = luma(pixel);
                    pixel
                        .iter_mut()
                        .for_each(|value| *value = blend(grey, *value, factor));
                }
            }
            Self::Hue => {
                // The circle has 255 steps, and a shift that is cut to one of them.
                let shift = (factor * 255.0) as i32;
                for pixel in pixels.chunks_exact_mut(3) {
                    let [hue, saturation, value] = to_hsv([pixel[0], pixel[1], pixel[2]]);
                    let hue = (i32::from(hue) + shift) as u8;
                    pixel.copy_from_slice(&from_hsv([hue, saturation, value]));
                }
            }
        }
    }
}

/// `from` at factor 0, `to` at 1, beyond it above; cut to a byte towards zero, as Pillow does.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // A cast of a float to an integer saturates.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// ITU-R 601 luma in 16-bit fixed point, with Pillow's coefficients.
fn luma(pixel: &[u8]) -> u8 {
    let sum = 19_595 * u32::from(pixel[0])
        + 38_470 * u32::from(pixel[1])
        + 7_471 * u32::from(pixel[2])
        + 0x8000;
    (sum >> 16) as u8
}

/// Hue, saturation and value as bytes, cut as Pillow cuts them.
fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let most = red.max(green).max(blue);
    let range = most - red.min(green).min(blue);
    if range == 0 {
        return [0, 0, most];
    }
    let part = |colour: u8| f32::from(most - colour) / f32::from(range);
    let sixth = if red == most {
        part(blue) - part(green)
    } else if green == most {
        2.0 + part(red) - part(blue)
    } else {
        4.0 + part(green) - part(red)
    };
    let hue = ((f64::from(sixth) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = f32::from(range) / f32::from(most);
    let cut = |value: f32| (f64::from(value) * 255.0) as u8;
    [cut(hue), cut(saturation), most]
}

/// The way back.
fn from_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    let sixth = f64::from(hue) * 6.0 / 255.0;
    let within = (sixth - sixth.floor()) as f32;
    let saturation = f32::from(saturation) / 255.0;
    let shade = |part: f64| (f64::from(value) * (1.0 - part)).round() as u8;
    let low = shade(saturation.into());
    let falling = shade((saturation * within).into());
    let rising = shade(f64::from(saturation) * (1.0 - f64::from(within)));
    match sixth as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

fn mean_luma(pixels: &[u8]) -> u8 {
    let count = (pixels.len() / 3).max(1) as f64;
    let sum: u64 = pixels
        .chunks_exact(3)
        .map(|pixel| u64::from(luma(pixel)))
        .sum();
    (sum as f64 / count + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Key, Purpose};

    /// Six pixels and what Pillow's `ImageEnhance` makes of them, planar.
    #[rustfmt::skip]
    const PLANES: [u8; 18] = [0, 37, 74, 11, 48, 85, 0, 1, 4, 3, 4, 7, 255, 250, 245, 6, 1, 252];

    fn interleaved(planes: [u8; 18]) -> Vec<u8> {
        (0..6)
            .flat_map(|pixel| [0, 6, 12].map(|plane| planes[plane + pixel]))
            .collect()
    }

    #[test]
    #[rustfmt::skip]
    fn each_step_is_pillows() {
        let cases: [(Step, f32, [u8; 18]); 9] = [
            (Step::Hue, 0.1, [150, 183, 214, 11, 48, 226, 0, 2, 5, 5, 31, 8, 255, 250, 245, 3, 1, 252]),
            (Step::Hue, -0.3, [0, 2, 5, 3, 14, 8, 255, 250, 245, 4, 1, 252, 54, 90, 123, 11, 48, 134]),
            (Step::Hue, 0.5, [255, 224, 186, 3, 1, 186, 246, 250, 245, 11, 46, 252, 0, 2, 5, 8, 48, 8]),
            (Step::Brightness, 0.6, [0, 22, 44, 6, 28, 51, 0, 0, 2, 1, 2, 4, 153, 150, 147, 3, 0, 151]),
            (Step::Brightness, 1.5, [0, 55, 111, 16, 72, 127, 0, 1, 6, 4, 6, 10, 255, 255, 255, 9, 1, 255]),
            (Step::Contrast, 0.6, [13, 35, 58, 20, 42, 64, 13, 14, 16, 15, 16, 17, 166, 163, 160, 17, 14, 164]),
            (Step::Contrast, 1.5, [0, 38, 94, 0, 55, 110, 0, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 255]),
            (Step::Saturation, 0.6, [11, 38, 65, 9, 35, 74, 11, 16, 23, 4, 9, 27, 164, 166, 167, 6, 7, 174]),
            (Step::Saturation, 1.5, [0, 35, 85, 13, 63, 98, 0, 0, 0, 1, 0, 0, 255, 255, 255, 6, 0, 255]),
        ];
        for (number, (step, factor, expected)) in cases.into_iter().enumerate() {
            let mut pixels = interleaved(PLANES);
            step.apply(&mut pixels, factor);
            assert_eq!(pixels, interleaved(expected), "case {number}");
        }
    }

    #[test]
    fn no_strength_changes_nothing_and_a_strength_does() {
        let mut rng = Key::default().generator(Purpose::AUGMENTATION);
        let mut pixels = interleaved(PLANES);
        ColourJitter::default().apply(&mut pixels, &mut rng);
        assert_eq!(pixels, interleaved(PLANES));
        let strong = ColourJitter {
            brightness: 0.5,
            contrast: 0.5,
            saturation: 0.5,
            hue: 0.1,
        };
        strong.apply(&mut pixels, &mut rng);
        assert_ne!(pixels, interleaved(PLANES));
    }
}
