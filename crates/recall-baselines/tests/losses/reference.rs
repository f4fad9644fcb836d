//! Values of the authors' code, computed in f64.

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::check::{Case, Expected, Matrix};

/// A file of values, each result under the name of a variant.
pub struct Reference {
    bytes: Vec<u8>,
}

impl Reference {
    pub fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/reference")
            .join(format!("{name}.safetensors"));
        Self {
            bytes: std::fs::read(path).unwrap(),
        }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    /// The settings of each variant, a JSON object.
    pub fn variants(&self) -> Vec<(String, Value)> {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        let parsed = metadata
            .into_iter()
            .map(|(name, text)| (name, serde_json::from_str(&text).unwrap()));
        let mut variants: Vec<(String, Value)> = parsed
            .filter(|(_, value): &(_, Value)| value.is_object())
            .collect();
        variants.sort_by(|a, b| a.0.cmp(&b.0));
        variants
    }

    /// A setting of a file that has no variants, as text.
    pub fn setting(&self, name: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        header.metadata().clone().unwrap()[name].clone()
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    pub fn floats(&self, name: &str) -> Vec<f64> {
        let tensors = self.tensors();
        let view = tensors
            .tensor(name)
            .unwrap_or_else(|_| panic!("there is no {name}"));
        if view.dtype() == safetensors::Dtype::F32 {
            let (chunks, _) = view.data().as_chunks::<4>();
            return chunks
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes).into())
                .collect();
        }
        assert_eq!(view.dtype(), safetensors::Dtype::F64, "{name}");
        let (chunks, _) = view.data().as_chunks::<8>();
        chunks
            .iter()
            .map(|&bytes| f64::from_le_bytes(bytes))
            .collect()
    }

    pub fn integers(&self, name: &str) -> Vec<i64> {
        let tensors = self.tensors();
        let view = tensors
            .tensor(name)
            .unwrap_or_else(|_| panic!("there is no {name}"));
        assert_eq!(view.dtype(), safetensors::Dtype::I64, "{name}");
        let (chunks, _) = view.data().as_chunks::<8>();
        chunks
            .iter()
            .map(|&bytes| i64::from_le_bytes(bytes))
            .collect()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors().tensor(name).unwrap().shape().to_vec()
    }

    /// A tensor as a matrix: its last axis, and all others together.
    pub fn matrix(&self, name: &str) -> Matrix {
        Matrix {
            dim: *self.shape(name).last().unwrap(),
            values: self.floats(name),
        }
    }

    /// Rows of integers, such as triplets.
    pub fn tuples<const N: usize>(&self, name: &str) -> Vec<[usize; N]> {
        let values = self.integers(name);
        let (tuples, _) = values.as_chunks::<N>();
        tuples
            .iter()
            .map(|tuple| tuple.map(|index| index as usize))
            .collect()
    }

    /// The batch of the file; `parameters` is the name of what is trained.
    pub fn case(&self, parameters: Option<&str>) -> Case {
        Case {
            embeddings: self.matrix("embeddings"),
            labels: self.integers("labels"),
            parameters: parameters.map(|name| self.matrix(name)),
            seed: 0,
        }
    }

    /// What a variant comes to; `parameters` is the name of what is trained.
    pub fn expected(&self, variant: &str, parameters: Option<&str>) -> Expected {
        Expected {
            loss: self.floats(&format!("loss.{variant}"))[0],
            grad: self.floats(&format!("grad.{variant}")),
            grad_parameters: parameters.map(|name| self.floats(&format!("grad_{name}.{variant}"))),
        }
    }
}
