use image::RgbImage;
use rand::Rng;

use super::{RandomResizedCrop, TrainTransform, check_side};
use crate::DataError;
use crate::picture::Picture;

/// Width over height of the sizes that images are brought to: those that cameras give, and their inverses.
const RATIOS: [f64; 6] = [1.0, 5.0 / 4.0, 4.0 / 3.0, 3.0 / 2.0, 16.0 / 9.0, 2.0];

/// Random augmentation of an image that keeps its ratio: it is brought to one of eleven sizes, all of about the same
/// area, so that images of a batch can still be stacked by size.
///
/// The sizes have the ratios 1, 5:4, 4:3, 3:2, 16:9 and 2:1, upright and across, and an image takes the one that is
/// nearest to its own. Ratios of a random crop are times that of the size. A square image comes out as
/// [`TrainTransform`] gives it, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct RatioTransform {
    /// What happens to an image; the area of its `size` is that of all sizes.
    pub train: TrainTransform,
    /// What sides are multiples of: the side of a patch of a vision transformer, 1 for models that take any side.
    pub multiple_of: usize,
    /// The shortest side that the model takes.
    pub at_least: usize,
}

impl RatioTransform {
    /// For models that take images of any size.
    pub fn new(train: TrainTransform) -> Self {
        Self {
            train,
            multiple_of: 1,
            at_least: 1,
        }
    }

    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        self.train.validate()?;
        check_side("multiple_of", self.multiple_of)?;
        check_side("at_least", self.at_least)
    }

    /// Height and width of what becomes of an image of `width` x `height` pixels.
    pub fn size_of(&self, width: u32, height: u32) -> [usize; 2] {
        let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
        let own = (width / height).ln();
        let distance = |ratio: f64| (own.abs() - ratio.ln()).abs();
        let nearest = RATIOS
            .into_iter()
            .min_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        let ratio = nearest.unwrap_or(1.0);
        let [tall, wide] = self.train.size;
        let area = tall as f64 * wide as f64;
        let sides = [(area / ratio).sqrt(), (area * ratio).sqrt()].map(|side| self.whole(side));
        match own < 0.0 {
            true => [sides[1], sides[0]],
            false => sides,
        }
    }

    /// A side that the model takes, the nearest one.
    fn whole(&self, side: f64) -> usize {
        let multiple = self.multiple_of;
        let least = self.at_least.div_ceil(multiple).max(1);
        let count = (side / multiple as f64).round() as usize;
        count.max(least) * multiple
    }

    /// Augments `image` to planar `[3, height, width]` pixels, of [`size_of`](Self::size_of) it.
    ///
    /// # Errors
    ///
    /// A field out of its range, an image without pixels.
    pub fn apply(&self, image: &RgbImage, rng: &mut impl Rng) -> Result<Vec<u8>, DataError> {
        self.validate()?;
        Ok(self.pixels(&Picture::of(image)?, rng)?.0)
    }

    /// The planar pixels with their height and width. The fields are valid.
    pub(crate) fn pixels(
        &self,
        picture: &Picture<'_>,
        rng: &mut impl Rng,
    ) -> Result<(Vec<u8>, [usize; 2]), DataError> {
        let (width, height) = picture.dimensions();
        let size @ [tall, wide] = self.size_of(width, height);
        let ratio = wide as f32 / tall as f32;
        let crop = self.train.random_resized_crop;
        let transform = TrainTransform {
            size,
            random_resized_crop: crop.map(|crop| RandomResizedCrop {
                ratio: (crop.ratio.0 * ratio, crop.ratio.1 * ratio),
                ..crop
            }),
            ..self.train.clone()
        };
        let mut pixels = vec![0; 3 * tall * wide];
        transform.apply_to(picture, rng, &mut pixels)?;
        Ok((pixels, size))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_size(size: [usize; 2]) -> RatioTransform {
        RatioTransform::new(TrainTransform {
            size,
            ..TrainTransform::default()
        })
    }

    #[test]
    fn photographs_keep_their_ratio_and_the_area() {
        let transform = of_size([240, 240]);
        for (width, height, size) in [
            (100, 100, [240, 240]),
            (640, 480, [208, 277]),
            (480, 640, [277, 208]),
            (6000, 4000, [196, 294]),
            (1920, 1080, [180, 320]),
            (1080, 1920, [320, 180]),
            // Beyond the last ratio nothing is any longer.
            (3000, 10, [170, 339]),
            (1, 5000, [339, 170]),
        ] {
            assert_eq!(transform.size_of(width, height), size, "{width} x {height}");
        }
        let patches = RatioTransform {
            multiple_of: 14,
            at_least: 14,
            ..of_size([224, 224])
        };
        assert_eq!(patches.size_of(640, 480), [196, 252]);
        assert_eq!(patches.size_of(500, 500), [224, 224]);
        let least = RatioTransform {
            at_least: 9,
            ..of_size([8, 8])
        };
        assert_eq!(least.size_of(10, 20), [11, 9]);
    }

    proptest! {
        #[test]
        fn sizes_suit_the_model_and_their_area_is_the_one_wanted(
            (width, height) in (1_u32..5000, 1_u32..5000),
            (side, patch) in (64_usize..600, 1_usize..=32),
        ) {
            let transform = RatioTransform {
                multiple_of: patch,
                at_least: patch,
                ..of_size([side, side])
            };
            let [tall, wide] = transform.size_of(width, height);
            prop_assert_eq!((tall % patch, wide % patch), (0, 0));
            // Turned images come out turned.
            prop_assert_eq!(transform.size_of(height, width), [wide, tall]);
            // Each side is at most half a patch off.
            let off = patch as f64 / 2.0 / (side as f64 / 2.0_f64.sqrt());
            let area = (tall * wide) as f64 / (side * side) as f64;
            let most = (1.0 + off).powi(2);
            prop_assert!(area <= most && area >= 2.0 - most, "{tall} x {wide} of {side}²");
        }
    }
}
