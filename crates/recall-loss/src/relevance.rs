use std::collections::BTreeMap;

use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};

use crate::{LossError, Mixup};

/// Which items of a batch are relevant to which, on the host.
///
/// Items are numbered with the real ones first, `0..n` in the order of the batch, and the virtual
/// ones after them in the order of the mixup. All items of a query's class but itself are its
/// positives.
#[derive(Debug)]
pub(crate) struct Relevance {
    /// The items of each class that has at least two, smallest classes first so that the queries of
    /// a block have similar numbers of positives.
    classes: Vec<Vec<usize>>,
    items: usize,
}

impl Relevance {
    pub(crate) fn new(labels: &[i64], mixup: Option<&Mixup>) -> Result<Self, LossError> {
        let mut classes = BTreeMap::<i64, Vec<usize>>::new();
        for (row, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(row);
        }
        if let Some(mixup) = mixup {
            mixup.check(labels)?;
            for (pair, &first) in mixup.first.iter().enumerate() {
                classes
                    .entry(labels[first])
                    .or_default()
                    .push(labels.len() + pair);
            }
        }
        let mut classes: Vec<_> = classes
            .into_values()
            .filter(|class| class.len() > 1)
            .collect();
        if classes.is_empty() {
            return Err(LossError::NoPositives {
                items: labels.len(),
            });
        }
        classes.sort_by_key(Vec::len);
        Ok(Self {
            classes,
            items: labels.len() + mixup.map_or(0, Mixup::len),
        })
    }

    /// Number of real and virtual items together.
    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// Number of queries with at least one positive.
    pub(crate) fn queries(&self) -> usize {
        self.classes.iter().map(Vec::len).sum()
    }

    /// All queries with at least one positive, in blocks of at most `size`.
    pub(crate) fn blocks(&self, size: usize) -> impl Iterator<Item = QueryBlock> + '_ {
        let queries: Vec<(usize, usize)> = self
            .classes
            .iter()
            .enumerate()
            .flat_map(|(class, items)| items.iter().map(move |&item| (class, item)))
            .collect();
        let size = size.min(queries.len());
        (0..queries.len()).step_by(size).map(move |start| {
            let block = &queries[start..queries.len().min(start + size)];
            let width = block
                .iter()
                .map(|&(class, _)| self.classes[class].len() - 1)
                .max();
            self.block(block, width.unwrap_or(0))
        })
    }

    fn block(&self, queries: &[(usize, usize)], width: usize) -> QueryBlock {
        let mut block = QueryBlock {
            items: Vec::with_capacity(queries.len()),
            positives: Vec::with_capacity(queries.len() * width),
            counts: Vec::with_capacity(queries.len()),
            width,
        };
        for &(class, item) in queries {
            let items = &self.classes[class];
            block
                .positives
                .extend(items.iter().filter(|&&other| other != item));
            // Padding points at the query itself: a valid column whose outcome is masked away.
            block
                .positives
                .resize(block.positives.len() + width + 1 - items.len(), item);
            block.counts.push(items.len() - 1);
            block.items.push(item);
        }
        block
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
    use super::*;

    #[test]
    fn singletons_are_no_queries_and_padding_is_masked() {
        let relevance = Relevance::new(&[4, 9, 4, 1, 9, 4], None).unwrap();
        assert_eq!(relevance.queries(), 5);
        let block = relevance.blocks(99).next().unwrap();
        assert_eq!(block.items, [1, 4, 0, 2, 5]);
        assert_eq!(block.counts, [1, 1, 2, 2, 2]);
        assert_eq!(block.positives, [4, 1, 1, 4, 2, 5, 0, 5, 0, 2]);
    }

    #[test]
    fn blocks_cover_every_query_once() {
        let labels: Vec<i64> = (0..40).map(|i| i % 7).collect();
        let mixup = Mixup::all_pairs(&labels, 0);
        let relevance = Relevance::new(&labels, Some(&mixup)).unwrap();
        for size in [1, 3, 64, 1000] {
            let mut items: Vec<_> = relevance
                .blocks(size)
                .flat_map(|block| block.items)
                .collect();
            items.sort_unstable();
            assert_eq!(items, (0..relevance.items()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_batch_without_positives_is_an_error() {
        let error = Relevance::new(&[0, 1, 2], None).unwrap_err();
        assert_eq!(error, LossError::NoPositives { items: 3 });
    }
}
