//! An image file as a page holds it: a `data:` URI, and its size as the file's header tells it.

use std::fmt;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, ImageReader};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// An image file with a line about it. Serialises as its caption and a `data:` URI.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// The encoded file (PNG, JPEG or WebP). It goes into the page as it is: [`Picture::of`] makes
    /// a light one of what a network saw. Instead of anything else the caption is shown.
    pub bytes: Vec<u8>,
    /// What it shows: a class, a file name.
    pub caption: String,
}

impl Picture {
    /// The media type, from the first bytes; `None` for a file that is no picture a page shows.
    #[must_use]
    pub fn mime(&self) -> Option<&'static str> {
        let format = image::guess_format(&self.bytes).ok()?;
        let shown = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
        shown.contains(&format).then(|| format.to_mime_type())
    }

    /// The file as a URI that holds all of it.
    #[must_use]
    pub fn data_uri(&self) -> Option<String> {
        let mime = self.mime()?;
        let mut uri = format!("data:{mime};base64,");
        STANDARD.encode_string(&self.bytes, &mut uri);
        Some(uri)
    }

    /// Width and height in pixels, if the header is whole.
    pub(super) fn size(&self) -> Option<(u32, u32)> {
        self.mime()?;
        let reader = ImageReader::new(Cursor::new(&self.bytes));
        reader.with_guessed_format().ok()?.into_dimensions().ok()
    }
}

impl Serialize for Picture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut picture = serializer.serialize_struct("Picture", 2)?;
        picture.serialize_field("caption", &self.caption)?;
        picture.serialize_field("src", &self.data_uri())?;
        picture.end()
    }
}

// Thousands of bytes of an image say nothing in a message.
impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = format_args!("{} bytes", self.bytes.len());
        f.debug_struct("Picture")
            .field("caption", &self.caption)
            .field("bytes", &bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(bytes: &[u8]) -> Picture {
        Picture {
            bytes: bytes.to_vec(),
            caption: "a cup".into(),
        }
    }

    /// A picture of 32 × 258 pixels.
    fn encoded(format: ImageFormat) -> Picture {
        let mut file = Cursor::new(Vec::new());
        let pixels = image::RgbImage::from_pixel(32, 258, image::Rgb([9, 99, 199]));
        pixels.write_to(&mut file, format).unwrap();
        picture(file.get_ref())
    }

    #[test]
    fn the_first_bytes_tell_the_type() {
        for (format, mime) in [
            (ImageFormat::Png, "image/png"),
            (ImageFormat::Jpeg, "image/jpeg"),
            (ImageFormat::WebP, "image/webp"),
        ] {
            let picture = encoded(format);
            assert_eq!(picture.mime(), Some(mime));
            let uri = picture.data_uri().unwrap();
            assert!(uri.starts_with(&format!("data:{mime};base64,")));
        }
        for other in [
            b"".as_slice(),
            b"\x89PNG",
            b"BM",
            b"<svg onload=x>",
            b"GIF89a",
        ] {
            assert_eq!(picture(other).data_uri(), None);
        }
    }

    #[test]
    fn the_header_tells_the_size() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            assert_eq!(encoded(format).size(), Some((32, 258)), "{format:?}");
        }
    }

    #[test]
    fn a_cut_header_has_no_size() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let whole = encoded(format).bytes;
            for end in 0..12 {
                assert_eq!(
                    picture(&whole[..end]).size(),
                    None,
                    "{format:?}, {end} bytes"
                );
            }
        }
    }

    #[test]
    fn serialises_without_raw_bytes() {
        let json = serde_json::to_value(picture(b"\xff\xd8\xff\xe0")).unwrap();
        let expected = serde_json::json!({
            "caption": "a cup",
            "src": "data:image/jpeg;base64,/9j/4A==",
        });
        assert_eq!(json, expected);
    }
}
