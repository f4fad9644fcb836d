//! Files of reference outputs.

use std::{collections::HashMap, path::Path};

use safetensors::{Dtype, SafeTensors};

/// A safetensors file of `tests/reference`.
pub struct Stored {
    bytes: Vec<u8>,
    settings: HashMap<String, String>,
}

impl Stored {
    pub fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/reference")
            .join(format!("{name}.safetensors"));
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let settings = header.metadata().clone().expect("settings in the file");
        Self { bytes, settings }
    }

    pub fn setting(&self, key: &str) -> &str {
        &self.settings[key]
    }

    pub fn floats(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        match view.dtype() {
            Dtype::F32 => {
                let (chunks, _) = view.data().as_chunks::<4>();
                chunks
                    .iter()
                    .map(|&b| f32::from_le_bytes(b).into())
                    .collect()
            }
            Dtype::F64 => {
                let (chunks, _) = view.data().as_chunks::<8>();
                chunks.iter().map(|&b| f64::from_le_bytes(b)).collect()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn integers(&self, name: &str) -> Vec<i64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let (chunks, _) = view.data().as_chunks::<8>();
        chunks.iter().map(|&b| i64::from_le_bytes(b)).collect()
    }

    /// Integers that count something.
    pub fn numbers(&self, name: &str) -> Vec<usize> {
        let integers = self.integers(name);
        integers.iter().map(|&integer| integer as usize).collect()
    }

    /// The length of the rows of a matrix.
    pub fn width(&self, name: &str) -> usize {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.tensor(name).unwrap().shape()[1]
    }
}
