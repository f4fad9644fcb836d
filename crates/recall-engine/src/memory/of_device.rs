use std::marker::PhantomData;

use burn::tensor::backend::Backend;
use cubecl::{Runtime, client::ComputeClient};

use super::Memory;

/// Memory of a device of CubeCL, which keeps what was freed until it is asked to clean up: what is
/// reserved is the peak since then.
pub struct OfDevice<B: Backend, R: Runtime> {
    device: B::Device,
    client: ComputeClient<R>,
    /// When this was created, what was reserved and what was free besides.
    room: Option<u64>,
    backend: PhantomData<B>,
}

impl<B: Backend, R: Runtime> OfDevice<B, R> {
    /// The memory of `device`, which is `of_runtime` to CubeCL and has `free` bytes free, where that is
    /// known.
    pub fn new(device: &B::Device, of_runtime: &R::Device, free: Option<u64>) -> Self {
        let mut new = Self {
            device: device.clone(),
            client: R::client(of_runtime),
            room: None,
            backend: PhantomData,
        };
        new.room = free.and_then(|free| Some(free + new.peak()?));
        new
    }
}

impl<B: Backend, R: Runtime> Memory for OfDevice<B, R> {
    fn forget_peak(&self) -> bool {
        let waits = || B::sync(&self.device).is_ok();
        waits() && {
            B::memory_cleanup(&self.device);
            waits()
        }
    }

    fn taken(&self) -> Option<u64> {
        self.forget_peak().then(|| self.peak()).flatten()
    }

    fn peak(&self) -> Option<u64> {
        B::sync(&self.device).ok()?;
        self.client
            .memory_usage()
            .ok()
            .map(|usage| usage.bytes_reserved)
    }

    fn room(&self) -> Option<u64> {
        self.room
    }
}
