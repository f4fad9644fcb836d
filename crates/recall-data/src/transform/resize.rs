use std::cell::RefCell;

use fast_image_resize as fir;
use fir::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fir::pixels::U8x3;
use fir::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::DataError;
use crate::picture::{Picture, Region};

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

/// A part of `image`, resized; what lies outside has no influence.
/// (Of one type of pixels: the resizing of all types takes half a minute to compile.)
fn resize(
    image: &RgbImage,
    place: Region,
    [width, height]: [u32; 2],
    options: &ResizeOptions,
) -> Result<Vec<u8>, DataError> {
    thread_local! {
        // Its buffers are as large as an image, and are used again.
        static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
    }
    let whole = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())
        .map_err(failed)?;
    let part =
        TypedCroppedImage::from_ref(&whole, place.left, place.top, place.width, place.height)
            .map_err(failed)?;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let mut resized = TypedImage::from_buffer(width, height, &mut pixels).map_err(failed)?;
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize_typed(&part, &mut resized, options))
        .map_err(failed)?;
    Ok(pixels)
}

/// `region` of `picture`, resized to interleaved RGB. Pixels outside of the region have no
/// influence, as if it had been cut out first.
pub(crate) fn resize_rgb(
    picture: &Picture<'_>,
    region: Region,
    width: u32,
    height: u32,
) -> Result<Vec<u8>, DataError> {
    let (image, place) = picture.part(region);
    resize(image, place, [width, height], &bilinear())
}

/// All of `picture`, resized by Lanczos' filter of three lobes, which keeps more of fine details and overshoots at
/// edges. Pillow cuts that off after the rows and again after the columns, so these are two steps here as well.
pub(super) fn resize_sharply(
    picture: &Picture<'_>,
    [width, height]: [u32; 2],
) -> Result<Vec<u8>, DataError> {
    let (before, tall) = picture.dimensions();
    let (image, place) = picture.part(Region::whole(before, tall));
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .use_alpha(false);
    let rows = resize(image, place, [width, tall], &options)?;
    if tall == height {
        return Ok(rows);
    }
    let Some(rows) = RgbImage::from_raw(width, tall, rows) else {
        return Err(failed("rows of another length"));
    };
    resize(&rows, Region::of(&rows)?, [width, height], &options)
}

/// Where the square that is cut from the middle lies along one side of the image.
struct Place {
    start: f64,
    length: f64,
    /// Pixels of the image that have an influence: from and to.
    needed: [u32; 2],
}

impl Place {
    fn new(side: u32, resized: u64, crop: usize) -> Self {
        // The offset is rounded to even, as torchvision does.
        let offset = ((resized - crop as u64) as f64 / 2.0).round_ties_even();
        let scale = f64::from(side) / resized as f64;
        let start = offset * scale;
        let length = (crop as f64 * scale).min(f64::from(side) - start);
        // The triangle reaches one pixel of the larger image, and rounding another.
        let reach = scale.max(1.0) + 2.0;
        Self {
            start,
            length,
            needed: [
                (start - reach).max(0.0) as u32,
                ((start + length + reach).ceil() as u32).min(side),
            ],
        }
    }
}

/// Resizes the shorter side to `resize` and cuts the square of `crop` pixels from the middle. Only
/// the pixels of that square are computed: a panorama costs no more than a square picture.
pub(super) fn resize_and_crop_middle(
    picture: &Picture<'_>,
    to: usize,
    crop: usize,
) -> Result<Vec<u8>, DataError> {
    let (width, height) = picture.dimensions();
    // The longer side is cut to whole pixels, as torchvision does.
    let (shorter, longer) = (width.min(height), width.max(height));
    let place = |side: u32| {
        let resized = match side == shorter {
            true => to as u64,
            false => u64::from(longer) * to as u64 / u64::from(shorter),
        };
        Place::new(side, resized, crop)
    };
    let (across, down) = (place(width), place(height));
    // Cut out, lest what lies outside of a box has an influence.
    let (image, region) = picture.part(Region {
        left: across.needed[0],
        top: down.needed[0],
        width: across.needed[1] - across.needed[0],
        height: down.needed[1] - down.needed[0],
    });
    let within = |place: &Place, side: u32| {
        let start = place.start - f64::from(place.needed[0]);
        (start, place.length.min(f64::from(side) - start))
    };
    let (left, box_width) = within(&across, region.width);
    let (top, box_height) = within(&down, region.height);
    let options = bilinear().crop(left, top, box_width, box_height);
    resize(image, region, [crop as u32; 2], &options)
}
