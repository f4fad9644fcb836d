//! Zip archives of uncompressed entries, with the peculiarities that such archives may have.

/// An entry to be written.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub data: Vec<u8>,
    /// Another one than that of the data.
    pub crc: Option<u32>,
    pub method: u16,
    /// Sizes of 64 bits.
    pub long: bool,
    /// Sizes and checksum behind the data.
    pub descriptor: bool,
}

impl Entry {
    pub fn new(name: &str, data: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            data,
            crc: None,
            method: 0,
            long: false,
            descriptor: false,
        }
    }
}

/// The entries of an archive.
pub fn unpack(bytes: &[u8]) -> Vec<Entry> {
    let archive = rawzip::ZipArchive::from_slice(bytes).unwrap();
    let mut entries = Vec::new();
    let mut records = archive.entries();
    while let Some(record) = records.next_entry().unwrap() {
        let name = String::from_utf8(record.file_path().as_bytes().to_vec()).unwrap();
        let entry = archive.get_entry(record.wayfinder()).unwrap();
        entries.push(Entry::new(&name, entry.data().to_vec()));
    }
    entries
}

pub fn pack(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = bytes.len() as u32;
        let size = entry.data.len() as u32;
        let crc = entry.crc.unwrap_or_else(|| crc32fast::hash(&entry.data));
        let flags = if entry.descriptor { 8_u16 } else { 0 };
        let shown = if entry.long { u32::MAX } else { size };
        let mut extra = Vec::new();
        if entry.long {
            extra.extend([1, 0, 16, 0]);
            extra.extend(u64::from(size).to_le_bytes());
            extra.extend(u64::from(size).to_le_bytes());
        }
        // What both headers say, from the version to the lengths of name and extra field.
        let header = |crc: u32, size: u32| {
            let mut header = Vec::new();
            header.extend(45_u16.to_le_bytes());
            header.extend(flags.to_le_bytes());
            header.extend(entry.method.to_le_bytes());
            header.extend([0; 4]);
            for number in [crc, size, size] {
                header.extend(number.to_le_bytes());
            }
            header.extend((entry.name.len() as u16).to_le_bytes());
            header.extend((extra.len() as u16).to_le_bytes());
            header
        };
        bytes.extend(b"PK\x03\x04");
        match entry.descriptor {
            true => bytes.extend(header(0, if entry.long { u32::MAX } else { 0 })),
            false => bytes.extend(header(crc, shown)),
        }
        bytes.extend(entry.name.as_bytes());
        bytes.extend(&extra);
        bytes.extend(&entry.data);
        if entry.descriptor {
            bytes.extend(b"PK\x07\x08");
            bytes.extend(crc.to_le_bytes());
            for _ in 0..2 {
                match entry.long {
                    true => bytes.extend(u64::from(size).to_le_bytes()),
                    false => bytes.extend(size.to_le_bytes()),
                }
            }
        }
        directory.extend(b"PK\x01\x02");
        directory.extend(45_u16.to_le_bytes());
        directory.extend(header(crc, shown));
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(entry.name.as_bytes());
        directory.extend(&extra);
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        bytes.extend((entries.len() as u16).to_le_bytes());
    }
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
