//! How much memory there is, and how much of it is taken: of the machine for backends that compute on
//! the processor, else of the device.

#[cfg(feature = "cubecl")]
mod of_device;
mod of_process;

use burn::tensor::backend::Backend;

#[cfg(feature = "cubecl")]
pub use of_device::OfDevice;
pub use of_process::OfProcess;

/// The memory that a backend computes in. All sizes are in bytes, and none where they are not known.
pub trait Memory {
    /// Makes what is taken now the peak, and says whether that worked.
    fn forget_peak(&self) -> bool;

    /// What the process takes now.
    fn taken(&self) -> Option<u64>;

    /// The most that it has taken since the peak was forgotten.
    fn peak(&self) -> Option<u64>;

    /// What it takes now and could take besides.
    fn room(&self) -> Option<u64>;
}

/// Memory of a device that reports nothing.
#[derive(Debug, Clone, Copy)]
pub struct Untold;

impl Memory for Untold {
    fn forget_peak(&self) -> bool {
        false
    }

    fn taken(&self) -> Option<u64> {
        None
    }

    fn peak(&self) -> Option<u64> {
        None
    }

    fn room(&self) -> Option<u64> {
        None
    }
}

/// The memory of the process for Burn's processor backends; that of others is not known.
pub(crate) fn of_process_or_untold<B: Backend>(device: &B::Device) -> Box<dyn Memory> {
    match is_processor(&B::name(device)) {
        true => Box::new(OfProcess),
        false => Box::new(Untold),
    }
}

/// Whether the backend with this name computes with the processor.
pub(crate) fn is_processor(name: &str) -> bool {
    name.starts_with("flex") || name.starts_with("ndarray")
}
