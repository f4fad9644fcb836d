//! Files of other programs, whole and damaged.

use std::fs;
use std::path::PathBuf;

use half::{bf16, f16};
use proptest::prelude::*;
use recall_eval::{
    Embeddings, EmbeddingsFile, EvalError, GroundTruth, read_ground_truth, read_labels, save_labels,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// As numpy writes it.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn bytes<const N: usize, T: Copy>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

fn tensors(list: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = list.iter().map(|(name, dtype, shape, data)| {
        (
            *name,
            TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

const VALUES: [f32; 6] = [1.0, -2.0, 0.5, 0.25, 3.0, -0.125];

/// Two rows of three values in every kind of file.
fn files_of_every_kind() -> Vec<(&'static str, Vec<u8>)> {
    let doubles = VALUES.map(f64::from);
    let halves = VALUES.map(f16::from_f32);
    let brains = VALUES.map(bf16::from_f32);
    let columns = [
        VALUES[0], VALUES[3], VALUES[1], VALUES[4], VALUES[2], VALUES[5],
    ];
    vec![
        (
            "f4.npy",
            npy("<f4", false, "(2, 3)", &bytes(&VALUES, f32::to_le_bytes)),
        ),
        (
            "f4-big.npy",
            npy(">f4", false, "(2, 3)", &bytes(&VALUES, f32::to_be_bytes)),
        ),
        (
            "f8.npy",
            npy("<f8", false, "(2, 3)", &bytes(&doubles, f64::to_le_bytes)),
        ),
        (
            "f2.npy",
            npy("<f2", false, "(2, 3)", &bytes(&halves, f16::to_le_bytes)),
        ),
        (
            "f2-big.npy",
            npy(">f2", false, "(2, 3)", &bytes(&halves, f16::to_be_bytes)),
        ),
        (
            "f8-big.npy",
            npy(">f8", false, "(2, 3)", &bytes(&doubles, f64::to_be_bytes)),
        ),
        (
            "fortran.NPY",
            npy("<f4", true, "(2, 3)", &bytes(&columns, f32::to_le_bytes)),
        ),
        (
            "named.safetensors",
            tensors(&[
                (
                    "embeddings",
                    Dtype::F32,
                    &[2, 3],
                    &bytes(&VALUES, f32::to_le_bytes),
                ),
                ("weights", Dtype::F32, &[1, 1], &[0; 4]),
            ]),
        ),
        (
            "only.safetensors",
            tensors(&[
                (
                    "features",
                    Dtype::F64,
                    &[2, 3],
                    &bytes(&doubles, f64::to_le_bytes),
                ),
                ("bias", Dtype::F32, &[1], &[0; 4]),
            ]),
        ),
        (
            "f16.safetensors",
            tensors(&[("x", Dtype::F16, &[2, 3], &bytes(&halves, f16::to_le_bytes))]),
        ),
        (
            "bf16.safetensors",
            tensors(&[(
                "x",
                Dtype::BF16,
                &[2, 3],
                &bytes(&brains, bf16::to_le_bytes),
            )]),
        ),
    ]
}

#[test]
fn embeddings_of_every_kind() {
    let folder = Folder::new();
    let want = Embeddings::new(VALUES.to_vec(), 3).unwrap();
    for (name, content) in files_of_every_kind() {
        let path = folder.file(name, &content);
        assert_eq!(Embeddings::open(&path).unwrap(), want, "{name}");
        // And row by row.
        let file = EmbeddingsFile::open(&path).unwrap();
        assert_eq!((file.rows(), file.dim(), file.path()), (2, 3, &*path));
        for range in [0..0, 0..1, 1..2, 0..2, 2..2] {
            let mut out = vec![f32::NAN; range.len() * 3];
            file.read(range.clone(), &mut out).unwrap();
            assert_eq!(out, VALUES[range.start * 3..range.end * 3], "{name}");
        }
    }
}

proptest! {
    #[test]
    fn ranges_of_rows_are_what_the_whole_holds(
        rows in 1usize..40_000,
        dim in 1usize..9,
        kind in 0usize..6,
        cuts in prop::collection::vec(0.0f64..1.0, 2),
    ) {
        // Numbers that all of these hold.
        let values: Vec<f32> = (0..rows * dim).map(|i| (i * 7919 % 256) as f32 - 128.0).collect();
        let doubles: Vec<f64> = values.iter().map(|&value| value.into()).collect();
        let halves: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
        let brains: Vec<bf16> = values.iter().map(|&value| bf16::from_f32(value)).collect();
        let shape = format!("({rows}, {dim})");
        let folder = Folder::new();
        let file = match kind {
            0 => folder.file("a.npy", &npy("<f2", false, &shape, &bytes(&halves, f16::to_le_bytes))),
            1 => folder.file("a.npy", &npy(">f4", false, &shape, &bytes(&values, f32::to_be_bytes))),
            2 => folder.file("a.npy", &npy("<f8", false, &shape, &bytes(&doubles, f64::to_le_bytes))),
            3 => folder.file("a.npy", &npy("<f4", true, &shape, &bytes(&values, f32::to_le_bytes))),
            _ => {
                let (dtype, data) = match kind {
                    4 => (Dtype::F32, bytes(&values, f32::to_le_bytes)),
                    _ => (Dtype::BF16, bytes(&brains, bf16::to_le_bytes)),
                };
                let bias = ("bias", Dtype::F32, &[1usize][..], &[0; 4][..]);
                let content = tensors(&[("x", dtype, &[rows, dim], &data), bias]);
                folder.file("a.safetensors", &content)
            }
        };
        let whole = Embeddings::open(&file).unwrap();
        let file = EmbeddingsFile::open(&file).unwrap();
        prop_assert_eq!((file.rows(), file.dim()), (rows, dim));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (cut * rows as f64) as usize).collect();
        cuts.sort_unstable();
        let range = cuts[0]..cuts[1];
        let mut out = vec![f32::NAN; range.len() * dim];
        file.read(range.clone(), &mut out).unwrap();
        prop_assert_eq!(&out[..], &whole.as_slice()[range.start * dim..range.end * dim]);
    }
}

#[test]
fn rows_that_are_not_there() {
    let folder = Folder::new();
    let content = npy("<f4", false, "(2, 3)", &bytes(&VALUES, f32::to_le_bytes));
    let path = folder.file("a.npy", &content);
    let file = EmbeddingsFile::open(&path).unwrap();
    let backwards = std::ops::Range { start: 2, end: 1 };
    for (range, room) in [(0..3, 9), (3..3, 0), (backwards, 0), (0..1, 2), (0..1, 4)] {
        let error = file.read(range, &mut vec![0.0; room]).unwrap_err();
        assert!(error.to_string().contains("of its 2 were asked for"));
    }
    // Cut short while it is open.
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(content.len() as u64 - 5)
        .unwrap();
    let mut row = [0.0; 3];
    file.read(0..1, &mut row).unwrap();
    assert_eq!(row, VALUES[..3]);
    let error = file.read(1..2, &mut row).unwrap_err().to_string();
    let want = format!(
        "{}: it ended early: it was changed while it was read; start again once nothing writes to it",
        path.display()
    );
    assert_eq!(error, want);
}

#[test]
fn integers_beside_the_embeddings() {
    let folder = Folder::new();
    let floats = bytes(&VALUES, f32::to_le_bytes);
    let content = tensors(&[
        ("embeddings", Dtype::F32, &[3, 2], &floats),
        ("bytes", Dtype::U8, &[3], &[3, 0, 255]),
        (
            "small",
            Dtype::I16,
            &[3],
            &bytes(&[3, -1, 7], i16::to_le_bytes),
        ),
        (
            "wide",
            Dtype::I64,
            &[2],
            &bytes(&[i64::MIN, 7], i64::to_le_bytes),
        ),
        ("flags", Dtype::BOOL, &[4], &[1, 0, 0, 1]),
        ("none", Dtype::I32, &[0], &[]),
        (
            "huge",
            Dtype::U64,
            &[1],
            &bytes(&[u64::MAX], u64::to_le_bytes),
        ),
        ("grid", Dtype::U8, &[1, 2], &[1, 2]),
        ("scale", Dtype::F32, &[1], &[0; 4]),
    ]);
    let file = EmbeddingsFile::open(folder.file("a.safetensors", &content)).unwrap();
    let cases: [(&str, Option<&[i64]>); 6] = [
        ("bytes", Some(&[3, 0, 255])),
        ("small", Some(&[3, -1, 7])),
        ("wide", Some(&[i64::MIN, 7])),
        ("flags", Some(&[1, 0, 0, 1])),
        ("none", Some(&[])),
        ("other", None),
    ];
    for (name, want) in cases {
        assert_eq!(file.integers(name).unwrap().as_deref(), want, "{name}");
    }
    for (name, fragment) in [
        ("huge", "a number of its tensor `huge` is above"),
        ("grid", "its tensor `grid` is U8 [1, 2]"),
        ("scale", "its tensor `scale` is F32 [1]"),
        ("embeddings", "its tensor `embeddings` is F32 [3, 2]"),
    ] {
        let error = file.integers(name).unwrap_err().to_string();
        assert!(error.contains(fragment), "{error}");
    }
    let npy = folder.file("a.npy", &npy("<f4", false, "(3, 2)", &floats));
    let file = EmbeddingsFile::open(npy).unwrap();
    assert_eq!(file.integers("embeddings").unwrap(), None);
}

#[test]
fn labels_of_every_kind() {
    let folder = Folder::new();
    let want = [3i64, 0, 7];
    let files = [
        npy("|i1", false, "(3,)", &[3, 0, 7]),
        npy("|u1", false, "(3,)", &[3, 0, 7]),
        npy("<i2", false, "(3,)", &bytes(&[3, 0, 7], i16::to_le_bytes)),
        npy("<u2", true, "(3,)", &bytes(&[3, 0, 7], u16::to_le_bytes)),
        npy(">i4", false, "(3,)", &bytes(&[3, 0, 7], i32::to_be_bytes)),
        npy("<u4", false, "(3,)", &bytes(&[3, 0, 7], u32::to_le_bytes)),
        npy("<i8", false, "(3,)", &bytes(&[3, 0, 7], i64::to_le_bytes)),
        npy(">u8", false, "(3,)", &bytes(&[3, 0, 7], u64::to_be_bytes)),
    ];
    for content in files {
        assert_eq!(
            read_labels(folder.file("labels.npy", &content)).unwrap(),
            want
        );
    }
    let floats = bytes(&VALUES, f32::to_le_bytes);
    let labels = bytes(&[3, 0, 7], i32::to_le_bytes);
    for name in ["labels", "targets"] {
        let content = tensors(&[
            ("embeddings", Dtype::F32, &[3, 2], &floats),
            (name, Dtype::I32, &[3], &labels),
            ("grid", Dtype::I32, &[3, 1], &labels),
        ]);
        assert_eq!(
            read_labels(folder.file("both.safetensors", &content)).unwrap(),
            want
        );
    }
}

#[test]
fn what_is_saved_is_read() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.path().join(name);
    // More values than are read at a time.
    let values: Vec<f32> = (0..50_000).map(|i| i as f32 / 7.0).collect();
    let embeddings = Embeddings::new(values, 5).unwrap();
    let labels: Vec<i64> = (0..10_000).map(|i| i * i - 5).collect();

    for name in ["e.npy", "e.safetensors"] {
        embeddings.save(path(name)).unwrap();
        assert_eq!(Embeddings::open(path(name)).unwrap(), embeddings);
        // Over a file that is there.
        embeddings.save(path(name)).unwrap();
    }
    for name in ["l.npy", "l.safetensors"] {
        save_labels(path(name), &labels).unwrap();
        assert_eq!(read_labels(path(name)).unwrap(), labels);
    }
    embeddings
        .save_with_labels(path("both.safetensors"), &labels)
        .unwrap();
    assert_eq!(
        Embeddings::open(path("both.safetensors")).unwrap(),
        embeddings
    );
    assert_eq!(read_labels(path("both.safetensors")).unwrap(), labels);

    assert!(
        embeddings
            .save_with_labels(path("both.npy"), &labels)
            .is_err()
    );
    assert!(
        embeddings
            .save_with_labels(path("both.safetensors"), &[1])
            .is_err()
    );
    assert!(matches!(
        embeddings.save(path("no/e.npy")),
        Err(EvalError::Io { .. })
    ));
    let left = fs::read_dir(folder.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_string_lossy().contains("partial"))
    );
}

#[test]
fn values_that_cannot_be_judged() {
    let values = |values: &[f32], dim| Embeddings::new(values.to_vec(), dim);
    let message = |result: Result<Embeddings, EvalError>| result.unwrap_err().to_string();
    assert!(message(values(&[], 3)).contains("no embeddings"));
    assert!(message(values(&[1.0], 0)).contains("no embeddings"));
    assert_eq!(
        message(values(&[1.0; 5], 2)),
        "5 values do not divide into rows of 2"
    );
    assert_eq!(
        message(values(&[1.0, 2.0, 3.0, f32::NAN, f32::INFINITY, 1.0], 2)),
        "row 1 of the embeddings has NaN in column 1: an evaluation needs finite values"
    );
    let zero = values(&[1.0, 2.0, 0.0, -0.0], 2).unwrap();
    assert!(!zero.is_normalised());
    assert!(message(zero.normalised()).contains("row 1 of the embeddings is zero"));

    // Lengths whose squares leave the range of f32.
    let extreme = values(&[3e30, 4e30, 3e-40, 4e-40], 2)
        .unwrap()
        .normalised()
        .unwrap();
    assert!(extreme.is_normalised());
    assert!((extreme.row(1)[0] - 0.6).abs() < 1e-4);

    // The file is named, too; a double that is no finite float counts as infinite.
    let folder = Folder::new();
    let content = npy(
        "<f8",
        false,
        "(1, 2)",
        &bytes(&[1.0, 1e300], f64::to_le_bytes),
    );
    let path = folder.file("large.npy", &content);
    let error = message(Embeddings::open(&path));
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(
        error.contains("row 0 of the embeddings has inf in column 1"),
        "{error}"
    );
}

/// Every one of these is refused with one line that names the file.
#[test]
fn files_that_are_no_embeddings() {
    let data = bytes(&VALUES, f32::to_le_bytes);
    let good = npy("<f4", false, "(2, 3)", &data);
    let record = npy("", false, "(2, 3)", &data);
    let record = String::from_utf8_lossy(&record[10..128])
        .replace("'descr': ''", "'descr': [('x', '<f4')]")
        .into_bytes();
    let mut record_file = b"\x93NUMPY\x01\x00".to_vec();
    record_file.extend((record.len() as u16).to_le_bytes());
    record_file.extend(&record);
    let mut longer = good.clone();
    longer.push(0);
    let mut version = good.clone();
    version[6] = 9;
    let deep = npy("<f4", false, &"(".repeat(30_000), &[]);
    let tensor = tensors(&[("embeddings", Dtype::F32, &[2, 3], &data)]);
    let two = tensors(&[
        ("a", Dtype::F32, &[2, 3], &data),
        ("b", Dtype::F32, &[3, 2], &data),
    ]);

    let cases: &[(&str, &[u8], &str)] = &[
        ("a.npy", &[], "ends within its header"),
        ("a.npy", &good[..40], "ends within its header"),
        (
            "a.npy",
            &good[..good.len() - 1],
            "24 bytes of data, but 23 follow",
        ),
        ("a.npy", &longer, "24 bytes of data, but 25 follow"),
        (
            "a.npy",
            b"PK\x03\x04 something else",
            "does not start as one",
        ),
        ("a.npy", &version, "version that is not known"),
        ("a.npy", &deep, "not that of a plain array"),
        ("a.npy", &record_file, "records of several fields"),
        (
            "a.npy",
            &npy("|O", false, "(2, 3)", &data),
            "Python objects",
        ),
        ("a.npy", &npy("<i4", false, "(2, 3)", &data), "of type <i4"),
        ("a.npy", &npy("<U1", false, "(2, 3)", &data), "of type <U1"),
        (
            "a.npy",
            &npy("<f3", false, "(2, 3)", &data),
            "cannot be understood",
        ),
        ("a.npy", &npy("<f4", false, "(6,)", &data), "shape is [6]"),
        (
            "a.npy",
            &npy("<f4", false, "(1, 2, 3)", &data),
            "shape is [1, 2, 3]",
        ),
        ("a.npy", &npy("<f4", false, "()", &data[..4]), "shape is []"),
        ("a.npy", &npy("<f4", false, "(0, 3)", &[]), "no embeddings"),
        (
            "a.npy",
            &npy("<f4", false, "(0, 99999999999999999)", &[]),
            "no embeddings",
        ),
        ("a.npy", &npy("<f4", false, "(3, 0)", &[]), "no embeddings"),
        (
            "a.npy",
            &npy("<f4", false, "(-2, 3)", &data),
            "cannot be understood",
        ),
        (
            "a.npy",
            &npy("<f4", false, "(4294967296, 99999999)", &data),
            "announces",
        ),
        (
            "a.npy",
            &npy("<f4", false, "(4294967296, 4294967296)", &data),
            "plain array",
        ),
        (
            "a.npy",
            &npy("<f4", false, "(0xffffffffffff, 0xffffffff)", &data),
            "plain array",
        ),
        ("a.safetensors", &[], "ends before its header"),
        ("a.safetensors", &tensor[..20], "ends within its header"),
        (
            "a.safetensors",
            &tensor[..tensor.len() - 1],
            "24 bytes of data, but 23 follow",
        ),
        (
            "a.safetensors",
            &two,
            "several hold floats (F16, BF16, F32 or F64) with two axes: a, b",
        ),
        (
            "a.safetensors",
            &tensors(&[("labels", Dtype::I32, &[6], &data)]),
            "no tensor is named `embeddings`",
        ),
        (
            "a.safetensors",
            &tensors(&[("embeddings", Dtype::F32, &[6], &data)]),
            "its tensor `embeddings` is F32 [6]",
        ),
        (
            "a.safetensors",
            &tensors(&[("embeddings", Dtype::I32, &[2, 3], &data)]),
            "its tensor `embeddings` is I32 [2, 3]",
        ),
        (
            "a.safetensors",
            &tensors(&[("embeddings", Dtype::F32, &[0, 3], &[])]),
            "no embeddings",
        ),
        ("a.npz", &good, "numpy.load"),
        ("a.pt", &good, ".cpu().numpy()"),
        ("a.csv", &good, "numpy.loadtxt"),
        ("a", &good, ".npy or .safetensors"),
    ];
    let folder = Folder::new();
    for (name, content, fragment) in cases {
        let path = folder.file(name, content);
        let error = Embeddings::open(&path).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: ", path.display())),
            "{error}"
        );
        assert!(error.contains(fragment), "{error} should say {fragment}");
        assert!(!error.contains('\n'), "{error}");
        let on_disk = EmbeddingsFile::open(&path).unwrap_err().to_string();
        assert_eq!(on_disk, error);
    }
    let missing = folder.0.path().join("missing.npy");
    assert!(matches!(
        Embeddings::open(missing),
        Err(EvalError::Io { .. })
    ));
    assert!(matches!(
        read_labels(folder.0.path()),
        Err(EvalError::File { .. })
    ));
}

#[test]
fn files_that_are_no_labels() {
    let data = bytes(&[3, 0, 7], i64::to_le_bytes);
    let cases: &[(&str, &[u8], &str)] = &[
        ("a.npy", &npy("<f8", false, "(3,)", &data), "labels.astype"),
        (
            "a.npy",
            &npy("|b1", false, "(3,)", &[1, 0, 1]),
            "labels.astype",
        ),
        ("a.npy", &npy("<U2", false, "(3,)", &data), "numpy.unique"),
        ("a.npy", &npy("<i8", false, "(3, 1)", &data), "ravel"),
        (
            "a.npy",
            &npy("<i8", false, "(4,)", &data),
            "32 bytes of data, but 24 follow",
        ),
        ("a.npy", &npy("<i8", false, "(0,)", &[]), "holds no label"),
        (
            "a.npy",
            &npy("<u8", false, "(3,)", &[255; 24]),
            "above 9223372036854775807",
        ),
        (
            "a.safetensors",
            &tensors(&[("labels", Dtype::U64, &[3], &[255; 24])]),
            "above",
        ),
        (
            "a.safetensors",
            &tensors(&[("labels", Dtype::F64, &[3], &data)]),
            "F64 [3]",
        ),
        (
            "a.safetensors",
            &tensors(&[("x", Dtype::I64, &[3, 1], &data)]),
            "none holds integers",
        ),
    ];
    let folder = Folder::new();
    for (name, content, fragment) in cases {
        let path = folder.file(name, content);
        let error = read_labels(&path).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: ", path.display())),
            "{error}"
        );
        assert!(error.contains(fragment), "{error} should say {fragment}");
    }
}

proptest! {
    /// Whatever is in a file, reading it ends in a value or in an error.
    #[test]
    fn damage_is_never_a_panic(
        is_npy: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let data = bytes(&VALUES, f32::to_le_bytes);
        let (name, mut content) = if is_npy {
            ("a.npy", npy("<f4", false, "(2, 3)", &data))
        } else {
            ("a.safetensors", tensors(&[("embeddings", Dtype::F32, &[2, 3], &data)]))
        };
        for (at, byte) in changes {
            let at = at.index(content.len());
            content[at] = byte;
        }
        if let Some(end) = end {
            content.truncate(end.index(content.len()));
        }
        let folder = Folder::new();
        let path = folder.file(name, &content);
        let _ = Embeddings::open(&path);
        let _ = read_labels(&path);
    }
}

#[test]
fn a_ground_truth_of_every_kind() {
    let folder = Folder::new();
    let read = |text: &str| read_ground_truth(folder.file("gnd.json", text.as_bytes()));
    let lists = GroundTruth::Lists {
        positives: vec![vec![3, 1], vec![]],
        junk: vec![vec![0], vec![]],
    };
    for text in [
        r#"[{"positives": [3, 1], "junk": [0]}, {"positives": []}]"#,
        r#"[{"ok": [3, 1], "junk": [0], "bbx": [0.5, 1, 2, 3]}, {"ok": []}]"#,
        "\u{feff}[{\"ok\": [3, 1], \"junk\": [0]}, {\"ok\": []}]",
        r#"{"imlist": ["a"], "gnd": [{"ok": [3, 1], "junk": [0]}, {"ok": []}]}"#,
    ] {
        assert_eq!(read(text).unwrap(), lists, "{text}");
    }
    let graded = read(r#"[{"easy": [1], "hard": [], "junk": [2]}]"#).unwrap();
    assert_eq!(graded.queries(), 1);
    let one = |values: &[f32]| Embeddings::new(values.to_vec(), 1).unwrap();
    let (queries, gallery) = (one(&[1.0]), one(&[0.3, 0.2, 0.1]));
    let setups = graded.retrievals(&queries, &gallery).unwrap();
    let ranks: Vec<Vec<u32>> = setups
        .iter()
        .map(|(setup, retrieval)| {
            assert!(setup.is_some());
            retrieval.ranks().unwrap().of(0).to_vec()
        })
        .collect();
    assert_eq!(ranks, [vec![2], vec![2], vec![]]);

    let outside = read(r#"[{"positives": [3]}]"#).unwrap();
    let error = outside.retrievals(&queries, &gallery).unwrap_err();
    assert!(matches!(error, EvalError::UnknownItem { id: 3, .. }));
    assert!(matches!(
        lists.retrievals(&queries, &gallery).unwrap_err(),
        EvalError::ListCount {
            lists: 2,
            queries: 1,
            ..
        }
    ));
}

#[test]
fn files_that_are_no_ground_truth() {
    let folder = Folder::new();
    for (text, problem) in [
        ("", "no JSON"),
        ("[{", "no JSON"),
        ("[]", "it has no query"),
        (r#"{"gnd": []}"#, "it has no query"),
        ("[3]", "query 0 is no object"),
        (r#"[[[3], [1]]]"#, "query 0 is no object with named lists"),
        (r#"{"queries": []}"#, "no ground truth"),
        (
            r#"[{"positives": [-1]}]"#,
            "query 0 has something else than lists of ids",
        ),
        (
            r#"[{"ok": [1]}, {"ok": [0.5]}]"#,
            "query 1 has something else than lists of ids",
        ),
        (
            r#"[{"positives": [1, 2], "junk": [0, 2]}]"#,
            "item 2 is both in positives and in junk of query 0",
        ),
        (
            r#"[{"easy": [1], "hard": []}, {"easy": [], "hard": [4], "junk": [4]}]"#,
            "item 4 is both in hard and in junk of query 1",
        ),
        (
            r#"[{"positives": [1]}, {"junk": [1]}]"#,
            "query 1 does not have positives",
        ),
        (
            r#"[{"easy": [1], "hard": []}, {"positives": [1]}]"#,
            "query 1 does not have easy and hard",
        ),
        (
            r#"[{"junk": [1]}]"#,
            "query 0 has neither positives nor easy and hard",
        ),
        (
            r#"[{"positives": [1], "easy": []}]"#,
            "query 0 does not have positives",
        ),
    ] {
        let error = read_ground_truth(folder.file("gnd.json", text.as_bytes())).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(problem) && message.contains("gnd.json"),
            "{text}: {message}"
        );
        assert!(!message.contains('\n'), "{message}");
    }
    let deep = "[".repeat(100_000);
    assert!(read_ground_truth(folder.file("gnd.json", deep.as_bytes())).is_err());
}
