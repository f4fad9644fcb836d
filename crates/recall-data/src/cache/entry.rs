//! An entry: a mark, the checksum of the rest, width, height, length of the key, the key, the pixels.

use image::RgbImage;

/// Begins each entry; the number changes with the format, or with what makes the pixels.
const MARK: &[u8; 8] = b"recall\0\x02";

/// The file of an image.
pub(super) fn bytes(image: &RgbImage, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24 + key.len() + image.as_raw().len());
    bytes.extend_from_slice(MARK);
    bytes.extend_from_slice(&[0; 4]);
    for number in [image.width(), image.height(), key.len() as u32] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(image.as_raw());
    let checksum = crc32fast::hash(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The image of a file; `None` if it is damaged, cut short or of another key.
pub(super) fn read(mut bytes: Vec<u8>, key: &[u8]) -> Option<RgbImage> {
    let rest = bytes.strip_prefix(MARK)?;
    let (checksum, rest) = number(rest)?;
    if crc32fast::hash(rest) != checksum {
        return None;
    }
    let (width, rest) = number(rest)?;
    let (height, rest) = number(rest)?;
    let (length, rest) = number(rest)?;
    let pixels = rest.strip_prefix(key)?;
    let expected = u64::from(width) * u64::from(height) * 3;
    if length as usize != key.len() || pixels.len() as u64 != expected {
        return None;
    }
    let start = bytes.len() - pixels.len();
    bytes.drain(..start);
    RgbImage::from_raw(width, height, bytes)
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}
