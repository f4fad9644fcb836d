use burn::tensor::{Tensor, backend::Backend};

/// The dot products of rows with other rows.
///
/// Some of CubeCL's products (cubek 0.2) are wrong beside a transposed right side of 8, 24, 40 … numbers
/// ([cubek#441](https://github.com/tracel-ai/cubek/pull/441)), so rows are filled up with zeros to a multiple of 64.
///
/// `[n, d]` and `[m, d]` → `[n, m]`
pub fn products<B: Backend>(rows: Tensor<B, 2>, others: Tensor<B, 2>) -> Tensor<B, 2> {
    /// What the length of a row is a multiple of, to be safe.
    const WHOLE: usize = 64;
    let [_, dim] = rows.dims();
    let more = dim.next_multiple_of(WHOLE) - dim;
    if more == 0 {
        return rows.matmul(others.transpose());
    }
    let [rows, others] = [rows, others].map(|rows| {
        let [count, _] = rows.dims();
        let zeros = Tensor::zeros([count, more], (&rows.device(), rows.dtype()));
        Tensor::cat(vec![rows, zeros], 1)
    });
    rows.matmul(others.transpose())
}
