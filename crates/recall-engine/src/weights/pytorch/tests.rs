//! `torch.load` is the oracle: `xtask/peers/weights_fixtures.py` wrote the files and what is in them.

mod zip;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::file;
use zip::{Entry, pack, unpack};

/// A tensor's shape and the bits of its numbers, or why it has none.
type Seen = BTreeMap<String, Result<(Vec<usize>, Vec<u32>), String>>;

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch");
    std::fs::read(fixtures.join(name)).unwrap()
}

fn seen(path: &Path) -> Result<Seen, String> {
    let file::Opened {
        tensors,
        mut source,
        ..
    } = file::read(path)?;
    let seen = tensors.into_iter().map(|(name, stored)| {
        let bits = source.read(&stored).map(|values| {
            let bits = values.into_iter().map(f32::to_bits).collect();
            (stored.shape, bits)
        });
        (name, bits)
    });
    Ok(seen.collect())
}

/// What is seen in a file of these bytes.
struct Reader(tempfile::NamedTempFile);

impl Reader {
    fn new() -> Self {
        Self(tempfile::NamedTempFile::new().unwrap())
    }

    fn see(&mut self, bytes: &[u8]) -> Result<Seen, String> {
        let path: PathBuf = self.0.path().to_owned();
        self.0.as_file_mut().set_len(0).unwrap();
        std::io::Seek::rewind(self.0.as_file_mut()).unwrap();
        self.0.write_all(bytes).unwrap();
        seen(&path)
    }
}

fn see(bytes: &[u8]) -> Result<Seen, String> {
    Reader::new().see(bytes)
}

/// Why a file is refused, or a tensor of it.
fn refusal(bytes: &[u8]) -> String {
    match see(bytes) {
        Err(message) => message,
        Ok(seen) => seen
            .into_iter()
            .filter_map(|(name, seen)| seen.err().map(|problem| format!("{name} {problem}")))
            .find(|problem| !problem.contains("not floating-point numbers"))
            .expect("nothing is wrong with it"),
    }
}

const LAYOUTS: [&str; 4] = [
    "layouts.pth",
    "layouts-protocol4.pth",
    "layouts-legacy.pth",
    "layouts-legacy-protocol5.pth",
];

#[test]
fn every_layout_of_numbers_is_read_as_torch_load_reads_it() {
    let expected = see(&fixture("layouts.safetensors")).unwrap();
    assert_eq!(expected.len(), 18);
    for name in LAYOUTS {
        let found = see(&fixture(name)).unwrap();
        for (tensor, expected) in &expected {
            assert!(expected.is_ok());
            assert_eq!(found.get(tensor), Some(expected), "{name}: {tensor}");
        }
        for (tensor, kind) in [
            ("steps", "holds 64-bit integers, not floating-point numbers"),
            ("mask", "holds truth values"),
            ("complex", "holds complex numbers"),
            ("unsigned", "holds integers"),
        ] {
            match found.get(tensor) {
                None => assert!(name.contains("legacy") && tensor == "unsigned"),
                Some(seen) => {
                    let problem = seen.as_ref().unwrap_err();
                    assert!(problem.starts_with(kind), "{name}: {tensor} {problem}");
                }
            }
        }
    }
    let big = see(&fixture("big-endian.pth")).unwrap();
    assert_eq!(big.len(), 7);
    for (tensor, found) in big.iter().filter(|(name, _)| *name != "steps") {
        assert_eq!(Some(found), expected.get(tensor), "big-endian: {tensor}");
    }
}

#[test]
fn archives_of_every_kind_of_zip_are_read() {
    let whole = fixture("layouts.pth");
    let expected = see(&whole).unwrap();
    let entries = unpack(&whole);
    for (long, descriptors) in [(false, false), (true, false), (false, true), (true, true)] {
        let entries = entries.iter().cloned().map(|entry| Entry {
            long,
            descriptor: descriptors,
            ..entry
        });
        let packed = pack(&entries.collect::<Vec<_>>());
        assert_eq!(see(&packed), Ok(expected.clone()), "{long} {descriptors}");
    }
}

/// The fixture with an entry changed.
fn changed(end: &str, change: impl Fn(&mut Entry)) -> Vec<u8> {
    let mut entries = unpack(&fixture("layouts.pth"));
    let entry = entries.iter_mut().find(|entry| entry.name.ends_with(end));
    change(entry.unwrap());
    pack(&entries)
}

#[test]
fn a_storage_that_is_not_whole_names_its_tensor() {
    // Storage 0 is that of `contiguous`.
    let renamed = changed("/data/0", |entry| entry.name += "0000");
    let message = refusal(&renamed);
    assert!(
        message.contains("the tensor contiguous has no numbers"),
        "{message}"
    );
    assert!(
        message.contains("data/0 is missing from the archive"),
        "{message}"
    );

    let halved = changed("/data/0", |entry| entry.data.truncate(12));
    let message = refusal(&halved);
    assert!(
        message.contains("the tensor contiguous is cut short"),
        "{message}"
    );
    assert!(
        message.contains("data/0 has 12 bytes of 6 numbers"),
        "{message}"
    );

    let flipped = changed("/data/0", |entry| {
        entry.crc = Some(crc32fast::hash(&entry.data));
        entry.data[3] ^= 1;
    });
    let message = refusal(&flipped);
    assert!(
        message.starts_with("contiguous is damaged: its checksum"),
        "{message}"
    );
    // The others are as they were.
    let seen = see(&flipped).unwrap();
    assert!(seen["transposed"].is_ok());

    // Two tensors of one storage, of which neither covers it.
    let flipped = changed("/data/4", |entry| {
        entry.crc = Some(crc32fast::hash(&entry.data));
        entry.data[0] ^= 1;
    });
    let seen = see(&flipped).unwrap();
    for name in ["sliced", "stepped", "shared"] {
        assert!(seen[name].is_err(), "{name}");
    }

    let compressed = changed("/data/0", |entry| entry.method = 8);
    let message = refusal(&compressed);
    assert!(
        message.contains("the tensor contiguous cannot be read"),
        "{message}"
    );
    assert!(message.contains("`zip -0 -r`"), "{message}");

    let listed = changed("/data.pkl", |entry| {
        entry.crc = Some(crc32fast::hash(&entry.data));
        entry.data[30] ^= 1;
    });
    assert!(refusal(&listed).contains("data.pkl is damaged: its checksum"));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let mut reader = Reader::new();
    for name in LAYOUTS {
        let whole = fixture(name);
        for length in 0..whole.len() {
            assert!(reader.see(&whole[..length]).is_err(), "{name}: {length}");
        }
    }
    // At 60 %, within its numbers, an old file names the tensor.
    let whole = fixture("small-legacy.pth");
    let message = refusal(&whole[..whole.len() * 3 / 5]);
    assert!(
        message.starts_with("the tensor model_state_dict._orig_mod"),
        "{message}"
    );
    assert!(message.contains("cut short"), "{message}");
}

#[test]
fn a_byte_changed_anywhere_changes_no_number_of_an_archive() {
    let mut reader = Reader::new();
    let whole = fixture("layouts.pth");
    let expected = reader.see(&whole).unwrap();
    for at in 0..whole.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            for (name, seen) in reader.see(&bytes).unwrap_or_default() {
                if seen.is_ok() {
                    assert_eq!(Some(&seen), expected.get(&name), "byte {at}: {name}");
                }
            }
        }
    }
    // Without checksums a number may be another one, but nothing panics.
    let whole = fixture("layouts-legacy.pth");
    for at in 0..whole.len() {
        for flip in [0x01, 0x08, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let _ = reader.see(&bytes);
        }
    }
}

/// A file that saved what `pickle` makes, with one storage of six numbers under the key `0`.
fn saved(pickle: &[u8]) -> Vec<u8> {
    let numbers = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    pack(&[
        Entry::new("a/data.pkl", pickle.to_vec()),
        Entry::new("a/byteorder", b"little".to_vec()),
        Entry::new("a/data/0", numbers),
    ])
}

/// A state dict of a tensor `w` with this offset, shape and strides, each a pickled value.
fn tensor(offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    let storage = "(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x06tQ";
    let pickle = format!(
        "\u{2}}}U\x01wctorch._utils\n_rebuild_tensor_v2\n({storage}{offset}{shape}{strides}\
         I00\n}}tRs."
    );
    let mut bytes = vec![0x80];
    bytes.extend(pickle.bytes());
    bytes
}

#[test]
fn what_a_tensor_claims_takes_no_memory() {
    let fine = see(&saved(&tensor("K\0", "(K\x02K\x03t", "(K\x03K\x01t"))).unwrap();
    assert_eq!(fine["w"].as_ref().unwrap().1.len(), 6);
    for (offset, shape, strides, word) in [
        ("K\x01", "(K\x06t", "(K\x01t", "the tensor w reaches beyond"),
        (
            "K\0",
            "(K\x02K\x03t",
            "(K\x04K\x01t",
            "the tensor w reaches beyond",
        ),
        (
            "K\0",
            "(L9223372036854775807L\nt",
            "(K\x01t",
            "the tensor w reaches beyond",
        ),
        (
            "K\0",
            "(L9223372036854775807L\nK\x02t",
            "(L9223372036854775807L\nK\x01t",
            "the tensor w reaches beyond",
        ),
        (
            "I-1\n",
            "(K\x01t",
            "(K\x01t",
            "not made as PyTorch makes it",
        ),
        ("K\0", "(I-1\nt", "(K\x01t", "not made as PyTorch makes it"),
        (
            "K\0",
            "(K\x01K\x01t",
            "(K\x01t",
            "not made as PyTorch makes it",
        ),
        ("K\0", "(K\x01t", "(I-1\nt", "not made as PyTorch makes it"),
        ("K\0", "N", "(K\x01t", "not made as PyTorch makes it"),
    ] {
        let message = refusal(&saved(&tensor(offset, shape, strides)));
        assert!(message.contains(word), "{shape} {strides}: {message}");
    }
    // One number for all of 2^40: nobody wants so many, and none is made.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endless.pth");
    let endless = saved(&tensor("K\0", "(L1099511627776L\nt", "(K\0t"));
    std::fs::write(&path, endless).unwrap();
    let opened = file::read(&path).unwrap();
    assert_eq!(opened.tensors["w"].shape, [1 << 40]);
}

#[test]
fn dictionaries_in_each_other_end() {
    // Each holds the one before twice: 2^60 ways to the tensor.
    let mut doubled = b"\x80\x02}q\0".to_vec();
    for place in 1..60_u8 {
        doubled.extend([b'}', b'q', place, b'(']);
        doubled.extend([
            b'U',
            1,
            b'a',
            b'h',
            place - 1,
            b'U',
            1,
            b'b',
            b'h',
            place - 1,
            b'u',
        ]);
    }
    doubled.push(b'.');
    assert_eq!(refusal(&saved(&doubled)), "it holds no tensors");
    // One that holds itself.
    assert_eq!(
        refusal(&saved(b"\x80\x02}q\0U\x01ah\0s.")),
        "it holds no tensors"
    );
}

#[test]
fn nothing_in_a_file_is_run_and_whole_models_are_told() {
    let model = b"\x80\x02cmodels.resnet\nResNet\n)\x81}U\x05layerK\x01sb.";
    let message = refusal(&saved(model));
    assert!(
        message
            .starts_with("it is an object of the class `models.resnet.ResNet`, not a state dict"),
        "{message}"
    );
    assert!(
        message.contains("torch.save(model.state_dict(), \"weights.pth\")"),
        "{message}"
    );
    let model = b"\x80\x02}U\x05modelcmodels.resnet\nResNet\n)\x81s.";
    let message = refusal(&saved(model));
    assert!(
        message.starts_with("its `model` is an object of the class"),
        "{message}"
    );

    for (code, class) in [
        (&b"\x80\x02cos\nsystem\nU\x04true\x85R."[..], "`os.system`"),
        (
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
            "`posix.system`",
        ),
        (b"(S'true'\nios\nsystem\n.", "`os.system`"),
        (b"(cos\nsystem\nS'true'\no.", "`os.system`"),
        (
            b"\x80\x02cbuiltins\neval\nU\x011\x85}\x92.",
            "`builtins.eval`",
        ),
    ] {
        let message = refusal(&saved(code));
        assert!(
            message.contains(&format!("an object of the class {class}")),
            "{message}"
        );
    }
    assert_eq!(
        refusal(&saved(b"\x80\x02].")),
        "it holds a list, not a state dict"
    );
    assert_eq!(refusal(&saved(b"\x80\x02}.")), "it holds no tensors");
    for (code, word) in [
        (
            &b"\x80\x02\x82\x01."[..],
            "an extension code comes, which `torch.save` does not write",
        ),
        (b"\x80\x02\x97.", "data outside the file comes"),
        (b"\x80\x02U\x01aQ.", "not made as PyTorch makes it"),
        (b"\x80\x02N)R.", "called that is no function"),
        (b"\x80\x02}U", "is wrong at byte 4"),
    ] {
        let message = refusal(&saved(code));
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn tensors_that_are_not_plain_numbers_are_told_by_what_makes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.pth");
    let sparse =
        b"\x80\x02}(U\x01actorch._utils\n_rebuild_sparse_tensor\n)RU\x01bcfoo\nBar\n)\x81u.";
    std::fs::write(&path, saved(sparse)).unwrap();
    // No tensor that can be read: the file has nothing for anyone.
    assert_eq!(seen(&path).unwrap_err(), "it holds no tensors");
    let mut both = tensor("K\0", "(K\x06t", "(K\x01t");
    both.pop();
    both.extend(b"(U\x01actorch._utils\n_rebuild_sparse_tensor\n)Ru.");
    std::fs::write(&path, saved(&both)).unwrap();
    let opened = file::read(&path).unwrap();
    assert_eq!(
        opened.others["a"],
        "is what `torch._utils._rebuild_sparse_tensor` makes, and not a dense tensor"
    );
}

#[test]
fn archives_that_are_something_else_are_told() {
    let script = pack(&[
        Entry::new("m/data.pkl", b"\x80\x02N.".to_vec()),
        Entry::new("m/constants.pkl", b"\x80\x02N.".to_vec()),
        Entry::new("m/code/m.py", Vec::new()),
    ]);
    assert!(refusal(&script).starts_with("this is a TorchScript archive"));
    let arrays = pack(&[Entry::new("a.npy", Vec::new())]);
    assert!(refusal(&arrays).starts_with("this is a numpy archive"));
    let other = pack(&[Entry::new("weights/model.pth", Vec::new())]);
    assert!(refusal(&other).starts_with("this is a zip archive without data.pkl"));
    let twice = pack(&[
        Entry::new("m/data.pkl", b"\x80\x02}.".to_vec()),
        Entry::new("m/data.pkl", b"\x80\x02N.".to_vec()),
    ]);
    assert_eq!(
        refusal(&twice),
        "the zip archive has two entries m/data.pkl"
    );
}
