//! Event files as TensorBoard reads them.
//!
//! A file is a row of frames (TFRecord): the length of the payload, u64 little-endian; the masked
//! CRC-32C of these eight bytes; the payload; its masked CRC-32C. The payload is the protobuf message
//! `Event`, of which a few fields are enough:
//!
//! ```text
//! Event      { wall_time: double = 1, step: int64 = 2, file_version: string = 3, summary: Summary = 5,
//!              session_log: SessionLog = 7 }
//! Summary    { value: repeated Value = 1 }
//! Value      { tag: string = 1, simple_value: float = 2 }
//! SessionLog { status: enum = 1, of which START is 1 }
//! ```

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::RunError;

/// The version of the format, in the first event of a file.
const VERSION: &str = "brain.Event:2";

/// What the names of event files begin with.
const PREFIX: &str = "events.out.tfevents.";

/// `SessionLog.status` of a run that starts or goes on.
const START: u64 = 1;

/// A file of events that is being written.
#[derive(Debug)]
pub(super) struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Makes the file `events.out.tfevents.SECONDS.PROCESS` in `folder`, which is made where it is not
    /// there. A file of that name is left alone, and another name found. With `first_step`, of a run
    /// that goes on, TensorBoard is told to forget what was written of that step and later ones; from
    /// step 0 on that is everything, and the files that have it go.
    ///
    /// # Errors
    ///
    /// A folder or file that cannot be made or written.
    pub(super) fn create(folder: &Path, first_step: Option<u64>) -> Result<Self, RunError> {
        fs::create_dir_all(folder).map_err(RunError::file("create", folder))?;
        if first_step == Some(0) {
            remove_files(folder)?;
        }
        let now = now();
        let (path, file) = new_file(folder, now as u64)?;
        let mut writer = Self {
            path,
            file: BufWriter::new(file),
        };
        let mut version = Message::event(now, 0);
        version.bytes(3, VERSION.as_bytes());
        writer.write(&version)?;
        // One that is open has read what is gone from the disk.
        if let Some(first_step) = first_step {
            let mut session = Message::default();
            session.varint(1, START);
            let mut start = Message::event(now, first_step);
            start.bytes(7, &session.0);
            writer.write(&start)?;
        }
        Ok(writer)
    }

    /// Writes what was measured at `step`, each value under its tag, in f32 as TensorBoard has it. The
    /// file is flushed: a run that is killed leaves whole events.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub(super) fn scalar(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), RunError> {
        self.write(&scalars(now(), step, values))
    }

    fn write(&mut self, event: &Message) -> Result<(), RunError> {
        write_frame(&mut self.file, &event.0)
            .and_then(|()| self.file.flush())
            .map_err(RunError::file("write", &self.path))
    }
}

fn scalars(time: f64, step: u64, values: &[(&str, f64)]) -> Message {
    let mut summary = Message::default();
    for &(tag, number) in values {
        let mut value = Message::default();
        value.bytes(1, tag.as_bytes());
        value.float(2, number as f32);
        summary.bytes(1, &value.0);
    }
    let mut event = Message::event(time, step);
    event.bytes(5, &summary.0);
    event
}

/// Removes the event files of earlier attempts.
fn remove_files(folder: &Path) -> Result<(), RunError> {
    for entry in fs::read_dir(folder).map_err(RunError::file("read", folder))? {
        let path = entry.map_err(RunError::file("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) {
            fs::remove_file(&path).map_err(RunError::file("remove", &path))?;
        }
    }
    Ok(())
}

/// Names are read in alphabetical order, so one that is found taken is continued.
fn new_file(folder: &Path, seconds: u64) -> Result<(PathBuf, File), RunError> {
    let name = format!("{PREFIX}{seconds}.{}", std::process::id());
    let mut path = folder.join(&name);
    let mut number = 1;
    loop {
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                path = folder.join(format!("{name}.{number}"));
                number += 1;
            }
            Err(error) => return Err(RunError::file("create", path)(error)),
        }
    }
}

/// Seconds since 1970; 0 on a machine whose clock is before that.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn write_frame(out: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    let length = (payload.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc(&length).to_le_bytes())?;
    out.write_all(payload)?;
    out.write_all(&masked_crc(payload).to_le_bytes())
}

/// The checksum turned and moved, as the format asks: a payload may hold checksums itself.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// A protobuf message on its way to bytes. Field numbers up to 15 take one byte with their type.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn event(time: f64, step: u64) -> Self {
        let mut event = Self::default();
        event.key(1, 1);
        event.0.extend_from_slice(&time.to_le_bytes());
        if step > 0 {
            event.varint(2, step);
        }
        event
    }

    fn key(&mut self, field: u8, kind: u8) {
        self.0.push(field << 3 | kind);
    }

    fn varint(&mut self, field: u8, value: u64) {
        self.key(field, 0);
        self.number(value);
    }

    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        self.key(field, 2);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn float(&mut self, field: u8, value: f32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payloads of a file, its checksums compared.
    fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let crc = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(crc(8), masked_crc(&bytes[..8]));
            let payload = &bytes[12..12 + length];
            assert_eq!(crc(12 + length), masked_crc(payload));
            payloads.push(payload.to_vec());
            bytes = &bytes[16 + length..];
        }
        payloads
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, ascending. The mask is undone.
        let crc = |bytes: &[u8]| masked_crc(bytes).wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc(&ascending), 0x46dd_794e);
        assert_eq!(crc(b"123456789"), 0xe306_9283);
        assert_ne!(masked_crc(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_frame_is_length_payload_and_their_checksums() {
        let mut frame = Vec::new();
        write_frame(&mut frame, b"abc").unwrap();
        assert_eq!(frame.len(), 8 + 4 + 3 + 4);
        assert_eq!(frame[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(frame[8..12], masked_crc(&frame[..8]).to_le_bytes());
        assert_eq!(frame[12..15], *b"abc");
        assert_eq!(frame[15..], masked_crc(b"abc").to_le_bytes());
    }

    #[test]
    fn values_as_they_lie_on_the_wire() {
        let event = scalars(1.0, 300, &[("loss", 0.5), ("lr", -2.0)]);
        let mut expected = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
        // 300 is 0b10_0101100.
        expected.extend([0x10, 0xac, 0x02]);
        expected.extend([0x2a, 13 + 11]);
        expected.extend([
            0x0a, 11, 0x0a, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f,
        ]);
        expected.extend([0x0a, 9, 0x0a, 2, b'l', b'r', 0x15, 0, 0, 0, 0xc0]);
        assert_eq!(event.0, expected);
    }

    #[test]
    fn a_run_that_goes_on_says_from_where() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        let mut first = EventWriter::create(&folder, None).unwrap();
        let mut second = EventWriter::create(&folder, Some(20)).unwrap();
        assert_ne!(first.path, second.path);
        first.scalar(0, &[("loss", 1.0)]).unwrap();
        second.scalar(20, &[("loss", 0.5)]).unwrap();
        let read = |writer: &EventWriter| payloads(&fs::read(&writer.path).unwrap());

        let events = read(&first);
        assert_eq!(events.len(), 2);
        assert_eq!(events[0][9..], *b"\x1a\x0dbrain.Event:2");
        // No step is step 0.
        assert_eq!(events[1][9..], scalars(0.0, 0, &[("loss", 1.0)]).0[9..]);
        let events = read(&second);
        assert_eq!(events.len(), 3);
        assert_eq!(events[1][9..], [0x10, 20, 0x3a, 2, 0x08, 1]);
        assert_eq!(events[2][9..], scalars(0.0, 20, &[("loss", 0.5)]).0[9..]);
    }

    #[test]
    fn a_run_that_begins_again_has_no_point_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut killed = EventWriter::create(dir.path(), None).unwrap();
        killed.scalar(1, &[("loss", 1.0)]).unwrap();
        fs::write(dir.path().join("metrics.jsonl"), "").unwrap();
        let again = EventWriter::create(dir.path(), Some(0)).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("metrics.jsonl"))
            .collect();
        assert_eq!(left, [again.path.as_path()]);
        let events = payloads(&fs::read(&again.path).unwrap());
        // START of step 0, which is no step at all on the wire.
        assert_eq!(events[1][9..], [0x3a, 2, 0x08, 1]);
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let names = [0, 1, 2].map(|_| new_file(dir.path(), 7).unwrap().0);
        assert!(names.is_sorted() && names[0] != names[1] && names[1] != names[2]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let message = EventWriter::create(&file.join("logs"), None)
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("cannot create ") && message.contains("file"));
    }
}
