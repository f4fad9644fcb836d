//! Pictures light enough for a page.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageFormat, RgbImage};

use super::Picture;

/// Longest side of a picture, in pixels: twice what is shown, for dense screens.
const LONGEST: u32 = 200;

/// A picture with sides up to this is kept pixel by pixel.
pub(super) const SMALL: u32 = 64;

impl Picture {
    /// Pixels as a file that is light enough for a page: as they are, as a PNG, if no side has more than
    /// 64 of them, otherwise a JPEG with sides of at most 200. It is made anew of what a network saw, as
    /// a file may hold more than that, and browsers may turn it.
    pub fn of(image: RgbImage, caption: String) -> Self {
        let small = image.width().max(image.height()) <= SMALL;
        let mut file = Cursor::new(Vec::new());
        // Writing to memory does not fail; should it, the caption is shown.
        let written = match small {
            true => image.write_with_encoder(PngEncoder::new_with_quality(
                &mut file,
                CompressionType::Best,
                FilterType::Adaptive,
            )),
            false => {
                let large = image.width().max(image.height()) > LONGEST;
                let image = DynamicImage::ImageRgb8(image);
                let image = match large {
                    true => image.thumbnail(LONGEST, LONGEST),
                    false => image,
                };
                image.write_to(&mut file, ImageFormat::Jpeg)
            }
        };
        Self {
            bytes: match written {
                Ok(()) => file.into_inner(),
                Err(_) => Vec::new(),
            },
            caption,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn noise(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * y * 37 % 251) as u8, 0, 9]))
    }

    #[test]
    fn small_pictures_keep_their_pixels_and_large_ones_become_small() {
        let picture = Picture::of(noise(64, 30), "a".into());
        assert_eq!(picture.mime(), Some("image/png"));
        let decoded = image::load_from_memory(&picture.bytes).unwrap().into_rgb8();
        assert_eq!(decoded, noise(64, 30));

        for (size, shown) in [((300, 150), (200, 100)), ((90, 65), (90, 65))] {
            let picture = Picture::of(noise(size.0, size.1), "b".into());
            assert_eq!(picture.mime(), Some("image/jpeg"));
            assert_eq!(picture.size(), Some(shown));
        }
    }
}
