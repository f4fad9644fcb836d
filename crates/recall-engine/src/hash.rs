//! Tells the weights of a model from all others.

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use sha2::{Digest, Sha256};

use crate::Embedder;
use crate::walk::Walk;

/// A hash of the names, shapes and values of all parameters of the backbone, in hexadecimal digits.
pub(crate) fn backbone_hash<B: Backend, M: Embedder<B>>(model: &M) -> String {
    digits(of_parameters(model, true))
}

/// The same of all parameters of the model, and of what its loss trains.
pub(crate) fn weights_hash<B: Backend, M: Embedder<B>, L: Backend>(
    model: &M,
    loss: Option<Tensor<L, 2>>,
) -> String {
    let mut digest = of_parameters(model, false);
    if let Some(parameters) = loss {
        add(&mut digest, "loss", parameters);
    }
    digits(digest)
}

fn of_parameters<B: Backend, M: Embedder<B>>(model: &M, backbone_only: bool) -> Sha256 {
    let mut hash = Hash {
        walk: Walk::new(model),
        digest: Sha256::new(),
        backbone_only,
    };
    model.visit(&mut hash);
    hash.digest
}

fn digits(digest: Sha256) -> String {
    let digest = digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add<B: Backend, const D: usize>(digest: &mut Sha256, name: &str, tensor: Tensor<B, D>) {
    digest.update(format!("{name} {:?} ", tensor.dims()));
    let values = tensor.into_data();
    for value in values.iter::<f32>() {
        digest.update(value.to_le_bytes());
    }
}

struct Hash<'a, M> {
    walk: Walk<'a, M>,
    digest: Sha256,
    backbone_only: bool,
}

impl<B: Backend, M: Embedder<B>> ModuleVisitor<B> for Hash<'_, M> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.walk.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.walk.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.backbone_only && self.walk.stage().is_none() {
            return;
        }
        let name = self.walk.path.join(".");
        add(&mut self.digest, &name, param.val());
    }
}
