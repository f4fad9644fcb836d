use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::COMMIT;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
}

/// A file: its name of the contents, and the contents.
#[derive(Clone)]
pub struct Stored {
    pub etag: String,
    pub contents: Vec<u8>,
}

/// What the server has, and how it behaves.
#[derive(Clone, Default)]
pub struct Plan {
    /// The files of the repository `o/n`.
    pub files: BTreeMap<String, Stored>,
    /// Another list of files for the API.
    pub listed: Option<String>,
    /// Another commit than the usual one.
    pub commit: Option<String>,
    /// Every answer.
    pub status: Option<(u16, &'static str)>,
    /// Files are here: the address of another server.
    pub storage: Option<String>,
    /// Contents end after this many bytes of an answer.
    pub cut: Option<usize>,
    pub ignores_range: bool,
    /// One byte of the contents is another.
    pub damages: bool,
    /// The size of a file that is stored elsewhere, if it is not the right one; 0 for none.
    pub size: Option<usize>,
    /// The contents have another ETag than their description.
    pub changes: bool,
    /// No request is answered.
    pub hangs: bool,
    /// The wait after each kilobyte.
    pub pause: Duration,
}

/// Answers until it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Plan>,
    seen: Mutex<Vec<Seen>>,
    stopped: AtomicBool,
}

impl Server {
    pub fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            plan: Mutex::new(plan),
            ..Shared::default()
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&theirs);
                // An error is a client that went away.
                thread::spawn(move || stream.and_then(|stream| shared.answer(stream)));
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.shared.plan.lock().unwrap());
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut words = first.split(' ').map(str::to_owned);
        let mut seen = Seen {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            range: None,
            token: None,
        };
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "range" => seen.range = Some(value.to_owned()),
                "authorization" => seen.token = Some(value.to_owned()),
                _ => {}
            }
        }
        self.seen.lock().unwrap().push(seen.clone());
        let plan = self.plan.lock().unwrap().clone();
        while plan.hangs && !self.stopped.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        plan.answer(&seen, stream)
    }
}

impl Plan {
    fn answer(&self, seen: &Seen, mut stream: TcpStream) -> std::io::Result<()> {
        let error = |code: &str| format!("X-Error-Code: {code}\r\n");
        if let Some((status, code)) = self.status {
            return head(&mut stream, status, 0, &error(code));
        }
        let commit = self.commit.as_deref().unwrap_or(COMMIT);
        let moved = |to: &str| head(&mut &stream, 307, 0, &format!("Location: {to}\r\n"));
        if seen.path.contains("/circle/") {
            return moved(&seen.path);
        } else if seen.path.contains("/old/") {
            return moved(&seen.path.replace("/old/", "/o/"));
        }
        let parts: Vec<&str> = seen.path.split('/').skip(1).collect();
        match &*parts {
            ["api", "models", "o", "n", "revision", revision] if self.has(revision) => {
                let names = self
                    .files
                    .keys()
                    .map(|name| format!("{{\"rfilename\":{name:?}}}"));
                let names = names.collect::<Vec<_>>().join(",");
                let names = self.listed.as_ref().unwrap_or(&names);
                let text =
                    format!("{{\"sha\":\"{commit}\",\"siblings\":[{names}],\"private\":false}}");
                head(&mut stream, 200, text.len(), "")?;
                stream.write_all(text.as_bytes())
            }
            ["o", "n", "resolve", revision, file @ ..] if self.has(revision) => {
                let file = file.join("/").replace("%20", " ");
                let Some(stored) = self.files.get(&file) else {
                    return head(&mut stream, 404, 0, &error("EntryNotFound"));
                };
                let etag = match self.changes && seen.method == "GET" {
                    true => "changed",
                    false => &stored.etag,
                };
                let commit = format!("X-Repo-Commit: {commit}\r\n");
                match &self.storage {
                    None => self.send(
                        seen,
                        &stored.contents,
                        &format!("{commit}ETag: \"{etag}\"\r\n"),
                        stream,
                    ),
                    Some(storage) => {
                        let to = format!("Location: {storage}/stored/{file}?signature=secret\r\n");
                        let linked = format!("X-Linked-Etag: \"{etag}\"\r\nETag: \"other\"\r\n");
                        let size = match self.size.unwrap_or(stored.contents.len()) {
                            0 => String::new(),
                            size => format!("X-Linked-Size: {size}\r\n"),
                        };
                        head(&mut stream, 302, 0, &[commit, linked, size, to].concat())
                    }
                }
            }
            ["stored", file] => {
                let file = file.split('?').next().unwrap_or_default();
                let contents = &self.files[file].contents;
                self.send(seen, contents, "ETag: \"multipart-2\"\r\n", stream)
            }
            ["o", "n", ..] | ["api", "models", "o", "n", ..] => {
                head(&mut stream, 404, 0, &error("RevisionNotFound"))
            }
            _ => head(&mut stream, 404, 0, &error("RepoNotFound")),
        }
    }

    fn has(&self, revision: &str) -> bool {
        let commit = self.commit.as_deref();
        ["main", "refs%2Fpr%2F1", COMMIT].contains(&revision) || commit == Some(revision)
    }

    fn send(
        &self,
        seen: &Seen,
        contents: &[u8],
        headers: &str,
        mut stream: TcpStream,
    ) -> std::io::Result<()> {
        let mut contents = contents.to_vec();
        if self.damages
            && let Some(byte) = contents.get_mut(0)
        {
            *byte ^= 1;
        }
        let (mut status, mut headers, size) = (200, headers.to_owned(), contents.len());
        let range = seen.range.as_ref().filter(|_| !self.ignores_range);
        if let Some(range) = range {
            let from: usize = range
                .strip_prefix("bytes=")
                .unwrap()
                .trim_end_matches('-')
                .parse()
                .unwrap();
            if from >= size {
                return head(&mut stream, 416, 0, "");
            }
            contents.drain(..from);
            status = 206;
            headers += &format!("Content-Range: bytes {from}-{}/{size}\r\n", size - 1);
        }
        head(&mut stream, status, contents.len(), &headers)?;
        if seen.method == "HEAD" {
            return Ok(());
        }
        contents.truncate(self.cut.unwrap_or(contents.len()));
        for part in contents.chunks(1024) {
            stream.write_all(part)?;
            thread::sleep(self.pause);
        }
        Ok(())
    }
}

fn head(mut stream: impl Write, status: u16, length: usize, headers: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    )
}
