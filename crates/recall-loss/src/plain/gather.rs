use burn::tensor::{Int, Tensor, backend::Backend};

/// The numbers of each row at columns of its own.
///
/// A single column is taken twice, and one of the two dropped: Burn's Fusion (0.21) may compute `gather` together with
/// tensors that are wider than one column, and then reads the indices of the next rows as well, and beyond the last.
///
/// `[b, N]` and `[b, p]` → `[b, p]`
pub fn gather_in_rows<B: Backend>(
    values: Tensor<B, 2>,
    columns: Tensor<B, 2, Int>,
) -> Tensor<B, 2> {
    let [rows, width] = columns.dims();
    if width != 1 {
        return values.gather(1, columns);
    }
    let twice = Tensor::cat(vec![columns.clone(), columns], 1);
    values.gather(1, twice).slice([0..rows, 0..1])
}
