use image::RgbImage;

use super::{MAX_SIDE, check_side, planar, resize};
use crate::DataError;
use crate::picture::Picture;

/// What an image goes through that is evaluated as a whole: it keeps its ratio, and only one that is longer
/// than `longest_side` becomes smaller.
///
/// Sizes are those of Pillow's `Image.thumbnail`, by which the code of GeM (cirtorch) and what follows it bring
/// images to their size, and so is the filter, Lanczos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeTransform {
    /// The longest side that an image may have, in pixels.
    pub longest_side: usize,
    /// What each side is brought to a multiple of, the nearest one and at least one: the side of a patch of a
    /// vision transformer. 1 for models that take any side. It changes the ratio by half a patch at most.
    pub multiple_of: usize,
    /// The shortest side that the model takes, to which shorter ones are stretched.
    pub at_least: usize,
}

impl WholeTransform {
    /// For models that take images of any size.
    pub fn new(longest_side: usize) -> Self {
        Self {
            longest_side,
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
        check_side("longest_side", self.longest_side)?;
        check_side("multiple_of", self.multiple_of)?;
        check_side("at_least", self.at_least)
    }

    /// Height and width of what becomes of an image of `width` x `height` pixels.
    pub fn size_of(&self, width: u32, height: u32) -> [usize; 2] {
        self.thumbnail(width, height)
            .map(|side| self.whole(side.max(self.at_least)))
    }

    /// Brings `image` to planar `[3, height, width]` pixels, of [`size_of`](Self::size_of) it.
    ///
    /// # Errors
    ///
    /// A field out of its range, an image without pixels.
    pub fn apply(&self, image: &RgbImage) -> Result<Vec<u8>, DataError> {
        self.validate()?;
        Ok(self.pixels(&Picture::of(image)?)?.0)
    }

    /// The planar pixels with their height and width. The fields are valid.
    pub(crate) fn pixels(&self, picture: &Picture<'_>) -> Result<(Vec<u8>, [usize; 2]), DataError> {
        let (width, height) = picture.dimensions();
        let size = self.size_of(width, height);
        let interleaved = resize::resize_sharply(picture, [size[1] as u32, size[0] as u32])?;
        let mut pixels = vec![0; interleaved.len()];
        planar(&interleaved, &mut pixels);
        Ok((pixels, size))
    }

    /// Height and width of Pillow's thumbnail: the shorter side is the whole number beside the exact one by which
    /// the ratio changes least.
    fn thumbnail(&self, width: u32, height: u32) -> [usize; 2] {
        let longest = self.longest_side;
        let [tall, wide] = [height, width].map(|side| side as usize);
        if tall <= longest && wide <= longest {
            return [tall, wide];
        }
        let (most, ratio) = (longest as f64, wide as f64 / tall as f64);
        let nearest = |exact: f64, difference: &dyn Fn(f64) -> f64| {
            let (low, high) = (exact.floor(), exact.ceil());
            let side = match difference(low) <= difference(high) {
                true => low,
                false => high,
            };
            (side as usize).max(1)
        };
        match ratio <= 1.0 {
            true => {
                let wide = nearest(most * ratio, &|side| (ratio - side / most).abs());
                [longest, wide]
            }
            false => {
                let tall = nearest(most / ratio, &|side| match side {
                    0.0 => 0.0,
                    _ => (ratio - most / side).abs(),
                });
                [tall, longest]
            }
        }
    }

    /// The nearest multiple, as far as a side can be that long.
    fn whole(&self, side: usize) -> usize {
        let of = self.multiple_of.max(1);
        let most = (MAX_SIDE / of).max(1);
        ((side + of / 2) / of).clamp(1, most) * of
    }
}

#[cfg(test)]
mod tests;
