//! JPEG files, by `zune-jpeg` in its strict mode.
//!
//! That decoder looks at nothing behind the last block, and where it meets a marker too early it goes
//! on with zeros, which are grey. So it is given the file up to the end that its container has, and
//! behind the scans' codes ones: no code of a file consists of ones alone, so that a scan that ends
//! early runs into a code that does not exist.

use image::RgbImage;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::container::Container;
use super::limit::{MAX_PIXELS, check_size};
use super::reader::Bytes;

/// Ones, as the bytes of a scan write them: 128, as a block may take 63 of them for what needs no code
/// before it reads the next code, which has 16 at most.
const NO_CODE: [u8; 32] = *b"\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0";

/// Decodes all of it.
pub(super) fn decode(bytes: &[u8], container: &Container<'_>) -> Result<RgbImage, String> {
    let closed = closed(bytes, container);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(MAX_PIXELS as usize)
        .set_max_height(MAX_PIXELS as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Bytes::new(&closed), options);
    let refused = |error| format!("its JPEG code is damaged or ends early ({error})");
    decoder.decode_headers().map_err(refused)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    check_size(width, height)?;
    let pixels = decoder.decode().map_err(refused)?;
    RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| "the decoder returned too few pixels".to_owned())
}

/// The file up to its end, with ones behind its scans.
fn closed(bytes: &[u8], container: &Container<'_>) -> Vec<u8> {
    let Container {
        scans: ends,
        progressive,
        end: whole,
        ..
    } = container;
    let mut closed = Vec::with_capacity(whole + ends.len() * NO_CODE.len());
    let mut start = 0;
    for (number, &end) in ends.iter().enumerate() {
        closed.extend_from_slice(&bytes[start..end]);
        // The decoder has to see the marker behind a scan that others of its kind follow.
        if number + 1 == ends.len() || (*progressive && number > 0) {
            closed.extend_from_slice(&NO_CODE);
        }
        start = end;
    }
    closed.extend_from_slice(&bytes[start..*whole]);
    closed
}
