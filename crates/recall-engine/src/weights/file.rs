//! Files that hold named tensors, told apart by what is in them, whatever they are called.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::stored::{Format, Source, Stored};
use super::{foreign, names, pytorch, safe};

/// A file whose tensors are known and whose numbers are not read yet.
pub(super) struct Opened {
    /// By their names without what wraps the whole model.
    pub tensors: BTreeMap<String, Stored>,
    /// What is no tensor, in words, by the name under which it stands.
    pub others: BTreeMap<String, String>,
    pub source: Source,
    pub format: Format,
}

/// As much as an index of shards may have.
const START: u64 = 16 << 20;

/// Opens a file in safetensors format or one that PyTorch saved.
pub(super) fn read(path: &Path) -> Result<Opened, String> {
    let io = |error: std::io::Error| error.to_string();
    let mut file = File::open(path).map_err(io)?;
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    let mut start = Vec::new();
    file.rewind()
        .and_then(|()| (&mut file).take(512).read_to_end(&mut start))
        .map_err(io)?;

    let (contents, format) = if start.starts_with(b"PK\x03\x04") {
        (pytorch::read_archive(&mut file, length)?, Format::PyTorch)
    } else if pytorch::is_legacy(&start) {
        (pytorch::read_legacy(&mut file, length)?, Format::PyTorch)
    } else if let Some(header) = safe::header(&start, length) {
        let contents = pytorch::Contents {
            tensors: safe::read(&mut file, length, header)?,
            ..Default::default()
        };
        (contents, Format::Safetensors)
    } else {
        return Err(stranger(path, &mut file, start, length));
    };
    if contents.tensors.is_empty() {
        return Err("it holds no tensors".into());
    }
    let wraps = names::wrappings(&contents.tensors);
    Ok(Opened {
        tensors: names::unwrap(contents.tensors, &wraps),
        others: names::unwrap(contents.others, &wraps),
        source: Source::new(file),
        format,
    })
}

/// What the file is, if it is no file of weights.
fn stranger(path: &Path, file: &mut File, mut start: Vec<u8>, length: u64) -> String {
    if start.trim_ascii_start().starts_with(b"{") && length <= START {
        // All of it, to see what it says.
        let rest = file.read_to_end(&mut start);
        if let Err(error) = rest {
            return error.to_string();
        }
    }
    if let Some(known) = foreign::describe(&start, start.len() as u64 == length) {
        return known;
    }
    let named = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    match named {
        true => "this is no file in safetensors format, or it is cut short within its header: get \
                 the file again"
            .into(),
        false => "this is neither a file in safetensors format nor a state dict that PyTorch saved"
            .into(),
    }
}
