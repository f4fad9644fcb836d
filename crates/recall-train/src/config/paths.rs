//! Where the files of a configuration lie, which is no part of what it computes.

use std::path::absolute;

use recall_data::DataSpec;
use sha2::{Digest, Sha256};

use super::{FeatureCacheConfig, RunConfig};
use crate::RunError;

impl RunConfig {
    /// The same with paths that hold wherever the process is: relative ones start at the folder it is in
    /// now. Links stay links.
    ///
    /// # Errors
    ///
    /// If that folder is not there any more.
    pub(crate) fn with_absolute_paths(&self) -> Result<Self, RunError> {
        let mut config = self.clone();
        let doing = "find the folder of";
        if let Some(path) = self.data.path() {
            config.data = (self.data.absolute()).map_err(RunError::file(doing, path))?;
        }
        let weights = config.model.weights.as_mut();
        let from = config.from.as_mut();
        let cache = config.image.cache.as_mut().map(|cache| &mut cache.folder);
        let features = config.features.folder.as_mut();
        for path in weights.into_iter().chain(from).chain(cache).chain(features) {
            *path = absolute(&*path).map_err(RunError::file(doing, &*path))?;
        }
        Ok(config)
    }

    /// Whether a run with these settings computes what one with `other` does, wherever the files of the
    /// two lie.
    pub(crate) fn agrees_but_for_paths(&self, other: &Self) -> bool {
        self.without_paths() == other.without_paths()
    }

    /// Tells these settings from all others that do not agree with them but for paths.
    pub(crate) fn hash_but_for_paths(&self) -> String {
        let digest = Sha256::digest(self.without_paths().to_toml());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn without_paths(&self) -> Self {
        let mut config = self.clone();
        config.data = DataSpec::default();
        config.model.weights = None;
        config.from = None;
        if let Some(cache) = &mut config.image.cache {
            cache.folder.clear();
        }
        // Kept features change no number.
        config.features = FeatureCacheConfig::default();
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_do_not_tell_runs_apart() {
        let set = |assignments: &[&str]| {
            let assignments: Vec<String> = assignments.iter().map(|&set| set.to_owned()).collect();
            RunConfig::read(None, &assignments).unwrap()
        };
        let cache = "image.cache={folder=\"kept\",shorter_side=64}";
        let relative = set(&["data=folder:photos", "model.weights=w.pth", cache]);
        let resolved = relative.with_absolute_paths().unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(resolved.data, DataSpec::Folder(here.join("photos")));
        assert_eq!(resolved.model.weights, Some(here.join("w.pth")));
        let folder = resolved.image.cache.as_ref().map(|cache| &cache.folder);
        assert_eq!(folder, Some(&here.join("kept")));
        assert_eq!(resolved.with_absolute_paths().unwrap(), resolved);

        assert!(relative.agrees_but_for_paths(&resolved));
        assert!(relative.agrees_but_for_paths(&set(&["data=csv:other.csv", cache])));
        assert!(!relative.agrees_but_for_paths(&set(&["seed=1", cache])));
        assert!(!relative.agrees_but_for_paths(&set(&[])));
        let emoji = RunConfig::default();
        assert_eq!(emoji.with_absolute_paths().unwrap(), emoji);
    }
}
