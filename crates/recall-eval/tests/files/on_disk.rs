//! Embeddings that stay in their file.

use std::fs;

use half::{bf16, f16};
use proptest::prelude::*;
use recall_eval::{Embeddings, EmbeddingsFile};
use safetensors::Dtype;

use crate::made::{Folder, VALUES, bytes, npy, tensors};

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
