use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::cache::RepoCache;
use crate::choice::{FIRST, choose};
use crate::client::Client;
use crate::remote::{self, Listing};
use crate::retry::{Patience, Trouble};
use crate::transfer::transfer;
use crate::{HubError, HubSettings, HubSpec};

/// The Hub and its cache on this machine.
pub struct Hub {
    settings: HubSettings,
    client: Client,
}

/// A file of the Hub that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The file in the cache, with the name that it has in the repository. It is not to be written to.
    pub path: PathBuf,
    /// Its path in the repository.
    pub file: String,
    /// The commit that it is from, 40 digits.
    pub commit: String,
    /// Whether it was here before.
    pub from_cache: bool,
}

impl Hub {
    /// The Hub as the environment describes it, see [`HubSettings::from_env`]. Asks nothing yet.
    ///
    /// # Errors
    ///
    /// A variable that cannot be used, or no place for a cache.
    pub fn from_env() -> Result<Self, HubError> {
        Self::new(HubSettings::from_env()?)
    }

    /// The same with settings of one's own.
    ///
    /// # Errors
    ///
    /// An endpoint that is no address, or a token that no header can hold.
    pub fn new(settings: HubSettings) -> Result<Self, HubError> {
        let client = Client::new(&settings)?;
        Ok(Self { settings, client })
    }

    /// The path of a file, fetched if it is not in the cache.
    ///
    /// **A file that is named** and in the cache costs no request. A branch keeps meaning the commit
    /// that the cache knows for it, until a file that is not there is fetched: then it means what the Hub
    /// says.
    ///
    /// **Without a name**, the file is `model.safetensors`, else `open_clip_model.safetensors`, else
    /// `pytorch_model.bin`, else the only `.safetensors`, `.pth` or `.bin` that the repository has. Unless the
    /// cache has the first, one small request asks what there is; without a network the same choice is
    /// made among the files in the cache.
    ///
    /// `progress` takes the bytes that are here and those of the whole file. It is called at the start of
    /// a transfer, where the first may be more than 0, and as it goes on; the first may fall back when a
    /// server can only begin anew. For a file in the cache it is not called.
    ///
    /// Several threads and processes may fetch the same file: one does, and the others wait.
    ///
    /// # Errors
    ///
    /// The file is not in the cache and the network is off, silent or cut off; there is no such
    /// repository, revision or file, or it may not be read; no file was named and none can be chosen; the
    /// contents are not those that the Hub names; the cache cannot be written.
    pub fn fetch(
        &self,
        spec: &HubSpec,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Fetched, HubError> {
        let cache = RepoCache::new(&self.settings.cache, spec);
        let Some(file) = spec.file() else {
            return self.fetch_chosen(spec, &cache, progress);
        };
        match find(&cache, file) {
            Some(found) => Ok(found),
            None => self.download(spec, spec.revision_or_main(), &cache, progress),
        }
    }

    fn fetch_chosen(
        &self,
        spec: &HubSpec,
        cache: &RepoCache,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Fetched, HubError> {
        if let Some(found) = find(cache, FIRST) {
            return Ok(found);
        }
        match self.list(spec) {
            Ok(Listing { commit, files }) => {
                let file = choose(spec, &files)?;
                match find(cache, file) {
                    Some(found) => Ok(found),
                    None => self.download(&spec.with_file(file), &commit, cache, progress),
                }
            }
            Err(error @ (HubError::Offline { .. } | HubError::Unreachable { .. })) => {
                let files = cache.commit().map(|commit| cache.files(&commit));
                match files.filter(|files| !files.is_empty()) {
                    Some(files) => find(cache, choose(spec, &files)?).ok_or(error),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, spec: &HubSpec) -> Result<Listing, HubError> {
        self.online(spec)?;
        let mut patience = Patience::new(&self.settings);
        loop {
            match remote::list(&self.client, spec) {
                Ok(listing) => return Ok(listing),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(reason)) if !patience.wait() => {
                    return Err(self.unreachable(spec, reason));
                }
                Err(Trouble::Passing(_)) => {}
            }
        }
    }

    /// Fetches the file of `spec` at a revision, through cuts.
    fn download(
        &self,
        spec: &HubSpec,
        revision: &str,
        cache: &RepoCache,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Fetched, HubError> {
        self.online(spec)?;
        let mut patience = Patience::new(&self.settings);
        let (mut furthest, mut last) = (0, None);
        loop {
            let mut watch = |done, total| {
                last = Some((done, total));
                progress(done, total);
            };
            let reason = match self.attempt(spec, revision, cache, &mut watch) {
                Ok(fetched) => return Ok(fetched),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(reason)) => reason,
            };
            // Only new ground counts: a server that begins anew each time would be asked for ever.
            let done = last.map_or(0, |(done, _)| done);
            if done > furthest {
                furthest = done;
                patience.renew();
            }
            if !patience.wait() {
                return Err(match last {
                    Some((done, total)) => HubError::Interrupted {
                        what: spec.to_string(),
                        done,
                        total,
                        reason,
                    },
                    None => self.unreachable(spec, reason),
                });
            }
        }
    }

    /// One attempt, from the first request to the file in its place.
    fn attempt(
        &self,
        spec: &HubSpec,
        revision: &str,
        cache: &RepoCache,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Fetched, Trouble> {
        let file = spec.file().unwrap_or_default();
        let metadata = remote::metadata(&self.client, spec, revision)?;
        let _lock = cache.lock(spec, &metadata.etag, self.settings.lock_timeout)?;
        let blob = cache.blob(&metadata.etag);
        // Another process may have fetched it meanwhile, or another commit may have the same contents.
        let from_cache = blob.is_file();
        if !from_cache {
            let incomplete = cache.incomplete(&metadata.etag);
            transfer(&self.client, spec, &metadata, &incomplete, progress)?;
            fs::rename(&incomplete, &blob).map_err(HubError::io(&blob))?;
        }
        let path = cache.link(&metadata.commit, file, &metadata.etag)?;
        cache.note(&metadata.commit)?;
        Ok(Fetched {
            path,
            file: file.to_owned(),
            commit: metadata.commit,
            from_cache,
        })
    }

    /// An error where the network may not be asked.
    fn online(&self, spec: &HubSpec) -> Result<(), HubError> {
        if !self.settings.offline {
            return Ok(());
        }
        Err(HubError::Offline {
            what: spec.to_string(),
            cache: self.settings.cache.clone(),
            url: self.client.page(spec),
        })
    }

    fn unreachable(&self, spec: &HubSpec, reason: String) -> HubError {
        HubError::Unreachable {
            what: spec.to_string(),
            reason,
            url: self.client.page(spec),
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hub").field(&self.settings).finish()
    }
}

/// A file in the cache, at the commit that the cache knows.
fn find(cache: &RepoCache, file: &str) -> Option<Fetched> {
    let commit = cache.commit()?;
    Some(Fetched {
        path: cache.file(&commit, file)?,
        file: file.to_owned(),
        commit,
        from_cache: true,
    })
}
