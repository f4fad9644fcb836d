//! An image file as a page holds it: a `data:` URI, and its size as the file's header tells it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// An image file with a line about it. Serialises as its caption and a `data:` URI.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// The encoded file (PNG, JPEG, WebP or GIF). It goes into the page as it is: [`Picture::of`] makes
    /// a light one of what a network saw. Instead of anything else the caption is shown.
    pub bytes: Vec<u8>,
    /// What it shows: a class, a file name.
    pub caption: String,
}

impl Picture {
    /// The media type, from the first bytes; `None` for a file that is no picture a browser shows.
    #[must_use]
    pub fn mime(&self) -> Option<&'static str> {
        match self.bytes.as_slice() {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
            [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some("image/webp"),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
            _ => None,
        }
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
        let bytes = &self.bytes;
        match self.mime()? {
            "image/png" => Some((big(bytes, 16, 4)?, big(bytes, 20, 4)?)),
            "image/gif" => Some((little(bytes, 6, 2)?, little(bytes, 8, 2)?)),
            "image/webp" => webp_size(bytes),
            _ => jpeg_size(bytes),
        }
    }
}

/// Segments up to the frame header, which holds the size.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        match *bytes.get(at + 1)? {
            0xff => at += 1,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Some((big(bytes, at + 7, 2)?, big(bytes, at + 5, 2)?));
            }
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => at += 2 + big(bytes, at + 2, 2)? as usize,
        }
    }
}

/// Each of the three kinds of WebP puts its size elsewhere.
fn webp_size(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8X" => Some((little(bytes, 24, 3)? + 1, little(bytes, 27, 3)? + 1)),
        b"VP8L" => {
            let packed = little(bytes, 21, 4)?;
            Some(((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((
            little(bytes, 26, 2)? & 0x3fff,
            little(bytes, 28, 2)? & 0x3fff,
        )),
        _ => None,
    }
}

fn big(bytes: &[u8], at: usize, count: usize) -> Option<u32> {
    let digits = bytes.get(at..at + count)?;
    Some(
        digits
            .iter()
            .fold(0, |value, &digit| value << 8 | u32::from(digit)),
    )
}

fn little(bytes: &[u8], at: usize, count: usize) -> Option<u32> {
    let digits = bytes.get(at..at + count)?;
    Some(
        digits
            .iter()
            .rev()
            .fold(0, |value, &digit| value << 8 | u32::from(digit)),
    )
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

    fn webp(kind: &[u8; 4], rest: &[u8]) -> Picture {
        picture(&[b"RIFF\0\0\0\0WEBP", kind.as_slice(), rest].concat())
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x20\0\0\x01\x02";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x04JF\xff\xc2\0\x11\x08\x01\x00\x02\x80";

    #[test]
    fn the_first_bytes_tell_the_type() {
        assert_eq!(picture(PNG).mime(), Some("image/png"));
        assert_eq!(picture(JPEG).mime(), Some("image/jpeg"));
        assert_eq!(webp(b"VP8X", &[]).mime(), Some("image/webp"));
        assert_eq!(picture(b"GIF89a").mime(), Some("image/gif"));
        for other in [b"".as_slice(), b"\x89PNG", b"BM", b"<svg onload=x>"] {
            assert_eq!(picture(other).data_uri(), None);
        }
        let uri = picture(b"GIF89a").data_uri();
        assert_eq!(uri.as_deref(), Some("data:image/gif;base64,R0lGODlh"));
    }

    #[test]
    fn the_header_tells_the_size() {
        assert_eq!(picture(PNG).size(), Some((32, 258)));
        assert_eq!(picture(JPEG).size(), Some((640, 256)));
        assert_eq!(picture(b"GIF89a\x05\0\x06\x01").size(), Some((5, 262)));
        let extended = webp(b"VP8X", b"\0\0\0\0\0\0\0\0\x1f\0\0\x3f\0\0");
        assert_eq!(extended.size(), Some((32, 64)));
        let lossless = webp(b"VP8L", b"\0\0\0\0\x2f\x1f\xc0\x07\0");
        assert_eq!(lossless.size(), Some((32, 32)));
        let lossy = webp(b"VP8 ", b"\0\0\0\0\0\0\0\x9d\x01\x2a\x20\0\x40\0");
        assert_eq!(lossy.size(), Some((32, 64)));
    }

    #[test]
    fn a_cut_header_has_no_size() {
        for whole in [PNG, JPEG, b"GIF89a\x05\0\x06\x01"] {
            for end in 0..whole.len() {
                let size = picture(&whole[..end]).size();
                assert_eq!(size, None, "{end} bytes");
            }
        }
    }

    #[test]
    fn serialises_without_raw_bytes() {
        let json = serde_json::to_value(picture(b"GIF89a")).unwrap();
        let expected = serde_json::json!({
            "caption": "a cup",
            "src": "data:image/gif;base64,R0lGODlh",
        });
        assert_eq!(json, expected);
    }
}
