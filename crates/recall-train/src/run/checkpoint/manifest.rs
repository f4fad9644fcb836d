//! What files a checkpoint has, and that each is as it was written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::RunError;

/// The name of the manifest itself.
pub(super) const MANIFEST: &str = "manifest.json";

/// The first version of checkpoints that can be resumed.
const FORMAT: u32 = 1;

/// Length and hash of each file of a checkpoint.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Writes the manifest of the files that are in `folder`, and sees to it that all of them are on
    /// the disk.
    pub fn seal(folder: &Path) -> Result<(), RunError> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(RunError::file("read", folder))? {
            let path = entry.map_err(RunError::file("read", folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let entry = Entry::of(&path).map_err(RunError::file("read", &path))?;
            sync(&path)?;
            files.insert(name.into_owned(), entry);
        }
        let manifest = Self {
            format: FORMAT,
            files,
        };
        let path = folder.join(MANIFEST);
        write_json(&path, &manifest)?;
        sync(&path)?;
        sync_folder(folder)
    }

    /// What is wrong with the files in `folder`, if anything is.
    pub fn problem(folder: &Path) -> Option<String> {
        let text = match fs::read_to_string(folder.join(MANIFEST)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(format!("{MANIFEST} is missing"));
            }
            Err(error) => return Some(format!("{MANIFEST} cannot be read: {error}")),
        };
        let manifest: Self = match serde_json::from_str(&text) {
            Ok(manifest) => manifest,
            Err(_) => return Some(format!("{MANIFEST} is damaged")),
        };
        if manifest.format != FORMAT {
            return Some(format!(
                "it has format {}, and this version reads format {FORMAT}",
                manifest.format
            ));
        }
        manifest
            .files
            .iter()
            .find_map(|(name, expected)| match Entry::of(&folder.join(name)) {
                Ok(found) if found == *expected => None,
                Ok(found) if found.bytes != expected.bytes => Some(format!(
                    "{name} has {} bytes and should have {}",
                    found.bytes, expected.bytes
                )),
                Ok(_) => Some(format!("{name} is not as it was written")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Some(format!("{name} is missing"))
                }
                Err(error) => Some(format!("{name} cannot be read: {error}")),
            })
    }

    /// Whether the folders hold the same checkpoint, both whole.
    pub fn same(one: &Path, other: &Path) -> bool {
        let read = |folder: &Path| fs::read(folder.join(MANIFEST)).ok();
        read(one).is_some_and(|manifest| Some(manifest) == read(other))
    }

    /// Whether `name` was written with the checkpoint in `folder`.
    pub fn lists(folder: &Path, name: &str) -> bool {
        let manifest = fs::read(folder.join(MANIFEST)).ok();
        let manifest: Option<Self> = manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        manifest.is_some_and(|manifest| manifest.files.contains_key(name))
    }
}

impl Manifest {
    /// The hash of a file of the checkpoint in `folder`, as it was when it was written.
    pub fn hash(folder: &Path, name: &str) -> Option<String> {
        let manifest: Self = serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()?;
        manifest.files.get(name).map(|entry| entry.sha256.clone())
    }
}

impl Entry {
    fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            bytes += count as u64;
        }
        let sha256 = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self { bytes, sha256 })
    }
}

fn sync(path: &Path) -> Result<(), RunError> {
    // Windows flushes only what was opened for writing.
    File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(RunError::file("write", path))
}

/// Makes the names within a folder last, where the system can be asked to.
pub(super) fn sync_folder(folder: &Path) -> Result<(), RunError> {
    if cfg!(unix) {
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // Some network drives do not flush folders.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) => {}
            flushed => flushed.map_err(RunError::file("write", folder))?,
        }
    }
    Ok(())
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| RunError::file("write", path)(error.into()))?;
    fs::write(path, text).map_err(RunError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let intact = b"some bytes".to_vec();
        fs::write(&file, &intact).unwrap();
        fs::write(dir.path().join("other"), b"").unwrap();
        Manifest::seal(dir.path()).unwrap();
        let problem = || Manifest::problem(dir.path()).unwrap_or_default();
        assert_eq!(problem(), "");
        assert!(Manifest::lists(dir.path(), "other") && !Manifest::lists(dir.path(), "another"));

        fs::write(&file, &intact[..4]).unwrap();
        assert_eq!(problem(), "file has 4 bytes and should have 10");
        for bit in 0..8 * intact.len() {
            let mut flipped = intact.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, flipped).unwrap();
            assert_eq!(problem(), "file is not as it was written");
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(problem(), "file is missing");
        fs::write(&file, &intact).unwrap();
        assert_eq!(problem(), "");

        let manifest = dir.path().join(MANIFEST);
        let text = fs::read(&manifest).unwrap();
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            fs::write(&manifest, &flipped).unwrap();
            // Between two values, any white space is as good as any other.
            let harmless = text[at].is_ascii_whitespace() && flipped[at].is_ascii_whitespace();
            assert!(harmless || !problem().is_empty(), "byte {at}");
        }
        fs::write(&manifest, b"").unwrap();
        assert_eq!(problem(), "manifest.json is damaged");
        fs::remove_file(&manifest).unwrap();
        assert_eq!(problem(), "manifest.json is missing");
    }
}
