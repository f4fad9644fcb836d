use std::path::PathBuf;

/// Why a file of the Hub could not be had.
///
/// Every message is one sentence that names the file and, where there is one, the way out. What a server
/// said is cut to one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A text that names no file of the Hub.
    #[error("`{given}` {problem}: write hf:OWNER/NAME[@REVISION][/FILE]")]
    Spec {
        /// The text.
        given: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A variable of the environment, or a setting, that cannot be used.
    #[error("{setting} {problem}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it, and what it takes.
        problem: String,
    },

    /// The cache does not hold it, and nothing may be asked.
    #[error(
        "cannot fetch {what}: it is not in the cache {}, and HF_HUB_OFFLINE keeps off the network; unset it, or \
         download the file from {url} by hand and give it as `--weights FILE`",
        .cache.display()
    )]
    Offline {
        /// The file.
        what: String,
        /// The folder of the cache.
        cache: PathBuf,
        /// Where it is on the Hub.
        url: String,
    },

    /// The cache does not hold it, and the Hub does not answer.
    #[error(
        "cannot fetch {what}: it is not in the cache and the Hub could not be reached ({reason}); try again, or \
         download the file from {url} by hand and give it as `--weights FILE`"
    )]
    Unreachable {
        /// The file.
        what: String,
        /// Which server, and what happened.
        reason: String,
        /// Where it is on the Hub.
        url: String,
    },

    /// A transfer that stopped on its way, more often than it was tried again.
    #[error(
        "cannot fetch {what}: the transfer stopped after {done} of {total} bytes ({reason}); run it again to go on \
         from there"
    )]
    Interrupted {
        /// The file.
        what: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes of the file.
        total: u64,
        /// What happened.
        reason: String,
    },

    /// The Hub wants to know who asks, or knows and refuses.
    #[error(
        "cannot fetch {what}: {host} answers {status}, so the repository is gated, private or not there; accept its \
         terms at {url} if it has some, and {token}"
    )]
    Refused {
        /// The file.
        what: String,
        /// The server.
        host: String,
        /// 401 or 403.
        status: u16,
        /// The page of the repository.
        url: String,
        /// What to do about the token.
        token: &'static str,
    },

    /// The Hub has no such thing.
    #[error("cannot fetch {what}: {host} has no {missing}; look at {url} for what there is")]
    NotFound {
        /// The file.
        what: String,
        /// The server.
        host: String,
        /// The repository, revision or file that is not there.
        missing: String,
        /// The page of the repository.
        url: String,
    },

    /// An answer that this crate cannot work with.
    #[error(
        "cannot fetch {what}: {problem}; download the file from {url} by hand and give it as `--weights FILE`"
    )]
    Answer {
        /// The file.
        what: String,
        /// Which server, and what is wrong with its answer.
        problem: String,
        /// Where it is on the Hub.
        url: String,
    },

    /// No file was named, and the repository has none that looks like weights.
    #[error(
        "cannot choose a file of {what}: there is no .safetensors, .pth or .bin in it; name one as {what}/FILE"
    )]
    NoWeights {
        /// The repository.
        what: String,
    },

    /// No file was named, and several could be meant.
    #[error("cannot choose a file of {what}: it has {files}; name one as {what}/FILE")]
    SeveralWeights {
        /// The repository.
        what: String,
        /// The first of them, and how many more there are.
        files: String,
    },

    /// The weights are in several files.
    #[error(
        "cannot choose a file of {what}: its weights are split over several files ({index}), and one that holds all \
         is needed; name one as {what}/FILE if there is one, or join them first"
    )]
    Sharded {
        /// The repository.
        what: String,
        /// The file that lists the parts.
        index: String,
    },

    /// Contents that are not those that the Hub names. They were removed.
    #[error(
        "cannot use {what}: its {kind} is {found} and the server names {expected}, so it was damaged on its way; it \
         was removed, run again to fetch it anew"
    )]
    Checksum {
        /// The file.
        what: String,
        /// SHA-256, or SHA-1 as Git takes it.
        kind: &'static str,
        /// The sum that the server names.
        expected: String,
        /// The sum of what came.
        found: String,
    },

    /// Another process fetches the same file and does not get on.
    #[error(
        "cannot fetch {what}: another process has held {} for {seconds} s without receiving anything; end that \
         process, or wait for it and run again",
        .lock.display()
    )]
    Busy {
        /// The file.
        what: String,
        /// The lock.
        lock: PathBuf,
        /// How long nothing came, in seconds.
        seconds: u64,
    },

    /// A file or folder of the cache that cannot be read or written.
    #[error("cannot use the cache at {}: {source}; another folder can be named by HF_HUB_CACHE", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HubError {
    /// For `map_err` of what touches this path.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
