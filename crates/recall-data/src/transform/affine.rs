use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// A random affine map about the middle of the resized image, for small data sets. What comes from
/// outside of the image is black. Means what torchvision's `RandomAffine` means with bilinear
/// interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomAffine {
    /// Largest rotation to either side, in degrees.
    ///
    /// From 0 to 180. Default: 0.
    #[cfg_attr(feature = "schemars", schemars(range(min = 0, max = 180)))]
    #[serde(default)]
    pub degrees: f32,
    /// Largest shift across and down, as parts of the width and the height; rounded to whole pixels.
    ///
    /// From 0 to 1. Default: 0, 0.
    #[cfg_attr(feature = "schemars", schemars(extend("minimum" = 0, "maximum" = 1)))]
    #[serde(default)]
    pub translate: (f32, f32),
    /// Smallest and largest factor of size; without it, the size stays.
    ///
    /// Above 0. Default: none.
    #[cfg_attr(feature = "schemars", schemars(extend("exclusiveMinimum" = 0)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<(f32, f32)>,
    /// Largest shear along the rows to either side, in degrees.
    ///
    /// From 0 and below 90. Default: 0.
    #[cfg_attr(feature = "schemars", schemars(range(min = 0), extend("exclusiveMaximum" = 90)))]
    #[serde(default)]
    pub shear: f32,
}

/// One map, as it is drawn.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    degrees: f64,
    translate: [f64; 2],
    scale: f64,
    shear: f64,
}

impl RandomAffine {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        let fail = |field, value: String, expected| {
            Err(DataError::Transform {
                field,
                value,
                expected,
            })
        };
        let Self {
            degrees,
            translate,
            scale,
            shear,
        } = *self;
        if !(0.0..=180.0).contains(&degrees) {
            let expected = "it is an angle, from 0 to 180 degrees";
            return fail("random_affine.degrees", degrees.to_string(), expected);
        }
        if ![translate.0, translate.1]
            .iter()
            .all(|part| (0.0..=1.0).contains(part))
        {
            let expected = "it is two parts of the width and the height, from 0 to 1";
            return fail(
                "random_affine.translate",
                format!("{translate:?}"),
                expected,
            );
        }
        let sound = |(low, high): (f32, f32)| low > 0.0 && low <= high && high.is_finite();
        if !scale.is_none_or(sound) {
            let expected = "it is the smallest and the largest factor, above 0";
            return fail("random_affine.scale", format!("{scale:?}"), expected);
        }
        if !(0.0..90.0).contains(&shear) {
            let expected = "it is an angle, from 0 up to below 90 degrees";
            return fail("random_affine.shear", shear.to_string(), expected);
        }
        Ok(())
    }

    /// Maps interleaved RGB pixels.
    pub(super) fn apply(
        &self,
        pixels: &[u8],
        width: usize,
        height: usize,
        rng: &mut impl Rng,
    ) -> Vec<u8> {
        let mut within = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let degrees = f64::from(self.degrees);
        let [across, down] = [(self.translate.0, width), (self.translate.1, height)]
            .map(|(part, side)| f64::from(part) * side as f64);
        let (low, high) = self.scale.unwrap_or((1.0, 1.0));
        let shear = f64::from(self.shear);
        let drawn = Drawn {
            degrees: within(-degrees, degrees),
            translate: [within(-across, across).round(), within(-down, down).round()],
            scale: within(low.into(), high.into()),
            shear: within(-shear, shear),
        };
        drawn.apply(pixels, width, height)
    }
}

impl Drawn {
    /// From a pixel of the result to a place in the image: `[a, b, c]` is `a x + b y + c`.
    fn inverse(self, width: usize, height: usize) -> [[f64; 3]; 2] {
        let (angle, shear) = (self.degrees.to_radians(), self.shear.to_radians());
        // The forward map is a shear, a rotation by `angle`, a scaling and a shift about the middle.
        let [a, b] = [angle.cos(), -angle.cos() * shear.tan() - angle.sin()];
        let [c, d] = [angle.sin(), -angle.sin() * shear.tan() + angle.cos()];
        // Its determinant without the scale is 1.
        let [a, b, c, d] = [d, -b, -c, a].map(|value| value / self.scale);
        let [x, y] = [width as f64 * 0.5, height as f64 * 0.5];
        let [from_x, from_y] = [x + self.translate[0], y + self.translate[1]];
        [
            [a, b, x - a * from_x - b * from_y],
            [c, d, y - c * from_x - d * from_y],
        ]
    }

    fn apply(self, pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
        let maps = self.inverse(width, height);
        let mut result = vec![0; pixels.len()];
        for (place, out) in result.chunks_exact_mut(3).enumerate() {
            let middle = [place % width, place / width].map(|side| side as f64 + 0.5);
            let [x, y] = maps.map(|[a, b, c]| a * middle[0] + b * middle[1] + c);
            let inside = (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y);
            if inside {
                sample(pixels, [width, height], [x - 0.5, y - 0.5], out);
            }
        }
        result
    }
}

/// The pixel at a place between four; at the edge the outermost ones are repeated.
fn sample(pixels: &[u8], sides: [usize; 2], place: [f64; 2], out: &mut [u8]) {
    let near = [0, 1].map(|axis: usize| {
        let floor = place[axis].floor();
        let last = sides[axis] - 1;
        // A negative place is cut to 0.
        let ends = [floor as usize, (floor + 1.0) as usize].map(|end| end.min(last));
        (ends, place[axis] - floor)
    });
    let ([x, y], [right, down]) = ([near[0].0, near[1].0], [near[0].1, near[1].1]);
    for (channel, out) in out.iter_mut().enumerate() {
        let at = |x: usize, y: usize| f64::from(pixels[(y * sides[0] + x) * 3 + channel]);
        let row = |y: usize| at(x[0], y) + (at(x[1], y) - at(x[0], y)) * right;
        let (upper, lower) = (row(y[0]), row(y[1]));
        *out = (upper + (lower - upper) * down) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Key, Purpose};

    /// The green of the image in `transform/tests.rs`, 11 x 7.
    fn image() -> Vec<u8> {
        let green = |x: usize, y: usize| ((x * x + 3 * y) % 256) as u8;
        (0..77)
            .flat_map(|place| [9, green(place % 11, place / 11), 9])
            .collect()
    }

    #[test]
    #[rustfmt::skip]
    fn a_map_is_torchvisions() {
        let cases = [
            (Drawn { degrees: 20.0, translate: [2.0, -1.0], scale: 1.2, shear: 10.0 }, [
                0, 9, 9, 9, 10, 13, 17, 21, 27, 34, 42, 0, 11, 11, 13, 15, 18, 22, 27, 34, 41, 50, 14, 14, 15, 16,
                19, 23, 28, 34, 41, 49, 58, 17, 17, 18, 21, 24, 28, 34, 41, 48, 57, 67, 0, 20, 22, 25, 29, 34, 40, 48,
                56, 65, 75, 0, 0, 0, 29, 34, 40, 47, 55, 64, 74, 85, 0, 0, 0, 0, 0, 0, 53, 63, 72, 83, 94,
            ]),
            (Drawn { degrees: -35.0, translate: [0.0, 0.0], scale: 0.8, shear: 0.0 }, [
                0, 0, 0, 0, 0, 51, 68, 88, 106, 0, 0, 0, 0, 0, 19, 30, 44, 60, 79, 99, 0, 0, 0, 0, 7, 15, 26, 38, 53,
                70, 89, 110, 0, 0, 1, 6, 13, 22, 34, 47, 63, 80, 100, 0, 0, 3, 7, 12, 20, 30, 42, 56, 72, 0, 0, 0, 0, 9,
                13, 19, 28, 38, 49, 0, 0, 0, 0, 0, 11, 14, 19, 26, 0, 0, 0, 0, 0,
            ]),
        ];
        for (drawn, expected) in cases {
            let found = drawn.apply(&image(), 11, 7);
            for (place, (pixel, expected)) in found.chunks_exact(3).zip(expected).enumerate() {
                assert!(pixel[1].abs_diff(expected) <= 1, "{pixel:?}, not {expected}, at {place}");
            }
        }
    }

    #[test]
    fn nothing_that_is_off_moves_a_pixel() {
        let mut rng = Key::default().generator(Purpose::AUGMENTATION);
        let off = RandomAffine::default();
        assert_eq!(off.apply(&image(), 11, 7, &mut rng), image());
        let on = RandomAffine {
            degrees: 10.0,
            translate: (0.1, 0.1),
            scale: Some((0.9, 1.1)),
            shear: 5.0,
        };
        assert_ne!(on.apply(&image(), 11, 7, &mut rng), image());
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let off = RandomAffine::default();
        for (affine, field) in [
            (
                RandomAffine {
                    degrees: -1.0,
                    ..off
                },
                "degrees",
            ),
            (
                RandomAffine {
                    translate: (0.0, 1.5),
                    ..off
                },
                "translate",
            ),
            (
                RandomAffine {
                    scale: Some((0.0, 1.0)),
                    ..off
                },
                "scale",
            ),
            (RandomAffine { shear: 90.0, ..off }, "shear"),
        ] {
            let message = affine.validate().unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
        assert!(off.validate().is_ok());
    }
}
