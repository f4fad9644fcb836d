//! A decoded image, and the part of it that counts.

use std::borrow::Cow;

use image::RgbImage;

use crate::decode::{decode_rgb, decode_upright};
use crate::{BoundingBox, DataError};

/// A rectangle of whole pixels, with area, within an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Region {
    /// All of `image`.
    pub fn of(image: &RgbImage) -> Result<Self, DataError> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(DataError::Transform {
                field: "the input",
                value: format!("{width} x {height}"),
                expected: "an image has at least one pixel",
            });
        }
        Ok(Self::whole(width, height))
    }

    /// All of an image of this size.
    pub fn whole(width: u32, height: u32) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

/// An image and the part of it that counts.
pub(crate) struct Picture<'a> {
    name: &'a str,
    image: Cow<'a, RgbImage>,
    bounds: Region,
}

impl<'a> Picture<'a> {
    /// Decodes all of an encoded image, whatever part of it will be asked for: whether a file is
    /// sound is not to depend on that. `upright` as in [`decode_upright`].
    pub fn open(bytes: &[u8], name: &'a str, upright: bool) -> Result<Self, DataError> {
        let image = match upright {
            true => decode_upright(bytes, name)?,
            false => decode_rgb(bytes, name)?,
        };
        Ok(Self {
            name,
            bounds: Region::of(&image)?,
            image: Cow::Owned(image),
        })
    }

    /// Pixels that are there already.
    pub fn of(image: &'a RgbImage) -> Result<Self, DataError> {
        Ok(Self {
            name: "",
            bounds: Region::of(image)?,
            image: Cow::Borrowed(image),
        })
    }

    /// Cuts the picture to a box, as far as that lies within.
    pub fn crop_to(&mut self, bbox: BoundingBox) -> Result<(), DataError> {
        let Region { width, height, .. } = self.bounds;
        let (right, bottom) = (bbox.right().min(width), bbox.bottom().min(height));
        if bbox.left() >= right || bbox.top() >= bottom {
            return Err(DataError::Decode {
                image: self.name.to_owned(),
                problem: format!(
                    "its box from ({}, {}) to ({}, {}) lies outside of the {width} x {height} pixels",
                    bbox.left(),
                    bbox.top(),
                    bbox.right(),
                    bbox.bottom(),
                ),
            });
        }
        self.bounds = Region {
            left: bbox.left(),
            top: bbox.top(),
            width: right - bbox.left(),
            height: bottom - bbox.top(),
        };
        Ok(())
    }

    /// Width and height.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.bounds.width, self.bounds.height)
    }

    /// All pixels, and where among them a region of the picture is.
    pub fn part(&self, region: Region) -> (&RgbImage, Region) {
        let place = Region {
            left: self.bounds.left + region.left,
            top: self.bounds.top + region.top,
            ..region
        };
        (&self.image, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_cut_to_the_image_and_refused_outside() {
        let pixels: Vec<u8> = (0..4 * 3).flat_map(|value| [value, 0, 0]).collect();
        let mut file = std::io::Cursor::new(Vec::new());
        RgbImage::from_raw(4, 3, pixels)
            .unwrap()
            .write_to(&mut file, image::ImageFormat::Png)
            .unwrap();
        let bytes: &'static [u8] = file.into_inner().leak();
        let cut = |bbox| {
            let mut picture = Picture::open(bytes, "x", false)?;
            picture.crop_to(bbox)?;
            let (width, height) = picture.dimensions();
            Ok::<_, DataError>(picture.part(Region::whole(width, height)).1)
        };
        let place = cut(BoundingBox::new(2, 1, 9, 9).unwrap()).unwrap();
        assert_eq!((place.left, place.top), (2, 1));
        assert_eq!((place.width, place.height), (2, 2));
        let error = cut(BoundingBox::new(4, 0, 9, 9).unwrap()).err().unwrap();
        assert!(error.to_string().contains("4 x 3"), "{error}");
        assert!(BoundingBox::new(3, 0, 3, 9).is_err());
    }
}
