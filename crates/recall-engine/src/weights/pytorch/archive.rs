//! Files of PyTorch since 1.6: a zip archive of `NAME/data.pkl` and `NAME/data/KEY`, nothing compressed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};
use recall_data::pickle;

use super::contents::{Contents, MAX_PICKLE, contents};
use super::objects::{Storage, Torch};
use crate::weights::stored::Place;

/// The tensors of `file`, which has `length` bytes.
pub(in crate::weights) fn read(file: &mut File, length: u64) -> Result<Contents, String> {
    let entries = Entries::of(file, length)?;
    let Some(folder) = entries.folder() else {
        return Err(entries.stranger());
    };
    if entries.has(&format!("{folder}constants.pkl")) {
        return Err(
            "this is a TorchScript archive, a program and not a state dict: \
             torch.save(torch.jit.load(FILE).state_dict(), \"weights.pth\") in Python writes one"
                .into(),
        );
    }
    let big_endian = match entries.bytes(file, &format!("{folder}byteorder")) {
        None => false,
        Some(order) => match order?.trim_ascii() {
            b"little" => false,
            b"big" => true,
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(format!(
                    "its order of bytes is `{other}`, not little or big"
                ));
            }
        },
    };
    let bytes = entries
        .bytes(file, &format!("{folder}data.pkl"))
        .ok_or("its data.pkl is missing")??;
    let values = pickle::read(&bytes, Torch::new(&bytes))
        .map_err(|problem| format!("its list of tensors, data.pkl, is wrong {problem}"))?;
    contents(&values, &|storage| {
        entries.storage(&folder, storage, big_endian)
    })
}

/// Where an entry of the archive is.
struct Entry {
    /// Without its checksum there is no use in it.
    place: Place,
    compressed: bool,
}

struct Entries(BTreeMap<String, Entry>);

impl Entries {
    fn of(file: &File, length: u64) -> Result<Self, String> {
        let broken = |error: rawzip::Error| {
            format!(
                "the zip archive of PyTorch is cut short or damaged ({error}): get the file again"
            )
        };
        let file = file.try_clone().map_err(|error| error.to_string())?;
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(broken)?;
        let mut found = Vec::new();
        let mut records = archive.entries(&mut buffer);
        while let Some(record) = records.next_entry().map_err(broken)? {
            let compressed = record.compression_method() != CompressionMethod::STORE
                || record.compressed_size_hint() != record.uncompressed_size_hint();
            let name = String::from_utf8_lossy(record.file_path().as_bytes()).into_owned();
            found.push((name, record.wayfinder(), record.crc32(), compressed));
        }
        if found.len() as u64 != archive.entries_hint() {
            return Err("the zip archive of PyTorch is damaged: entries are missing".into());
        }
        let mut entries = BTreeMap::new();
        for (name, wayfinder, crc, compressed) in found {
            let entry = archive.get_entry(wayfinder).map_err(broken)?;
            let (start, end) = entry.compressed_data_range();
            let place = Place {
                start,
                bytes: end - start,
                crc: Some(crc),
                big_endian: false,
            };
            if end > length {
                return Err(format!(
                    "the entry {name} of the zip archive is cut short: get the file again"
                ));
            }
            let entry = Entry { place, compressed };
            if entries.insert(name.clone(), entry).is_some() {
                return Err(format!("the zip archive has two entries {name}"));
            }
        }
        Ok(Self(entries))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What comes before `data.pkl`.
    fn folder(&self) -> Option<String> {
        let pickles = self.0.keys().filter_map(|name| {
            let folder = name.strip_suffix("data.pkl")?;
            (folder.is_empty() || folder.ends_with('/')).then_some(folder)
        });
        pickles.min_by_key(|folder| folder.len()).map(str::to_owned)
    }

    /// What a zip archive is that PyTorch did not write.
    fn stranger(&self) -> String {
        let numpy = !self.0.is_empty() && self.0.keys().all(|name| name.ends_with(".npy"));
        match numpy {
            true => "this is a numpy archive (.npz), not a file of weights: save its arrays in \
                     safetensors format under the names of the model's tensors"
                .into(),
            false => {
                "this is a zip archive without data.pkl, which `torch.save` did not write; if \
                      weights are packed in it, unpack them"
                    .into()
            }
        }
    }

    /// The contents of a small entry; `None` if there is no such entry.
    fn bytes(&self, file: &mut File, name: &str) -> Option<Result<Vec<u8>, String>> {
        let entry = self.0.get(name)?;
        Some(entry.check(name).and_then(|place| {
            if place.bytes > MAX_PICKLE {
                return Err(format!(
                    "{name} has more than {} MiB, too much for a state dict",
                    MAX_PICKLE >> 20
                ));
            }
            let mut bytes = vec![0; place.bytes as usize];
            file.seek(SeekFrom::Start(place.start))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|error| error.to_string())?;
            // Without its checksum `set_crc32_options(False)` writes what nobody can check.
            match place.crc == Some(crc32fast::hash(&bytes)) {
                true => Ok(bytes),
                false => Err(format!(
                    "{name} is damaged: its checksum is another one; get the file again, or save \
                     it again if `torch.serialization.set_crc32_options(False)` was called"
                )),
            }
        }))
    }

    fn storage(
        &self,
        folder: &str,
        storage: &Storage<'_>,
        big_endian: bool,
    ) -> Result<Place, String> {
        let name = format!("{folder}data/{}", storage.key);
        let Some(entry) = self.0.get(&name) else {
            return Err(format!(
                "has no numbers: {name} is missing from the archive; get the file again"
            ));
        };
        let place = entry.check(&name)?;
        if storage.count.checked_mul(storage.element.size()) > Some(place.bytes) {
            return Err(format!(
                "is cut short: {name} has {} bytes of {} numbers; get the file again",
                place.bytes, storage.count
            ));
        }
        Ok(Place {
            big_endian,
            ..place.clone()
        })
    }
}

impl Entry {
    fn check(&self, name: &str) -> Result<&Place, String> {
        match self.compressed {
            false => Ok(&self.place),
            true => Err(format!(
                "cannot be read: {name} is compressed, which `torch.save` does not do; unpack the \
                 archive and pack it again with `zip -0 -r`"
            )),
        }
    }
}
