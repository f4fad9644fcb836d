use std::cell::RefCell;

use fast_image_resize as fir;
use fir::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fir::pixels::U8x3;
use fir::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::DataError;
use crate::decode::Picture;

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

/// The part of `image` that begins at `left` and `top`, resized; what lies outside has no influence.
/// (Of one type of pixels: the resizing of all types takes half a minute to compile.)
fn resize(
    image: &RgbImage,
    [left, top]: [u32; 2],
    [part_width, part_height]: [u32; 2],
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
        TypedCroppedImage::from_ref(&whole, left, top, part_width, part_height).map_err(failed)?;
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
    picture: Picture<'_>,
    region: Region,
    width: u32,
    height: u32,
    reduce: bool,
) -> Result<Vec<u8>, DataError> {
    let part = picture.part(region, reduce.then_some([width, height]))?;
    let image = &part.image;
    let (whole_width, whole_height) = image.dimensions();
    if part.reduction > 1 {
        // The region may begin within a reduced pixel.
        let scale = f64::from(part.reduction);
        let [box_width, box_height] = [
            (region.width, whole_width, part.left),
            (region.height, whole_height, part.top),
        ]
        .map(|(side, whole, start)| (f64::from(side) / scale).min(f64::from(whole) - start));
        let options = bilinear().crop(part.left, part.top, box_width, box_height);
        let whole = [whole_width, whole_height];
        return resize(image, [0, 0], whole, [width, height], &options);
    }
    let start = [part.left as u32, part.top as u32];
    let sides = [region.width, region.height];
    resize(image, start, sides, [width, height], &bilinear())
}

/// Where the square that is cut from the middle lies along one side of the image.
struct Place {
    /// Pixels of the image to a pixel of the resized one.
    scale: f64,
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
            scale,
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
    picture: Picture<'_>,
    to: usize,
    crop: usize,
    reduce: bool,
) -> Result<Vec<u8>, DataError> {
    let Region { width, height, .. } = picture.region();
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
    let region = Region {
        left: across.needed[0],
        top: down.needed[0],
        width: across.needed[1] - across.needed[0],
        height: down.needed[1] - down.needed[0],
    };
    let reduce_to = [(&across, region.width), (&down, region.height)]
        .map(|(place, side)| (f64::from(side) / place.scale).ceil() as u32);
    let part = picture.part(region, reduce.then_some(reduce_to))?;
    let image = &part.image;
    let (whole_width, whole_height) = image.dimensions();
    let scale = f64::from(part.reduction);
    let within = |place: &Place, origin: f64, side: u32| {
        let start = origin + (place.start - f64::from(place.needed[0])) / scale;
        (start, (place.length / scale).min(f64::from(side) - start))
    };
    let crop = crop as u32;
    if part.reduction > 1 {
        let (left, box_width) = within(&across, part.left, whole_width);
        let (top, box_height) = within(&down, part.top, whole_height);
        let options = bilinear().crop(left, top, box_width, box_height);
        let whole = [whole_width, whole_height];
        return resize(image, [0, 0], whole, [crop, crop], &options);
    }
    // Cut out, lest what lies outside of a box has an influence.
    let start = [part.left as u32, part.top as u32];
    let sides = [region.width, region.height];
    let (left, box_width) = within(&across, 0.0, region.width);
    let (top, box_height) = within(&down, 0.0, region.height);
    let options = bilinear().crop(left, top, box_width, box_height);
    resize(image, start, sides, [crop, crop], &options)
}
