//! Tells the weights of a backbone from all others.

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use sha2::{Digest, Sha256};

use crate::Embedder;
use crate::walk::Walk;

/// A hash of the names, shapes and values of all parameters of the backbone, in hexadecimal digits.
pub(crate) fn backbone_hash<B: Backend, M: Embedder<B>>(model: &M) -> String {
    let mut hash = Hash {
        walk: Walk::new(model),
        digest: Sha256::new(),
    };
    model.visit(&mut hash);
    let digest = hash.digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Hash<'a, M> {
    walk: Walk<'a, M>,
    digest: Sha256,
}

impl<B: Backend, M: Embedder<B>> ModuleVisitor<B> for Hash<'_, M> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.walk.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.walk.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.walk.stage().is_none() {
            return;
        }
        let tensor = param.val();
        let name = self.walk.path.join(".");
        self.digest.update(format!("{name} {:?} ", tensor.dims()));
        let values = tensor.into_data();
        for value in values.iter::<f32>() {
            self.digest.update(value.to_le_bytes());
        }
    }
}
