use fast_image_resize as fir;
use fir::images::{CroppedImage, Image, ImageRef};
use fir::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::DataError;

/// A rectangle of whole pixels, with area, within an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
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
        Ok(Self {
            left: 0,
            top: 0,
            width,
            height,
        })
    }
}

fn failed(error: impl std::fmt::Display) -> DataError {
    DataError::Transform {
        field: "the resizing step",
        value: error.to_string(),
        expected: "this is a bug of recall-data, please report it",
    }
}

/// Antialiased bilinear, as Pillow's: the triangle is as wide as a pixel of the smaller image.
fn bilinear() -> ResizeOptions {
    ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false)
}

/// `region` of `image`, resized to interleaved RGB. Pixels outside of the region have no influence,
/// as if it had been cut out first.
pub(super) fn resize_rgb(
    image: &RgbImage,
    region: Region,
    width: u32,
    height: u32,
) -> Result<Vec<u8>, DataError> {
    let source = ImageRef::new(
        image.width(),
        image.height(),
        image.as_raw(),
        PixelType::U8x3,
    )
    .map_err(failed)?;
    let Region {
        left,
        top,
        width: region_width,
        height: region_height,
    } = region;
    let cut = CroppedImage::new(&source, left, top, region_width, region_height).map_err(failed)?;
    let mut resized = Image::new(width, height, PixelType::U8x3);
    Resizer::new()
        .resize(&cut, &mut resized, &bilinear())
        .map_err(failed)?;
    Ok(resized.into_vec())
}

/// Resizes the shorter side to `resize` and cuts the square of `crop` pixels from the middle. Only
/// the pixels of that square are computed: a panorama costs no more than a square picture.
pub(super) fn resize_and_crop_middle(
    image: &RgbImage,
    Region { width, height, .. }: Region,
    resize: usize,
    crop: usize,
) -> Result<Vec<u8>, DataError> {
    // The longer side is cut to whole pixels, the offset is rounded to even: as torchvision does.
    let (shorter, longer) = (width.min(height), width.max(height));
    let resized_longer = u64::from(longer) * resize as u64 / u64::from(shorter);
    let place = |side: u32| {
        let resized = if side == shorter {
            resize as u64
        } else {
            resized_longer
        };
        let offset = ((resized - crop as u64) as f64 / 2.0).round_ties_even();
        let scale = f64::from(side) / resized as f64;
        let start = offset * scale;
        (start, (crop as f64 * scale).min(f64::from(side) - start))
    };
    let (left, box_width) = place(width);
    let (top, box_height) = place(height);

    let source = ImageRef::new(width, height, image.as_raw(), PixelType::U8x3).map_err(failed)?;
    let mut resized = Image::new(crop as u32, crop as u32, PixelType::U8x3);
    let options = bilinear().crop(left, top, box_width, box_height);
    Resizer::new()
        .resize(&source, &mut resized, &options)
        .map_err(failed)?;
    Ok(resized.into_vec())
}
