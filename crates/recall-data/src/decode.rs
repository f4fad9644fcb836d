use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use crate::DataError;

mod container;
mod jpeg;
mod limit;
mod reader;

use container::Container;
use limit::check_size;

pub use limit::MAX_PIXELS;

/// Decodes a PNG, JPEG, WebP or BMP file to 8-bit RGB, with what `convert("RGB")` of Pillow makes of
/// the other kinds: grey is repeated, palettes are resolved, alpha is dropped (not composited), of 16
/// bits the upper 8 stay (also of 16-bit grey, which Pillow turns white), CMYK is taken for inverted,
/// as Adobe's programs write it. An orientation in the metadata (EXIF) is not applied, see
/// [`decode_upright`]. Of an animation the first frame is taken.
///
/// JPEG pixels differ from those of libjpeg-turbo, which Pillow uses, by less than 0.4 of 255 on
/// average, and single values by a few.
///
/// # Errors
///
/// [`DataError::Decode`] with `name` in it: bytes that are no image, are damaged or end early, an
/// image of more than 134 million pixels or 512 MiB.
pub fn decode_rgb(bytes: &[u8], name: &str) -> Result<RgbImage, DataError> {
    decode(bytes, name, false)
}

/// The same, turned and mirrored as the metadata (EXIF) says that it is to be shown: phones store the
/// pixels as the sensor lay.
///
/// # Errors
///
/// As [`decode_rgb`].
pub fn decode_upright(bytes: &[u8], name: &str) -> Result<RgbImage, DataError> {
    decode(bytes, name, true)
}

/// Whether the metadata of an encoded image says that it is to be shown otherwise than it is stored.
/// A file that is damaged says nothing.
pub(crate) fn is_turned(bytes: &[u8]) -> bool {
    orientation(bytes) != Orientation::NoTransforms
}

/// Width and height by the header, as stored or upright. What is wrong with the header is for decoding
/// to tell.
pub(crate) fn dimensions(bytes: &[u8], upright: bool) -> Option<(u32, u32)> {
    let read = || {
        let reader = ImageReader::new(Cursor::new(bytes));
        reader.with_guessed_format().ok()?.into_dimensions().ok()
    };
    // As in decoding: a panic on a malformed file must not end whatever looks at it.
    let (width, height) = std::panic::catch_unwind(read).ok().flatten()?;
    // From the fifth on, sides change places.
    Some(match upright && orientation(bytes).to_exif() > 4 {
        true => (height, width),
        false => (width, height),
    })
}

fn decode(bytes: &[u8], name: &str, upright: bool) -> Result<RgbImage, DataError> {
    // A decoder that panics on a malformed file is a decoder's bug, but one file must not take a
    // training run down with it.
    let decoded = std::panic::catch_unwind(|| {
        let (format, container) = container(bytes)?;
        let image = match format {
            ImageFormat::Jpeg => jpeg::decode(bytes, &container)?,
            _ => decode_other(bytes, format)?,
        };
        Ok(match container.orientation() {
            orientation if upright && orientation != Orientation::NoTransforms => {
                let mut image = DynamicImage::ImageRgb8(image);
                image.apply_orientation(orientation);
                image.into_rgb8()
            }
            _ => image,
        })
    });
    decoded
        .unwrap_or_else(|_| Err("the decoder gave up on it".to_owned()))
        .map_err(|problem| DataError::Decode {
            image: name.to_owned(),
            problem,
        })
}

/// The kind of a file, and what its container tells.
fn container(bytes: &[u8]) -> Result<(ImageFormat, Container<'_>), String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    let format = image::guess_format(bytes);
    let container = match format {
        Ok(ImageFormat::Jpeg) => container::jpeg(bytes)?,
        Ok(ImageFormat::Png) => container::png(bytes)?,
        Ok(ImageFormat::WebP) => container::webp(bytes)?,
        // Its pixels come last, and its decoder misses what is missing.
        Ok(ImageFormat::Bmp) => Container::default(),
        _ => return Err("it is none of PNG, JPEG, WebP and BMP".to_owned()),
    };
    format
        .map(|format| (format, container))
        .map_err(|error| error.to_string())
}

fn orientation(bytes: &[u8]) -> Orientation {
    container(bytes).map_or(Orientation::NoTransforms, |(_, found)| found.orientation())
}

/// Decodes what is no JPEG.
fn decode_other(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, String> {
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    // The limits count what the decoder takes beside the pixels.
    let mut limits = Limits::default();
    limits
        .reserve(decoder.total_bytes())
        .and_then(|()| decoder.set_limits(limits))
        .and_then(|()| DynamicImage::from_decoder(decoder))
        .map(to_rgb8)
        .map_err(|error| match error {
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                container::EARLY.to_owned()
            }
            other => other.to_string(),
        })
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
    fn jpeg_webp_and_bmp_are_read_too_but_not_without_their_last_bytes() {
        let image = RgbImage::from_pixel(16, 8, image::Rgb([200, 30, 30]));
        for format in [ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp] {
            let mut file = Cursor::new(Vec::new());
            image.write_to(&mut file, format).unwrap();
            let decoded = decode_rgb(file.get_ref(), "x").unwrap();
            assert_eq!(decoded.dimensions(), (16, 8));
            for (found, wanted) in decoded.get_pixel(5, 5).0.into_iter().zip([200, 30, 30]) {
                assert!(found.abs_diff(wanted) < 6, "{format:?}");
            }
            let bytes = file.get_ref();
            for missing in [1, 2, 10, bytes.len() / 2] {
                let cut = &bytes[..bytes.len() - missing];
                assert!(
                    decode_rgb(cut, "x").is_err(),
                    "{format:?} without {missing}"
                );
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
}
