//! CubeCL's backends have no kernels of their own: CubeK's convolutions and products are the fast ones.

use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use crate::NnBackend;

impl<R, F, I, BT> NnBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    const MISREADS_INNER_LENGTHS: bool = true;
}

#[cfg(feature = "fusion")]
impl<B: burn_fusion::FusionBackend + NnBackend> NnBackend for burn_fusion::Fusion<B> {
    const MISREADS_INNER_LENGTHS: bool = B::MISREADS_INNER_LENGTHS;
}
