//! Labels in files.

use recall_eval::read_labels;
use safetensors::Dtype;

use crate::made::{Folder, VALUES, bytes, npy, tensors};

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
