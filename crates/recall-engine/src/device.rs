//! Where engines are created.

use burn::tensor::backend::{AutodiffBackend, Backend};
use recall_eval::{EvalError, PositiveRanks, Retrieval};

use crate::memory::{is_processor, of_process_or_untold};
use crate::{Engine, EngineBackend, EngineConfig, EngineError, Memory, OnDevice};

/// A device of some backend.
pub trait Device {
    /// Backend and device by the name that Burn gives them.
    fn name(&self) -> String;

    /// Whether it computes with the processor, and so in the memory of the process.
    fn is_processor(&self) -> bool;

    /// The memory that it computes in.
    fn memory(&self) -> Box<dyn Memory>;

    /// The ranks of each query's positives, multiplied and compared there.
    ///
    /// # Errors
    ///
    /// Those of [`Retrieval::ranks_on`].
    fn ranks(&self, retrieval: &Retrieval<'_>) -> Result<PositiveRanks, EvalError>;

    /// Creates the model that `config` names, with random weights, and what trains it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Loss`] if the loss refuses its settings; [`EngineError::OwnModel`].
    fn engine(&self, config: &EngineConfig) -> Result<Box<dyn Engine>, EngineError>;
}

/// A device of the backend `B`, which need not be one of the trainer's. Devices other than the
/// processor do not report their memory by it; those of the trainer's backends do.
pub fn of_backend<B>(device: B::Device) -> impl Device + Clone
where
    B: EngineBackend,
{
    DeviceOf::<B> {
        device,
        memory: of_process_or_untold::<B>,
    }
}

/// A device of the backend `B`.
pub(crate) struct DeviceOf<B: AutodiffBackend> {
    pub device: B::Device,
    /// Opens its memory.
    pub memory: fn(&B::Device) -> Box<dyn Memory>,
}

impl<B: AutodiffBackend> Clone for DeviceOf<B> {
    fn clone(&self) -> Self {
        Self {
            device: self.device.clone(),
            memory: self.memory,
        }
    }
}

impl<B: EngineBackend> Device for DeviceOf<B> {
    fn name(&self) -> String {
        <B::InnerBackend as Backend>::name(&self.device)
    }

    fn is_processor(&self) -> bool {
        is_processor(&self.name())
    }

    fn memory(&self) -> Box<dyn Memory> {
        (self.memory)(&self.device)
    }

    fn ranks(&self, retrieval: &Retrieval<'_>) -> Result<PositiveRanks, EvalError> {
        retrieval.ranks_on::<B::InnerBackend>(&self.device)
    }

    fn engine(&self, config: &EngineConfig) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(OnDevice::standard(config, self.clone())?))
    }
}
