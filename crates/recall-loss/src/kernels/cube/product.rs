//! Matrix products in whole single precision.
//!
//! The backend's own product of f32 matrices is tuned for speed: with tensor cores it rounds what it
//! multiplies to the 10 bits of TF32, and a similarity off by 10⁻³ is off by a tenth of the default
//! temperature. Its candidates also include double-buffered kernels, which are wrong for a
//! transposed right side in cubek 0.2. So one kernel is named here, without tensor cores.

use burn::tensor::{Shape, TensorMetadata, ops::FloatTensorOps};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{
    BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, kernel::into_contiguous,
    tensor::CubeTensor,
};
use cubek::{
    matmul::{
        definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError},
        launch::Strategy,
        routines::{BlueprintStrategy, TileSizeSelection, simple_unit::SimpleUnitSelectionArgs},
    },
    std::InputBinding,
};

/// `[m, k]`, `[k, n]` → `[m, n]`, row-major.
pub(super) fn product<R, F, I, BT>(left: CubeTensor<R>, right: CubeTensor<R>) -> CubeTensor<R>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    let unit = Strategy::SimpleUnit(BlueprintStrategy::Inferred(SimpleUnitSelectionArgs {
        tile_size: TileSizeSelection::MaxTileSize,
    }));
    [unit, Strategy::Naive]
        .iter()
        .find_map(|strategy| exact(strategy, left.clone(), right.clone()).ok())
        .unwrap_or_else(|| into_contiguous(CubeBackend::<R, F, I, BT>::float_matmul(left, right)))
}

fn exact<R: CubeRuntime>(
    strategy: &Strategy,
    left: CubeTensor<R>,
    right: CubeTensor<R>,
) -> Result<CubeTensor<R>, MatmulSetupError> {
    let ([rows, _], [_, columns]) = (left.shape().dims(), right.shape().dims());
    let (client, dtype) = (left.client.clone(), left.dtype);
    let output = empty_device_contiguous_dtype(
        client.clone(),
        left.device.clone(),
        Shape::new([rows, columns]),
        dtype,
    );
    let mut elems = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: dtype.into(),
        rhs: dtype.into(),
        out: dtype.into(),
    });
    cubek::matmul::launch::launch_ref(
        strategy,
        &client,
        InputBinding::new(left.binding(), dtype.into()),
        InputBinding::new(right.binding(), dtype.into()),
        output.clone().binding(),
        &mut elems,
    )?;
    Ok(output)
}
