//! Kernels in CubeCL, for CUDA, wgpu and whatever else it compiles to.

use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use crate::RecallBackend;

impl<R, F, I, BT> RecallBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
}

#[cfg(feature = "fusion")]
impl<B: burn_fusion::FusionBackend + RecallBackend> RecallBackend for burn_fusion::Fusion<B> {}
