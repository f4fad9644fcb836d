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
    answers: |process| Backend::probe::<Cuda>(|| device_of(process)),
    open: |process| Backend::device::<Autodiff<Cuda>>(CudaDevice::new(process), memory),
};

/// The device of a process, of which each has one.
fn device_of(process: usize) -> Result<CudaDevice, String> {
    // One process needs no count: what is wrong with the driver shows when the device is used.
    if process > 0 {
        let count =
            cudarc::driver::CudaContext::device_count().map_err(|error| error.to_string())?;
        if usize::try_from(count).is_ok_and(|count| process >= count) {
            return Err(format!(
                "process {} of this machine has none, as there are {count}",
                process + 1
            ));
        }
    }
    Ok(CudaDevice::new(process))
}

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
