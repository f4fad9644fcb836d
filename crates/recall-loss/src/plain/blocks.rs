use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};

use crate::{
    RecallBatch,
    objective::{Itself, Objective},
};

impl RecallBatch {
    /// All queries with at least one positive that are asked for, in blocks of at most `size`.
    pub(crate) fn blocks(&self, size: usize) -> impl Iterator<Item = QueryBlock> + '_ {
        let queries: Vec<(&[usize], usize)> = self
            .query_classes()
            .flat_map(|class| class.iter().map(move |&item| (class.as_slice(), item)))
            .filter(|&(_, item)| self.asks(item))
            .collect();
        let size = size.min(queries.len()).max(1);
        (0..queries.len()).step_by(size).map(move |start| {
            let block = &queries[start..queries.len().min(start + size)];
            QueryBlock::new(block, self.objective())
        })
    }
}

/// Some queries with their positives, padded to a rectangle.
#[derive(Debug)]
pub(crate) struct QueryBlock {
    /// The query items.
    pub(crate) items: Vec<usize>,
    /// The positives of each query, `width` to a query.
    positives: Vec<usize>,
    /// How many of them are real for each query.
    counts: Vec<usize>,
    /// Most positives of a query in this block.
    pub(crate) width: usize,
}

impl QueryBlock {
    fn new(queries: &[(&[usize], usize)], objective: &Objective) -> Self {
        let itself = objective.itself() == Itself::Positive;
        let counts: Vec<_> = queries
            .iter()
            .map(|(class, _)| objective.positives_in(class.len()))
            .collect();
        let width = counts.iter().copied().max().unwrap_or(0);
        let mut block = Self {
            items: Vec::with_capacity(queries.len()),
            positives: Vec::with_capacity(queries.len() * width),
            counts,
            width,
        };
        for (place, &(items, item)) in queries.iter().enumerate() {
            let positives = items.iter().filter(|&&other| itself || other != item);
            block.positives.extend(positives);
            // Padding points at the query itself: a valid column whose outcome is masked away.
            block.positives.resize((place + 1) * width, item);
            block.items.push(item);
        }
        block
    }

    pub(crate) fn to_device<B: Backend>(
        &self,
        device: &B::Device,
        dtype: DType,
    ) -> DeviceQueryBlock<B> {
        let (rows, width) = (self.items.len(), self.width);
        let valid = self
            .counts
            .iter()
            .flat_map(|&count| (0..width).map(move |slot| f64::from(slot < count)))
            .collect();
        DeviceQueryBlock {
            own: ints(&self.items, device).reshape([rows, 1]),
            positives: ints(&self.positives, device).reshape([rows, width]),
            valid: floats(valid, device, dtype).reshape([rows, width]),
            counts: floats(
                self.counts.iter().map(|&c| c as f64).collect(),
                device,
                dtype,
            )
            .reshape([rows, 1]),
        }
    }
}

/// A [`QueryBlock`] of `b` queries with up to `p` positives as tensors.
#[derive(Debug, Clone)]
pub(crate) struct DeviceQueryBlock<B: Backend> {
    /// `[b, 1]`: the item number of each query.
    pub(crate) own: Tensor<B, 2, Int>,
    /// `[b, p]`: the item numbers of its positives.
    pub(crate) positives: Tensor<B, 2, Int>,
    /// `[b, p]`: 1 where a positive is real, 0 where it is padding.
    pub(crate) valid: Tensor<B, 2>,
    /// `[b, 1]`: how many positives it has.
    pub(crate) counts: Tensor<B, 2>,
}

/// Indices as a tensor on the device.
pub(crate) fn ints<B: Backend>(values: &[usize], device: &B::Device) -> Tensor<B, 1, Int> {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Numbers as a tensor of the batch's own float type on the device.
pub(crate) fn floats<B: Backend>(
    values: Vec<f64>,
    device: &B::Device,
    dtype: DType,
) -> Tensor<B, 1> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), (device, dtype))
}

#[cfg(test)]
mod tests {
    use crate::{Mixup, RecallAtKLossConfig, SmoothApConfig};

    #[test]
    fn padding_is_masked() {
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let batch = loss.batch(&[4, 9, 4, 1, 9, 4], None).unwrap();
        let block = batch.blocks(99).next().unwrap();
        assert_eq!(block.items, [1, 4, 0, 2, 5]);
        assert_eq!(block.counts, [1, 1, 2, 2, 2]);
        assert_eq!(block.positives, [4, 1, 1, 4, 2, 5, 0, 5, 0, 2]);
    }

    #[test]
    fn a_query_may_be_a_positive_of_its_own() {
        let loss = SmoothApConfig::released_code().init().unwrap();
        let batch = loss.batch(&[4, 9, 4, 1, 9, 4], None).unwrap();
        let block = batch.blocks(3).next().unwrap();
        assert_eq!(block.items, [1, 4, 0]);
        assert_eq!(block.counts, [2, 2, 3]);
        assert_eq!(block.positives, [1, 4, 1, 1, 4, 4, 0, 2, 5]);
    }

    #[test]
    fn blocks_cover_every_query_once() {
        let labels: Vec<i64> = (0..40).map(|i| i % 7).collect();
        let mixup = Mixup::all_pairs(&labels, 0);
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let batch = loss.batch(&labels, Some(&mixup)).unwrap();
        for size in [1, 3, 64, 1000] {
            let mut items: Vec<_> = batch.blocks(size).flat_map(|block| block.items).collect();
            items.sort_unstable();
            assert_eq!(items, (0..batch.items()).collect::<Vec<_>>());
        }
    }
}
