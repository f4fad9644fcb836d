//! From a decoded image to the pixels of a batch, with the semantics of torchvision on Pillow
//! images, so that a recipe written for those means the same here.

mod affine;
mod colour;
mod crop;
mod ratio;
mod resize;
mod whole;

pub use affine::RandomAffine;
pub use colour::ColourJitter;
pub use crop::RandomResizedCrop;
pub use ratio::RatioTransform;
pub use whole::WholeTransform;

use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::picture::{Picture, Region};
pub(crate) use resize::resize_rgb;

/// The largest side of an output image, in pixels.
const MAX_SIDE: usize = 16_384;

/// The transforms of a run. In a configuration file what is not written is off: without
/// `random_resized_crop` nothing is cropped, without `horizontal_flip` nothing is mirrored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformConfig {
    /// For images that are trained on.
    pub train: TrainTransform,
    /// For images that are evaluated.
    pub eval: EvalTransform,
}

/// Random augmentation: crop, resize, mirror, affine map, colours, in this order.
///
/// The default is the common recipe of metric learning: a random resized crop to 224 x 224 and a
/// flip of every other image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrainTransform {
    /// Height and width of images that are trained on, in pixels.
    ///
    /// From 1 to 16,384. Default: 224, 224.
    #[cfg_attr(feature = "schemars", schemars(inner(range(min = 1, max = 16_384))))]
    pub size: [usize; 2],
    /// The part of the image that is resized to `size`; without it, all of the image.
    ///
    /// Default: scale 0.08 to 1, aspect ratio 3/4 to 4/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Probability of mirroring left and right.
    ///
    /// From 0 to 1. Default: 0.5.
    #[cfg_attr(feature = "schemars", schemars(range(min = 0, max = 1)))]
    #[serde(default)]
    pub horizontal_flip: f32,
    /// A random rotation, shift, scaling and shear.
    ///
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_affine: Option<RandomAffine>,
    /// Random changes of the colours.
    ///
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour_jitter: Option<ColourJitter>,
}

impl Default for TrainTransform {
    fn default() -> Self {
        Self {
            size: [224, 224],
            random_resized_crop: Some(RandomResizedCrop::default()),
            horizontal_flip: 0.5,
            random_affine: None,
            colour_jitter: None,
        }
    }
}

impl TrainTransform {
    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        for side in self.size {
            check_side("size", side)?;
        }
        if !(0.0..=1.0).contains(&self.horizontal_flip) {
            return Err(DataError::Transform {
                field: "horizontal_flip",
                value: self.horizontal_flip.to_string(),
                expected: "it is a probability, from 0 to 1",
            });
        }
        self.random_resized_crop
            .as_ref()
            .map_or(Ok(()), RandomResizedCrop::validate)?;
        self.random_affine
            .as_ref()
            .map_or(Ok(()), RandomAffine::validate)?;
        self.colour_jitter
            .as_ref()
            .map_or(Ok(()), ColourJitter::validate)
    }

    /// Whether an image comes out the same each time.
    pub fn is_fixed(&self) -> bool {
        let Self {
            size: _,
            random_resized_crop,
            horizontal_flip,
            random_affine,
            colour_jitter,
        } = self;
        random_resized_crop.is_none()
            && *horizontal_flip == 0.0
            && random_affine.is_none()
            && colour_jitter.is_none()
    }

    /// Augments `image` to planar `[3, height, width]` pixels.
    ///
    /// # Errors
    ///
    /// A field out of its range, an image without pixels.
    pub fn apply(&self, image: &RgbImage, rng: &mut impl Rng) -> Result<Vec<u8>, DataError> {
        self.validate()?;
        let [height, width] = self.size;
        let mut pixels = vec![0; 3 * height * width];
        self.apply_to(&Picture::of(image)?, rng, &mut pixels)?;
        Ok(pixels)
    }

    /// Writes the planar pixels of `picture` to `out`. The fields are valid.
    pub(crate) fn apply_to(
        &self,
        picture: &Picture<'_>,
        rng: &mut impl Rng,
        out: &mut [u8],
    ) -> Result<(), DataError> {
        let (width, height) = picture.dimensions();
        let region = match &self.random_resized_crop {
            Some(crop) => crop.draw(width, height, rng),
            None => Region::whole(width, height),
        };
        let [height, width] = self.size;
        let mut pixels = resize_rgb(picture, region, width as u32, height as u32)?;
        if self.horizontal_flip > 0.0 && rng.random::<f32>() < self.horizontal_flip {
            mirror(&mut pixels, width);
        }
        if let Some(affine) = &self.random_affine {
            pixels = affine.apply(&pixels, width, height, rng);
        }
        if let Some(jitter) = &self.colour_jitter {
            jitter.apply(&mut pixels, rng);
        }
        planar(&pixels, out);
        Ok(())
    }
}

/// What an evaluated image goes through: the shorter side is resized, then the middle is cropped; with
/// `longest_side` neither happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EvalTransform {
    /// Length of the shorter side of images that are evaluated, in pixels.
    ///
    /// From 1 to 16,384. Default: 256.
    #[cfg_attr(feature = "schemars", schemars(range(min = 1, max = 16_384)))]
    pub resize: usize,
    /// Side of the square that is cut from the middle, in pixels, at most `resize`.
    ///
    /// Default: 224.
    #[cfg_attr(feature = "schemars", schemars(range(min = 1, max = 16_384)))]
    pub crop: usize,
    /// Evaluates whole images, in their ratio and without a crop: those whose longer side has more pixels are made
    /// smaller, none is enlarged. For landmarks; 1024 in their literature.
    ///
    /// From 1 to 16,384. Default: off.
    #[cfg_attr(feature = "schemars", schemars(range(min = 1, max = 16_384)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_side: Option<usize>,
}

impl Default for EvalTransform {
    fn default() -> Self {
        Self {
            resize: 256,
            crop: 224,
            longest_side: None,
        }
    }
}

impl EvalTransform {
    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        check_side("resize", self.resize)?;
        check_side("crop", self.crop)?;
        if self.crop > self.resize {
            return Err(DataError::Transform {
                field: "crop",
                value: self.crop.to_string(),
                expected: "it is cut from the resized image, so it is at most `resize`",
            });
        }
        self.whole().map_or(Ok(()), |whole| whole.validate())
    }

    /// What happens to images that stay whole, if they do.
    pub fn whole(&self) -> Option<WholeTransform> {
        self.longest_side.map(WholeTransform::new)
    }

    /// Brings `image` to planar `[3, crop, crop]` pixels; with `longest_side`, to those of
    /// [`WholeTransform::apply`].
    ///
    /// # Errors
    ///
    /// A field out of its range, an image without pixels.
    pub fn apply(&self, image: &RgbImage) -> Result<Vec<u8>, DataError> {
        self.validate()?;
        if let Some(whole) = self.whole() {
            return whole.apply(image);
        }
        let mut pixels = vec![0; 3 * self.crop * self.crop];
        self.apply_to(&Picture::of(image)?, &mut pixels)?;
        Ok(pixels)
    }

    /// Writes the planar pixels of the middle of `picture` to `out`. The fields are valid.
    pub(crate) fn apply_to(&self, picture: &Picture<'_>, out: &mut [u8]) -> Result<(), DataError> {
        let pixels = resize::resize_and_crop_middle(picture, self.resize, self.crop)?;
        planar(&pixels, out);
        Ok(())
    }
}

/// What a [`Loader`](crate::Loader) does to each image.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// Random augmentation.
    Train(TrainTransform),
    /// The same of an image that keeps its ratio.
    Ratio(RatioTransform),
    /// The same for each reading of an image.
    Eval(EvalTransform),
    /// The same, of an image that keeps its ratio.
    Whole(WholeTransform),
}

impl From<TrainTransform> for Transform {
    fn from(transform: TrainTransform) -> Self {
        Self::Train(transform)
    }
}

impl From<EvalTransform> for Transform {
    fn from(transform: EvalTransform) -> Self {
        match transform.whole() {
            Some(whole) => Self::Whole(whole),
            None => Self::Eval(transform),
        }
    }
}

impl From<RatioTransform> for Transform {
    fn from(transform: RatioTransform) -> Self {
        Self::Ratio(transform)
    }
}

impl From<WholeTransform> for Transform {
    fn from(transform: WholeTransform) -> Self {
        Self::Whole(transform)
    }
}

impl Transform {
    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        match self {
            Self::Train(transform) => transform.validate(),
            Self::Ratio(transform) => transform.validate(),
            Self::Eval(transform) => transform.validate(),
            Self::Whole(transform) => transform.validate(),
        }
    }

    /// Height and width of the result, in pixels; none where they follow from the image.
    pub fn size(&self) -> Option<[usize; 2]> {
        match self {
            Self::Train(transform) => Some(transform.size),
            Self::Eval(transform) => Some([transform.crop; 2]),
            Self::Ratio(_) | Self::Whole(_) => None,
        }
    }
}

pub(crate) fn check_side(field: &'static str, side: usize) -> Result<(), DataError> {
    if (1..=MAX_SIDE).contains(&side) {
        return Ok(());
    }
    Err(DataError::Transform {
        field,
        value: side.to_string(),
        expected: "a side has 1 to 16384 pixels",
    })
}

/// Mirrors interleaved RGB rows of `width` pixels.
fn mirror(pixels: &mut [u8], width: usize) {
    for row in pixels.chunks_exact_mut(width * 3) {
        row.as_chunks_mut::<3>().0.reverse();
    }
}

/// Interleaved RGB to planes.
fn planar(pixels: &[u8], out: &mut [u8]) {
    let (red, rest) = out.split_at_mut(pixels.len() / 3);
    let (green, blue) = rest.split_at_mut(pixels.len() / 3);
    let planes = red.iter_mut().zip(green).zip(blue);
    for (pixel, ((red, green), blue)) in pixels.chunks_exact(3).zip(planes) {
        (*red, *green, *blue) = (pixel[0], pixel[1], pixel[2]);
    }
}

#[cfg(test)]
mod tests;
