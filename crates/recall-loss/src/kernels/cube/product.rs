//! Matrix products in whole single precision.
//!
//! Where a device has TF32, the backend's own product of f32 matrices may round what it multiplies to
//! 10 bits. A similarity off by 10⁻³ is off by a tenth of the default temperature, so there the
//! product is taken by kernels without tensor cores.

use burn::tensor::{Shape, TensorMetadata, ops::FloatTensorOps};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{
    BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, kernel::into_contiguous,
    tensor::CubeTensor,
};
use cubecl::ir::{ElemType, FloatKind, StorageType};
use cubek::{
    matmul::{
        definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError},
        launch::Strategy,
        routines::{
            BlueprintStrategy, TileSizeSelection, double_unit::DoubleUnitSelectionArgs,
            simple_unit::SimpleUnitSelectionArgs,
        },
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
    if rounds(&left) || std::env::var_os("FORCE_EXACT").is_some() {
        let tile_size = TileSizeSelection::MaxTileSize;
        let strategies = [
            Strategy::DoubleUnit(BlueprintStrategy::Inferred(DoubleUnitSelectionArgs {
                tile_size,
            })),
            Strategy::SimpleUnit(BlueprintStrategy::Inferred(SimpleUnitSelectionArgs {
                tile_size,
            })),
            Strategy::Naive,
        ];
        for strategy in &strategies {
            if let Ok(product) = exact(strategy, left.clone(), right.clone()) {
                return product;
            }
        }
    }
    into_contiguous(CubeBackend::<R, F, I, BT>::float_matmul(left, right))
}

fn rounds<R: CubeRuntime>(tensor: &CubeTensor<R>) -> bool {
    let tf32 = StorageType::Scalar(ElemType::Float(FloatKind::TF32));
    tensor.client.properties().supports_type(tf32)
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
