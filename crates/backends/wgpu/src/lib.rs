//! The engine on `burn-wgpu`, for GPUs through Vulkan, Metal or DirectX.

use burn::backend::Autodiff;
use burn::tensor::try_read_sync;
use burn_wgpu::{Wgpu, WgpuDevice};
use recall_engine::{Backend, Memory, OfDevice};
use wgpu::{Backends, DeviceType, Instance, InstanceDescriptor};

/// The wgpu backend.
pub static BACKEND: Backend = Backend {
    name: "wgpu",
    hint: "install a Vulkan driver, or choose --backend flex, which needs none",
    is_worthwhile: has_hardware,
    answers: |_| Backend::probe::<Wgpu>(|| Ok(WgpuDevice::default())),
    open: |_| Backend::device::<Autodiff<Wgpu>>(WgpuDevice::default(), memory),
};

fn memory(device: &WgpuDevice) -> Box<dyn Memory> {
    type OfWgpu = OfDevice<Autodiff<Wgpu>, cubecl::wgpu::WgpuRuntime>;
    // No graphics interface reports what is free.
    Box::new(OfWgpu::new(device, device, None))
}

/// Whether there is an adapter that is not a software renderer.
fn has_hardware() -> bool {
    // Not OpenGL: it is no backend of ours, and its libraries print lines of their own.
    let mut descriptor = InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::PRIMARY;
    let adapters = try_read_sync(Instance::new(descriptor).enumerate_adapters(Backends::PRIMARY));
    let mut adapters = adapters.into_iter().flatten();
    adapters.any(|adapter| adapter.get_info().device_type != DeviceType::Cpu)
}
