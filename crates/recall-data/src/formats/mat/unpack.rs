use std::io::{ErrorKind, Read};

use flate2::read::ZlibDecoder;

use super::element::Order;
use crate::formats::bytes::{Bytes, Problem};

/// How much is unpacked of a file, in bytes: a few kilobytes can claim to be gigabytes. All of
/// Cars196 has eight million. A value takes at most some ten times its bytes.
pub(super) const MAX_UNPACKED: usize = 64 << 20;

/// Enough to hold the name of a variable.
const START: u64 = 4096;

/// Unpacks a variable that `is_wanted` by its first bytes, within `budget` bytes. The result is
/// exactly as long as the tag of the variable says.
pub(super) fn unpack(
    packed: &Bytes<'_>,
    order: Order,
    budget: &mut usize,
    is_wanted: impl FnOnce(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, Problem> {
    let at = packed.offset();
    let damaged = |error: std::io::Error| {
        let problem = match error.kind() {
            ErrorKind::UnexpectedEof => "a packed variable is cut short".to_owned(),
            _ => format!("a packed variable cannot be unpacked ({error})"),
        };
        Problem::new(at, format!("{problem}: the file is damaged, get it again"))
    };
    let mut stream = ZlibDecoder::new(packed.rest());
    let mut unpacked = Vec::new();
    stream
        .by_ref()
        .take(START)
        .read_to_end(&mut unpacked)
        .map_err(damaged)?;
    if !is_wanted(&unpacked) {
        return Ok(None);
    }

    let mut tag = Bytes::new(&unpacked);
    tag.take(4, "the tag of a packed variable")?;
    let size = order.u32(&mut tag, "the tag of a packed variable")? as usize;
    let Some(size) = size.checked_add(8).filter(|size| size <= budget) else {
        let problem = format!(
            "a packed variable claims to have {size} bytes, and at most {} MiB are unpacked of a file",
            MAX_UNPACKED >> 20
        );
        return Err(Problem::new(at, problem));
    };
    *budget -= size;
    let missing = size.saturating_sub(unpacked.len()) as u64;
    stream
        .by_ref()
        .take(missing)
        .read_to_end(&mut unpacked)
        .map_err(damaged)?;
    if unpacked.len() < size {
        return Err(damaged(ErrorKind::UnexpectedEof.into()));
    }
    unpacked.truncate(size);
    // The end of the stream has the check sum.
    stream
        .take(START)
        .read_to_end(&mut Vec::new())
        .map_err(damaged)?;
    Ok(Some(unpacked))
}
