//! Embeddings in files: what is read, and what is refused.

use std::fs;

use proptest::prelude::*;
use recall_eval::{Embeddings, EmbeddingsFile, EvalError, read_labels, save_labels};
use safetensors::Dtype;

use crate::made::{Folder, VALUES, bytes, files_of_every_kind, npy, tensors};

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
