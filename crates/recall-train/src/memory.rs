//! How much memory there is, and how much of it is taken: of the machine for backends that compute on
//! the processor, else of the device.

use std::fs;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use std::{any::Any, marker::PhantomData};

use burn::tensor::backend::Backend;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl::{Runtime, client::ComputeClient};
use sysinfo::System;

/// The memory that a backend computes in. All sizes are in bytes, and none where they are not told.
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

/// The memory that `B` computes in on `device`.
pub fn memory_of<B: Backend>(device: &B::Device) -> Box<dyn Memory> {
    if on_processor::<B>(device) {
        return Box::new(OfProcess);
    }
    #[cfg(feature = "cuda")]
    if let Some(cuda) = (device as &dyn Any).downcast_ref::<burn_cuda::CudaDevice>() {
        return Box::new(OfDevice::<B, cubecl::cuda::CudaRuntime>::new(
            device,
            cuda,
            free_on_cuda(cuda.index),
        ));
    }
    #[cfg(feature = "wgpu")]
    if let Some(wgpu) = (device as &dyn Any).downcast_ref::<burn_wgpu::WgpuDevice>() {
        // No graphics interface tells what is free.
        return Box::new(OfDevice::<B, cubecl::wgpu::WgpuRuntime>::new(
            device, wgpu, None,
        ));
    }
    Box::new(Untold)
}

/// Whether `B` computes with the processor, and so in the memory of the process.
pub(crate) fn on_processor<B: Backend>(device: &B::Device) -> bool {
    let name = B::name(device);
    name.starts_with("flex") || name.starts_with("ndarray")
}

/// Memory of a backend that does not tell.
struct Untold;

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

/// Memory of the process.
struct OfProcess;

impl Memory for OfProcess {
    fn forget_peak(&self) -> bool {
        fs::write("/proc/self/clear_refs", "5").is_ok()
    }

    fn taken(&self) -> Option<u64> {
        status("VmRSS:")
    }

    fn peak(&self) -> Option<u64> {
        status("VmHWM:")
    }

    fn room(&self) -> Option<u64> {
        let mut system = System::new();
        system.refresh_memory();
        let machine = system.available_memory();
        // A container may have less than its machine. What it keeps of files gives way.
        let container = system
            .cgroup_limits()
            .map(|limits| limits.total_memory.saturating_sub(limits.rss));
        let free = container.map_or(machine, |container| container.min(machine));
        Some(free + self.taken()?)
    }
}

fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Memory of a device of CubeCL, which keeps what was freed until it is told to clean up: what is
/// reserved is the peak since then.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
struct OfDevice<B: Backend, R: Runtime> {
    device: B::Device,
    client: ComputeClient<R>,
    /// When this was made, what was reserved and what was free besides.
    room: Option<u64>,
    backend: PhantomData<B>,
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl<B: Backend, R: Runtime> OfDevice<B, R> {
    fn new(device: &B::Device, of_runtime: &R::Device, free: Option<u64>) -> Self {
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

#[cfg(any(feature = "cuda", feature = "wgpu"))]
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

/// What CUDA's driver says is free on a device.
#[cfg(feature = "cuda")]
fn free_on_cuda(index: usize) -> Option<u64> {
    let context = cudarc::driver::CudaContext::new(index).ok()?;
    let (free, _) = context.mem_get_info().ok()?;
    Some(free as u64)
}
