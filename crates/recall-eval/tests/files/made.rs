//! Files as other programs make them.

use std::fs;
use std::path::PathBuf;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// As numpy writes it.
pub fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
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

pub fn bytes<const N: usize, T: Copy>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

pub fn tensors(list: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = list.iter().map(|(name, dtype, shape, data)| {
        (
            *name,
            TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

pub const VALUES: [f32; 6] = [1.0, -2.0, 0.5, 0.25, 3.0, -0.125];

/// Two rows of three values in every kind of file.
pub fn files_of_every_kind() -> Vec<(&'static str, Vec<u8>)> {
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
