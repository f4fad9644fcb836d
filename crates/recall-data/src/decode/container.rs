//! What surrounds the pixels of a file: whether it is there up to its end, and how it is to be turned.
//!
//! Decoders stop at the last pixel, and most of them make up what is missing before it: a file that was
//! cut short has to be known by its container.

use image::metadata::Orientation;

/// Bytes that are missing, or the end itself.
pub(super) const EARLY: &str = "it ends early: fetch or copy it again";

/// What stands before the EXIF data of a JPEG, and by mistake in some other files.
const EXIF: &[u8] = b"Exif\0\0";

/// What the container of a file tells.
#[derive(Debug, Default)]
pub(super) struct Container<'a> {
    /// The first EXIF data.
    pub exif: Option<&'a [u8]>,
    /// Where the code of each scan of a JPEG ends: the place of the marker behind it.
    pub scans: Vec<usize>,
    /// Whether the scans of a JPEG refine each other.
    pub progressive: bool,
    /// Where a JPEG ends.
    pub end: usize,
}

impl Container<'_> {
    /// How the image is to be turned and mirrored to be shown.
    pub fn orientation(&self) -> Orientation {
        self.exif
            .and_then(Orientation::from_exif_chunk)
            .unwrap_or(Orientation::NoTransforms)
    }
}

/// Walks through the markers of a JPEG up to the one that ends it. What comes after is not looked
/// at: cameras put other pictures there.
pub(super) fn jpeg(bytes: &[u8]) -> Result<Container<'_>, String> {
    let mut found = Container::default();
    let (mut place, mut in_scan) = (2, false);
    loop {
        // What is not in a segment is the code of a scan, or nothing.
        let rest = bytes.get(place..).ok_or(EARLY)?;
        let marker = place + memchr::memchr(0xff, rest).ok_or(EARLY)?;
        // A marker may begin with any number of these.
        let fill = bytes[marker..].iter().position(|&byte| byte != 0xff);
        let kind = marker + fill.ok_or(EARLY)?;
        place = kind + 1;
        // A byte of the code; a marker of a restart, which has no segment.
        if matches!(bytes[kind], 0 | 1 | 0xd0..=0xd7) {
            continue;
        }
        if in_scan {
            found.scans.push(marker);
            in_scan = false;
        }
        match bytes[kind] {
            0xd8 => continue,
            0xd9 => {
                found.end = place;
                return Ok(found);
            }
            0xc2 => found.progressive = true,
            0xda => in_scan = true,
            _ => {}
        }
        let length = bytes.get(place..).and_then(|rest| rest.first_chunk());
        let end = place + usize::from(u16::from_be_bytes(*length.ok_or(EARLY)?));
        if bytes[kind] == 0xe1 && found.exif.is_none() {
            let segment = bytes.get(place + 2..end).unwrap_or_default();
            found.exif = segment.strip_prefix(EXIF);
        }
        place = end;
    }
}

/// Walks through the chunks of a PNG up to the one that ends it.
pub(super) fn png(bytes: &[u8]) -> Result<Container<'_>, String> {
    let mut found = Container::default();
    let mut rest = bytes.get(8..).ok_or(EARLY)?;
    loop {
        let (length, chunk) = rest.split_first_chunk().ok_or(EARLY)?;
        let length = u32::from_be_bytes(*length) as usize;
        // The name and the checksum are not counted.
        rest = chunk.get(length.saturating_add(8)..).ok_or(EARLY)?;
        match &chunk[..4] {
            b"IEND" => return Ok(found),
            b"eXIf" if found.exif.is_none() => found.exif = Some(exif(&chunk[4..4 + length])),
            _ => {}
        }
    }
}

/// Walks through the chunks of a WebP, up to the length that it begins with.
pub(super) fn webp(bytes: &[u8]) -> Result<Container<'_>, String> {
    let length_of = |chunk: &[u8]| {
        let length = chunk.get(4..8)?.first_chunk()?;
        Some(u32::from_le_bytes(*length) as usize)
    };
    let mut found = Container::default();
    let length = length_of(bytes).ok_or(EARLY)?;
    let mut rest = bytes.get(12..length.saturating_add(8)).ok_or(EARLY)?;
    while !rest.is_empty() {
        let length = length_of(rest).ok_or(EARLY)?;
        let name = &rest[..4];
        let (chunk, behind) = (rest.get(8..))
            .and_then(|rest| rest.split_at_checked(length))
            .ok_or(EARLY)?;
        if name == b"EXIF" && found.exif.is_none() {
            found.exif = Some(exif(chunk));
        }
        // Chunks begin at even places; the last one need not be filled up.
        rest = behind.get(length % 2..).unwrap_or_default();
    }
    Ok(found)
}

fn exif(chunk: &[u8]) -> &[u8] {
    chunk.strip_prefix(EXIF).unwrap_or(chunk)
}
