//! The engine on `burn-cuda`, for NVIDIA GPUs.

use burn::backend::Autodiff;
use burn_cuda::{Cuda, CudaDevice};
use recall_engine::{Backend, Memory, OfDevice};

/// The CUDA backend.
pub static BACKEND: Backend = Backend {
    name: "cuda",
    hint: "install NVIDIA's driver and the CUDA toolkit's nvrtc, or choose --backend flex, which needs \
           neither",
    is_worthwhile: || true,
    answers: Backend::probe::<Cuda>,
    open: || Backend::device::<Autodiff<Cuda>>(memory),
};

fn memory(device: &CudaDevice) -> Box<dyn Memory> {
    type OfCuda = OfDevice<Autodiff<Cuda>, cubecl::cuda::CudaRuntime>;
    Box::new(OfCuda::new(device, device, free(device.index)))
}

/// What the driver says is free on a device, in bytes.
fn free(index: usize) -> Option<u64> {
    let context = cudarc::driver::CudaContext::new(index).ok()?;
    let (free, _) = context.mem_get_info().ok()?;
    Some(free as u64)
}
