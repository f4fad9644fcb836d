//! Tensors as numbers of the host.

use burn::tensor::{Tensor, backend::Backend};

/// The numbers of a tensor, row by row.
pub(super) fn host_values<B: Backend>(rows: Tensor<B, 2>) -> Vec<f32> {
    let count = rows.dims().iter().product::<usize>();
    let values = rows.into_data().convert::<f32>().into_vec::<f32>();
    // They are of this type now, so there is nothing to refuse.
    let values = values.unwrap_or_default();
    assert_eq!(
        values.len(),
        count,
        "a tensor has as many numbers as its shape says"
    );
    values
}
