use std::borrow::Cow;
use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use crate::jpeg::Jpeg;
use crate::transform::Region;
use crate::{BoundingBox, DataError};

/// Pixels of the largest image that is decoded: 2 ^ 27, 0.4 GB of RGB.
pub const MAX_PIXELS: u64 = 1 << 27;

/// How many times larger than the result a reduced JPEG still has to be, across and down.
const REDUCED_MARGIN: u32 = 2;

/// Decodes a PNG, JPEG or WebP file to 8-bit RGB, with what `convert("RGB")` of Pillow makes of the
/// other kinds: grey is repeated, palettes are resolved, alpha is dropped (not composited), of 16
/// bits the upper 8 stay (also of 16-bit grey, which Pillow turns white), CMYK is taken for inverted,
/// as Adobe's programs write it. An orientation in the metadata is not applied, as Pillow and torchvision do not. Of an animation the first frame
/// is taken.
///
/// JPEG pixels are those of libjpeg-turbo, bit for bit, for all but rare kinds (arithmetic codes,
/// odd sampling factors) and damaged files, which another decoder is asked about: it may differ by
/// 4 of 255.
///
/// # Errors
///
/// [`DataError::Decode`] with `name` in it: bytes that are no image or are cut short, an image of
/// more than 134 million pixels or 512 MiB.
pub fn decode_rgb(bytes: &[u8], name: &str) -> Result<RgbImage, DataError> {
    let picture = Picture::open(bytes, name)?;
    let whole = picture.region();
    picture
        .part(whole, None)
        .map(|part| part.image.into_owned())
}

/// An image whose size is known, and whose pixels are decoded once it is known which are wanted.
pub(crate) struct Picture<'a> {
    name: &'a str,
    source: Source<'a>,
    /// The part that counts.
    bounds: Region,
}

enum Source<'a> {
    /// The file again, for another decoder.
    Jpeg(Box<Jpeg<'a>>, &'a [u8]),
    Pixels(Cow<'a, RgbImage>),
}

/// Decoded pixels.
pub(crate) struct Part<'a> {
    pub image: Cow<'a, RgbImage>,
    /// Where in `image` the region is that was asked for.
    pub left: f64,
    pub top: f64,
    /// Its pixels are `1 / reduction` as long as those that were asked for.
    pub reduction: u32,
}

impl<'a> Picture<'a> {
    /// Looks at an encoded image. What is no JPEG is decoded.
    pub fn open(bytes: &'a [u8], name: &'a str) -> Result<Self, DataError> {
        let fail = |problem: String| DataError::Decode {
            image: name.to_owned(),
            problem,
        };
        if bytes.is_empty() {
            return Err(fail("it is empty".into()));
        }
        let jpeg = Jpeg::is_one(bytes)
            .then(|| Jpeg::open(bytes).ok())
            .flatten();
        let source = match jpeg {
            Some(jpeg) => {
                let (width, height) = jpeg.dimensions();
                check_size(width, height).map_err(fail)?;
                Source::Jpeg(Box::new(jpeg), bytes)
            }
            None => Source::Pixels(Cow::Owned(decode_whole(bytes).map_err(fail)?)),
        };
        let (width, height) = match &source {
            Source::Jpeg(jpeg, _) => jpeg.dimensions(),
            Source::Pixels(image) => image.dimensions(),
        };
        Ok(Self {
            name,
            source,
            bounds: Region {
                left: 0,
                top: 0,
                width,
                height,
            },
        })
    }

    /// Pixels that are there already.
    pub fn of(image: &'a RgbImage) -> Result<Self, DataError> {
        Ok(Self {
            name: "",
            bounds: Region::of(image)?,
            source: Source::Pixels(Cow::Borrowed(image)),
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

    /// All of it.
    pub fn region(&self) -> Region {
        Region {
            left: 0,
            top: 0,
            ..self.bounds
        }
    }

    /// The pixels of a region. With `reduce_to`, the width and height that the region will be
    /// resized to, a JPEG that is much larger may come reduced.
    pub fn part(self, region: Region, reduce_to: Option<[u32; 2]>) -> Result<Part<'a>, DataError> {
        let region = Region {
            left: self.bounds.left + region.left,
            top: self.bounds.top + region.top,
            ..region
        };
        let cut = |image: Cow<'a, RgbImage>| Part {
            image,
            left: region.left.into(),
            top: region.top.into(),
            reduction: 1,
        };
        let (jpeg, bytes) = match self.source {
            Source::Pixels(image) => return Ok(cut(image)),
            Source::Jpeg(jpeg, bytes) => (jpeg, bytes),
        };
        let reduction = reduce_to.map_or(1, |to| reduction(region, to));
        if let Ok(image) = jpeg.decode(region, reduction) {
            let within = |start: u32| f64::from(start % reduction) / f64::from(reduction);
            return Ok(Part {
                image: Cow::Owned(image),
                left: within(region.left),
                top: within(region.top),
                reduction,
            });
        }
        match decode_whole(bytes) {
            Ok(image) => Ok(cut(Cow::Owned(image))),
            Err(problem) => Err(DataError::Decode {
                image: self.name.to_owned(),
                problem,
            }),
        }
    }
}

/// The strongest reduction that leaves the region large enough for what it is resized to. Not an
/// eighth, which is the mean of each block: it differs by up to 16 of 255, and saves little more.
fn reduction(region: Region, [width, height]: [u32; 2]) -> u32 {
    let enough = |reduction: &u32| {
        region.width / reduction >= width * REDUCED_MARGIN
            && region.height / reduction >= height * REDUCED_MARGIN
    };
    [4, 2].into_iter().find(enough).unwrap_or(1)
}

fn check_size(width: u32, height: u32) -> Result<(), String> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "it has {width} x {height} pixels, more than the {MAX_PIXELS} that are decoded: make it \
             smaller"
        ));
    }
    Ok(())
}

/// Decodes all of an image.
fn decode_whole(bytes: &[u8]) -> Result<RgbImage, String> {
    let decode = || {
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| error.to_string())?;
        if reader.format().is_none() {
            return Err("it is none of PNG, JPEG and WebP".to_owned());
        }
        let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
        let (width, height) = decoder.dimensions();
        check_size(width, height)?;
        // The limits count what the decoder takes beside the pixels.
        let mut limits = Limits::default();
        limits
            .reserve(decoder.total_bytes())
            .and_then(|()| decoder.set_limits(limits))
            .and_then(|()| DynamicImage::from_decoder(decoder))
            .map_err(|error| error.to_string())
    };
    // A decoder that panics on a malformed file is a decoder's bug, but one file must not take a
    // training run down with it.
    std::panic::catch_unwind(decode)
        .unwrap_or_else(|_| Err("the decoder gave up on it".to_owned()))
        .map(to_rgb8)
}

fn to_rgb8(image: DynamicImage) -> RgbImage {
    match image {
        // The conversions of `image` round where Pillow and libpng take the upper byte.
        DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => {
            let wide = image.into_rgb16();
            let (width, height) = wide.dimensions();
            let upper = wide
                .into_raw()
                .into_iter()
                .map(|value| (value >> 8) as u8)
                .collect();
            RgbImage::from_raw(width, height, upper).unwrap_or_default()
        }
        other => other.into_rgb8(),
    }
}

#[cfg(test)]
mod tests {
    use image::{ExtendedColorType, ImageEncoder, ImageFormat};

    use super::*;

    fn png(bytes: &[u8], width: u32, height: u32, kind: ExtendedColorType) -> Vec<u8> {
        let mut file = Vec::new();
        image::codecs::png::PngEncoder::new(&mut file)
            .write_image(bytes, width, height, kind)
            .unwrap();
        file
    }

    #[test]
    fn every_kind_becomes_rgb_as_pillow_does_it() {
        let cases: [(ExtendedColorType, &[u8], [u8; 3]); 5] = [
            (ExtendedColorType::L8, &[7], [7, 7, 7]),
            (ExtendedColorType::La8, &[7, 0], [7, 7, 7]),
            (ExtendedColorType::Rgba8, &[1, 2, 3, 0], [1, 2, 3]),
            // Native byte order; 0x01ff keeps its upper byte, without rounding.
            (ExtendedColorType::L16, &0x01ff_u16.to_ne_bytes(), [1, 1, 1]),
            (ExtendedColorType::Rgb8, &[9, 8, 7], [9, 8, 7]),
        ];
        for (kind, bytes, expected) in cases {
            let image = decode_rgb(&png(bytes, 1, 1, kind), "x").unwrap();
            assert_eq!(image.get_pixel(0, 0).0, expected, "{kind:?}");
        }
    }

    #[test]
    fn jpeg_and_webp_are_read_too() {
        let image = RgbImage::from_pixel(16, 8, image::Rgb([200, 30, 30]));
        for format in [ImageFormat::Jpeg, ImageFormat::WebP] {
            let mut file = Cursor::new(Vec::new());
            image.write_to(&mut file, format).unwrap();
            let decoded = decode_rgb(file.get_ref(), "x").unwrap();
            assert_eq!(decoded.dimensions(), (16, 8));
            for (found, wanted) in decoded.get_pixel(5, 5).0.into_iter().zip([200, 30, 30]) {
                assert!(found.abs_diff(wanted) < 6, "{format:?}");
            }
        }
    }

    #[test]
    fn what_is_no_image_is_named() {
        let whole = png(&[5; 300], 10, 10, ExtendedColorType::Rgb8);
        for bytes in [&b""[..], b"hello", &whole[..whole.len() / 2], &whole[..9]] {
            let message = decode_rgb(bytes, "cat/7.png").unwrap_err().to_string();
            assert!(message.contains("cat/7.png"), "{message}");
        }
    }

    #[test]
    fn a_box_is_cut_to_the_image_and_refused_outside() {
        let pixels: Vec<u8> = (0..4 * 3).flat_map(|value| [value, 0, 0]).collect();
        let bytes: &'static [u8] = png(&pixels, 4, 3, ExtendedColorType::Rgb8).leak();
        let cut = |bbox| {
            let mut picture = Picture::open(bytes, "x")?;
            picture.crop_to(bbox)?;
            let region = picture.region();
            Ok::<_, DataError>((region, picture.part(region, None)?))
        };
        let (region, part) = cut(BoundingBox::new(2, 1, 9, 9).unwrap()).unwrap();
        assert_eq!((region.width, region.height), (2, 2));
        assert_eq!((part.left, part.top), (2.0, 1.0));
        let error = cut(BoundingBox::new(4, 0, 9, 9).unwrap()).err().unwrap();
        assert!(error.to_string().contains("4 x 3"), "{error}");
        assert!(BoundingBox::new(3, 0, 3, 9).is_err());
    }
}
