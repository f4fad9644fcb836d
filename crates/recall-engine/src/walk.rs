//! The way of a visitor through a model.

use burn::tensor::backend::Backend;

use crate::Embedder;

/// Where in a model a visit is.
pub(crate) struct Walk<'a, M> {
    model: &'a M,
    pub path: Vec<String>,
}

impl<'a, M> Walk<'a, M> {
    pub fn new(model: &'a M) -> Self {
        Self {
            model,
            path: Vec::new(),
        }
    }

    /// The name of the variant is no part of a path.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    pub fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }

    /// The stage of the backbone that the visit is in; none in the head.
    pub fn stage<B: Backend>(&self) -> Option<usize>
    where
        M: Embedder<B>,
    {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        self.model.stage(&path)
    }
}
