//! Files of PyTorch before 1.6, and of `_use_new_zipfile_serialization=False`: a magic number, a version,
//! the writer's system, what was saved, the keys of the storages, each a pickle of its own; then the
//! storages one after the other, each with its length before it. Numbers are little-endian whatever
//! the system was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use recall_data::pickle::{self, Node, Values};

use super::contents::{Contents, MAX_PICKLE, contents};
use super::objects::{Made, Torch};
use crate::weights::stored::Place;

/// The magic number in binary pickles, its length before it.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The magic number in protocols 0 and 1.
const MAGIC_TEXT: &[u8] = b"L119547037146038801333356L\n.";

/// Whether a file that begins so is one.
pub(in crate::weights) fn is_start(start: &[u8]) -> bool {
    after_magic(start).is_some()
}

fn after_magic(start: &[u8]) -> Option<usize> {
    if start.starts_with(MAGIC_TEXT) {
        return Some(MAGIC_TEXT.len());
    }
    // The protocol, and in protocol 4 the length of a frame.
    let behind = match start {
        [0x80, _, 0x95, ..] => 11,
        [0x80, ..] => 2,
        _ => return None,
    };
    let rest = start.get(behind..)?;
    rest.starts_with(MAGIC).then_some(behind + MAGIC.len())
}

/// The tensors of `file`, which has `length` bytes.
pub(in crate::weights) fn read(file: &mut File, length: u64) -> Result<Contents, String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.take(MAX_PICKLE).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    let mut at = after_magic(&bytes).ok_or("this is no file that PyTorch saved")?;
    let version = part(&bytes, &mut at)?;
    if !matches!(version.nodes[version.root], Node::Int(1001)) {
        return Err("it is in a version of PyTorch's format that nobody knows".into());
    }
    let _system = part(&bytes, &mut at)?;
    let saved = part(&bytes, &mut at)?;
    let keys = part(&bytes, &mut at)?;

    let mut sizes = BTreeMap::new();
    for node in &saved.nodes {
        if let Node::Made(Made::Storage(storage)) = node {
            sizes.insert(storage.key, storage.element.size());
        }
    }
    let places = places(file, length, at as u64, &keys, &sizes)?;
    contents(&saved, &|storage| {
        let place = places.get(storage.key).ok_or_else(|| {
            "is not there: the file is cut short or damaged, get it again".to_owned()
        })?;
        match storage.count.checked_mul(storage.element.size()) <= Some(place.bytes) {
            true => Ok(place.clone()),
            false => Err("is cut short: get the file again".into()),
        }
    })
}

/// The pickle at `at`, behind which `at` is afterwards.
fn part<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Values<'a, Made<'a>>, String> {
    let rest = &bytes[*at..];
    let values = pickle::read(rest, Torch::new(rest)).map_err(|problem| {
        let start = *at;
        match bytes.len() as u64 == MAX_PICKLE {
            true => format!(
                "its list of tensors has more than {} MiB, or is wrong from byte {start} on, {problem}",
                MAX_PICKLE >> 20
            ),
            false => format!("its list of tensors is wrong: from byte {start} on, {problem}"),
        }
    })?;
    *at += values.end;
    Ok(values)
}

/// Where the storages are that the file still has, by key.
fn places<'k>(
    file: &mut File,
    length: u64,
    mut at: u64,
    keys: &'k Values<'_, Made<'_>>,
    sizes: &BTreeMap<&str, u64>,
) -> Result<BTreeMap<&'k str, Place>, String> {
    let mut places = BTreeMap::new();
    let Node::List(ids) = &keys.nodes[keys.root] else {
        return Err("the list of its storages is damaged".into());
    };
    for &id in ids {
        let key = match &keys.nodes[id] {
            Node::Text(key) => &**key,
            Node::Bytes(key) => str::from_utf8(key).unwrap_or_default(),
            _ => return Err("the list of its storages is damaged".into()),
        };
        let size = *sizes
            .get(key)
            .ok_or_else(|| format!("it has a storage {key} that nothing uses"))?;
        let mut count = [0; 8];
        if at.saturating_add(8) > length {
            break;
        }
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut count))
            .map_err(|error| error.to_string())?;
        let bytes = u64::from_le_bytes(count).saturating_mul(size);
        let start = at + 8;
        let end = start.saturating_add(bytes);
        places.insert(
            key,
            Place {
                start,
                bytes: bytes.min(length - start),
                crc: None,
                big_endian: false,
            },
        );
        at = end;
    }
    Ok(places)
}
