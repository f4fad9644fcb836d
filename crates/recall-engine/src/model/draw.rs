//! Random weights that are the same on every backend.
//!
//! Each backend of Burn has a generator of its own, so a seed means other weights on a GPU than on a CPU. The weights
//! are drawn by Flex's, on the host, and copied to the device.

use std::vec::IntoIter;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use recall_nn::NnBackend;

use super::{ModelConfig, Network};
use crate::EngineError;

impl ModelConfig {
    /// Creates the model with random weights that follow from the seed alone, whatever the backend: those that
    /// [`init`](Self::init) draws on Flex.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    ///
    /// # Panics
    ///
    /// As [`init`](Self::init).
    pub fn draw<B: NnBackend>(
        &self,
        image: [usize; 2],
        seed: u64,
        device: &B::Device,
    ) -> Result<Network<B>, EngineError> {
        let host = Default::default();
        Flex::seed(&host, seed);
        let mut drawn = Drawn(Vec::new());
        self.init::<Flex>(image, &host)?.visit(&mut drawn);
        let model = self.init::<B>(image, device)?;
        Ok(model.map(&mut Copied(drawn.0.into_iter())))
    }
}

/// The values of all parameters, in the order of a visit. Burn draws each when it is first looked at.
struct Drawn(Vec<TensorData>);

impl ModuleVisitor<Flex> for Drawn {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Flex, D>>) {
        self.0.push(param.transform_for_save().val().into_data());
    }
}

/// Hands them to the parameters of another backend's model, which are not drawn first.
struct Copied(IntoIter<TensorData>);

impl<B: Backend> ModuleMapper<B> for Copied {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(values) = self.0.next() else {
            return param;
        };
        let (id, device) = (param.id, param.lazy_device());
        param.transform_for_load(Tensor::from_data(values, &device), id)
    }
}
