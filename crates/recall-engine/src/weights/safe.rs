//! Files in safetensors format: a header that says where each tensor is, then the numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::stored::{Float, Numbers, Place, Stored};

/// Longer headers are refused by the format's own library, too.
const LONGEST_HEADER: u64 = 100_000_000;

/// The length of the header, if a file of `length` bytes that begins so is one in this format.
pub(super) fn header(start: &[u8], length: u64) -> Option<u64> {
    let (&eight, rest) = start.split_first_chunk()?;
    let header = u64::from_le_bytes(eight);
    let plausible = (2..=LONGEST_HEADER).contains(&header) && header <= length.checked_sub(8)?;
    (plausible && rest.first() == Some(&b'{')).then_some(header)
}

/// The tensors of `file`, which has `length` bytes and a header of `header`, by name.
pub(super) fn read(
    file: &mut File,
    length: u64,
    header: u64,
) -> Result<BTreeMap<String, Stored>, String> {
    let mut text = vec![0; header as usize];
    file.seek(SeekFrom::Start(8))
        .and_then(|_| file.read_exact(&mut text))
        .map_err(|error| error.to_string())?;
    let metadata: Metadata = serde_json::from_slice(&text)
        .map_err(|error| format!("its header in safetensors format is damaged ({error})"))?;
    let start = 8 + header;
    let tensors = metadata.tensors();
    let held = length - start;
    let lost = tensors
        .iter()
        .filter(|(_, tensor)| tensor.data_offsets.1 as u64 > held)
        .min_by_key(|(_, tensor)| tensor.data_offsets.1);
    if let Some((name, _)) = lost {
        return Err(format!(
            "it is cut short within the tensor {name}: get the file again"
        ));
    }
    if metadata.data_len() as u64 != held {
        return Err("it has more bytes than its tensors: get the file again".into());
    }
    let stored = tensors.into_iter().map(|(name, tensor)| {
        let float = match tensor.dtype {
            Dtype::F64 => Ok(Float::F64),
            Dtype::F32 => Ok(Float::F32),
            Dtype::F16 => Ok(Float::F16),
            Dtype::BF16 => Ok(Float::Bf16),
            other => Err(format!("holds {other:?}, not floating-point numbers")),
        };
        let (first, end) = tensor.data_offsets;
        let place = Place {
            start: start + first as u64,
            bytes: (end - first) as u64,
            crc: None,
            big_endian: false,
        };
        let stored = Stored {
            shape: tensor.shape.clone(),
            path: vec![name.clone()],
            numbers: float.and_then(|float| Numbers::in_order(place, float, &tensor.shape)),
        };
        (name, stored)
    });
    Ok(stored.collect())
}
