use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::digest::Etag;
use crate::names::is_commit;
use crate::{HubError, HubSpec};

/// How deep folders of a snapshot are looked at.
const DEEPEST: usize = 8;

/// The part of the Hub's cache that holds a repository, seen from a revision.
///
/// ```text
/// models--OWNER--NAME/blobs/ETAG                the contents, ETAG.incomplete while they come
/// models--OWNER--NAME/snapshots/COMMIT/FILE     a link to them
/// models--OWNER--NAME/refs/REVISION             the commit of a branch or tag
/// .locks/models--OWNER--NAME/ETAG.lock          held by whoever fetches them
/// ```
pub(crate) struct RepoCache {
    repo: CacheRepo,
    folder: PathBuf,
    locks: PathBuf,
    revision: String,
}

impl RepoCache {
    pub(crate) fn new(cache: &Path, spec: &HubSpec) -> Self {
        let revision = spec.revision_or_main().to_owned();
        let repo = Repo::with_revision(
            spec.repository().to_owned(),
            RepoType::Model,
            revision.clone(),
        );
        let name = repo.folder_name();
        Self {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(name),
            repo: Cache::new(cache.to_owned()).repo(repo),
            revision,
        }
    }

    /// The commit of the revision, if it is one or the cache knows it.
    pub(crate) fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let text = fs::read_to_string(self.reference()).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// A file of a commit, if it is here. A link to contents that are gone is none.
    pub(crate) fn file(&self, commit: &str, file: &str) -> Option<PathBuf> {
        let path = self.repo.pointer_path(commit).join(file);
        path.is_file().then_some(path)
    }

    /// The files of a commit that are here.
    pub(crate) fn files(&self, commit: &str) -> Vec<String> {
        let mut files = Vec::new();
        walk(&self.repo.pointer_path(commit), "", DEEPEST, &mut files);
        files
    }

    pub(crate) fn blob(&self, etag: &Etag) -> PathBuf {
        self.folder.join("blobs").join(etag.as_str())
    }

    /// Where contents come in.
    pub(crate) fn incomplete(&self, etag: &Etag) -> PathBuf {
        self.folder
            .join("blobs")
            .join(format!("{}.incomplete", etag.as_str()))
    }

    /// Waits until no other process fetches these contents, and keeps others away while the file lives.
    /// The system frees the lock of a process that ends, in whatever way.
    ///
    /// `patience` is how long the other process may receive nothing.
    pub(crate) fn lock(
        &self,
        spec: &HubSpec,
        etag: &Etag,
        patience: Duration,
    ) -> Result<File, HubError> {
        create_folder(&self.folder.join("blobs"))?;
        create_folder(&self.locks)?;
        let path = self.locks.join(format!("{}.lock", etag.as_str()));
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = open.map_err(HubError::io(&path))?;
        let received = || fs::metadata(self.incomplete(etag)).map_or(0, |metadata| metadata.len());
        let (mut since, mut last) = (Instant::now(), received());
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(HubError::Io { path, source }),
                Err(TryLockError::WouldBlock) => {}
            }
            let now = received();
            if now != last {
                (since, last) = (Instant::now(), now);
            } else if since.elapsed() > patience {
                return Err(HubError::Busy {
                    what: spec.to_string(),
                    lock: path,
                    seconds: patience.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gives contents their name in a commit. Only whoever holds the lock may.
    pub(crate) fn link(&self, commit: &str, file: &str, etag: &Etag) -> Result<PathBuf, HubError> {
        let pointer = self.repo.pointer_path(commit).join(file);
        if pointer.is_file() {
            return Ok(pointer);
        }
        if let Some(folder) = pointer.parent() {
            create_folder(folder)?;
        }
        // What is left is a link to contents that are gone.
        match fs::remove_file(&pointer) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => make_link(&self.blob(etag), file, etag, &pointer),
        }
        .map_err(HubError::io(&pointer))?;
        Ok(pointer)
    }

    /// Notes which commit the revision is, whole or not at all.
    pub(crate) fn note(&self, commit: &str) -> Result<(), HubError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);

        if self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference();
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        // Not beside it, where a leftover would be taken for a branch.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let new = self.locks.join(format!("{}-{count}.ref", process::id()));
        fs::write(&new, commit)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(HubError::io(&path))
    }

    fn reference(&self) -> PathBuf {
        self.folder.join("refs").join(&self.revision)
    }
}

fn create_folder(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(HubError::io(path))
}

/// A relative link, so that a cache can be moved.
#[cfg(unix)]
fn make_link(_blob: &Path, file: &str, etag: &Etag, pointer: &Path) -> io::Result<()> {
    let up = "../".repeat(2 + file.split('/').count() - 1);
    std::os::unix::fs::symlink(format!("{up}blobs/{}", etag.as_str()), pointer)
}

/// A copy: links need a permission on some systems. Python takes one as well as a link.
#[cfg(not(unix))]
fn make_link(blob: &Path, _file: &str, _etag: &Etag, pointer: &Path) -> io::Result<()> {
    let new = pointer.with_extension("incomplete");
    fs::copy(blob, &new)?;
    fs::rename(new, pointer)
}

/// Adds the files below a folder, named from the top. What cannot be read is passed over.
fn walk(folder: &Path, above: &str, deepest: usize, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str() else { continue };
        let name = format!("{above}{name}");
        if path.is_file() {
            files.push(name);
        } else if deepest > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, &format!("{name}/"), deepest - 1, files);
        }
    }
}
