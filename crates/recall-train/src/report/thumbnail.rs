//! Pictures light enough for a page.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use recall_data::{DataError, decode_rgb};

use super::Picture;

/// Files above this size are shown as thumbnails, to keep the page light.
const INLINE_BYTES: usize = 16 << 10;

/// Longest side of a thumbnail, in pixels: twice what is shown, for dense screens.
const THUMBNAIL: u32 = 200;

impl Picture {
    /// The file as it is if that is small (up to 16 KiB), otherwise a JPEG thumbnail of it with sides
    /// of at most 200 pixels. `name` is what an error calls the image.
    ///
    /// # Errors
    ///
    /// A large file that is no image.
    pub fn light(bytes: Vec<u8>, name: &str, caption: String) -> Result<Self, DataError> {
        let mut picture = Self { bytes, caption };
        if picture.bytes.len() > INLINE_BYTES {
            let full = decode_rgb(&picture.bytes, name)?;
            let small = DynamicImage::ImageRgb8(full).thumbnail(THUMBNAIL, THUMBNAIL);
            let mut encoded = Cursor::new(Vec::new());
            // An image that cannot be encoded again is shown as it is.
            if small.write_to(&mut encoded, ImageFormat::Jpeg).is_ok() {
                picture.bytes = encoded.into_inner();
            }
        }
        Ok(picture)
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    #[test]
    fn only_large_files_become_thumbnails() {
        let small = b"GIF89a\x05\0\x06\x01".to_vec();
        let picture = Picture::light(small.clone(), "a.gif", "a".into()).unwrap();
        assert_eq!(picture.bytes, small);

        let noise = RgbImage::from_fn(300, 150, |x, y| Rgb([(x * y * 37 % 251) as u8, 0, 9]));
        let mut file = Cursor::new(Vec::new());
        noise.write_to(&mut file, ImageFormat::Png).unwrap();
        let file = file.into_inner();
        assert!(file.len() > INLINE_BYTES);
        let picture = Picture::light(file, "b.png", "b".into()).unwrap();
        assert_eq!(picture.mime(), Some("image/jpeg"));
        assert_eq!(picture.size(), Some((200, 100)));

        let message = Picture::light(vec![7; 1 << 15], "c.png", "c".into()).unwrap_err();
        assert!(message.to_string().contains("c.png"));
    }
}
