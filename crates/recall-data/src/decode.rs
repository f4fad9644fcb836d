use std::io::Cursor;

use image::{DynamicImage, ImageReader, RgbImage};

use crate::dataset::Item;
use crate::{BoundingBox, DataError};

/// Decodes a PNG, JPEG or WebP file to 8-bit RGB, with what `convert("RGB")` of Pillow makes of the
/// other kinds: grey is repeated, palettes are resolved, alpha is dropped (not composited), of 16
/// bits the upper 8 stay. An orientation in the metadata is not applied. Of an animation the first
/// frame is taken.
///
/// # Errors
///
/// [`DataError::Decode`] with `name` in it.
pub fn decode_rgb(bytes: &[u8], name: &str) -> Result<RgbImage, DataError> {
    let fail = |problem: String| DataError::Decode {
        image: name.to_owned(),
        problem,
    };
    if bytes.is_empty() {
        return Err(fail("it is empty".into()));
    }
    let decode = || {
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| error.to_string())?;
        if reader.format().is_none() {
            return Err("it is none of PNG, JPEG and WebP".to_owned());
        }
        reader.decode().map_err(|error| error.to_string())
    };
    // A decoder that panics on a malformed file is a decoder's bug, but one file must not take a
    // training run down with it.
    let decoded = std::panic::catch_unwind(decode)
        .unwrap_or_else(|_| Err("the decoder gave up on it".to_owned()))
        .map_err(fail)?;
    Ok(to_rgb8(decoded))
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

/// Reads the image of an item, cut to its box.
pub(crate) fn read_rgb(item: &Item, crop: bool) -> Result<RgbImage, DataError> {
    let image = decode_rgb(&item.encoded_bytes()?, &item.location())?;
    match item.bbox.filter(|_| crop) {
        None => Ok(image),
        Some(bbox) => crop_to_box(&image, bbox).ok_or_else(|| DataError::Decode {
            image: item.location(),
            problem: format!(
                "its box from ({}, {}) to ({}, {}) lies outside of the {} x {} pixels",
                bbox.left(),
                bbox.top(),
                bbox.right(),
                bbox.bottom(),
                image.width(),
                image.height()
            ),
        }),
    }
}

fn crop_to_box(image: &RgbImage, bbox: BoundingBox) -> Option<RgbImage> {
    let right = bbox.right().min(image.width());
    let bottom = bbox.bottom().min(image.height());
    let width = right.checked_sub(bbox.left()).filter(|&width| width > 0)?;
    let height = bottom
        .checked_sub(bbox.top())
        .filter(|&height| height > 0)?;
    Some(image::imageops::crop_imm(image, bbox.left(), bbox.top(), width, height).to_image())
}

#[cfg(test)]
mod tests {
    use image::{ExtendedColorType, ImageEncoder, ImageFormat};

    use super::*;
    use crate::{ImageSource, Split};

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
        let mut item = Item::new("x", ImageSource::Embedded(bytes), 0, Split::Test);
        item.bbox = Some(BoundingBox::new(2, 1, 9, 9).unwrap());
        let cut = read_rgb(&item, true).unwrap();
        assert_eq!(cut.dimensions(), (2, 2));
        assert_eq!(cut.get_pixel(0, 0).0[0], 6);
        item.bbox = Some(BoundingBox::new(4, 0, 9, 9).unwrap());
        let message = read_rgb(&item, true).unwrap_err().to_string();
        assert!(message.contains("4 x 3"), "{message}");
        assert!(BoundingBox::new(3, 0, 3, 9).is_err());
    }
}
