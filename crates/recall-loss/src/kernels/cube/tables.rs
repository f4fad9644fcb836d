//! Everything the kernels look up, worked out on the host and sent once for each batch.

use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeElement, CubeRuntime, ops::numeric::empty_device_contiguous_dtype};
use cubecl::client::ComputeClient;

use super::query::QUERY_FIELDS;
use crate::{Mixup, RecallAtKLoss, RecallBatch};

/// Up to this many positives count as few.
pub(super) const FEW: usize = 32;

/// Bytes of a block's matrix that make its kernels long beside their launches.
const BLOCK_BYTES: usize = 64 << 20;

/// Queries of a block, and so rows of its grids of cubes, at most; its real rows are at most twice
/// as many. Grids of 65,535 work everywhere.
const MOST_QUERIES: usize = 32_767;

/// Some queries that are handled together, and where they lie in the tables.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    pub(super) first_query: usize,
    /// `b`
    pub(super) queries: usize,
    pub(super) first_row: usize,
    /// `r`: how many real rows the queries are made of.
    pub(super) rows: usize,
    /// Positives of all queries together.
    pub(super) slots: usize,
    /// Most positives of one query.
    pub(super) width: usize,
}

/// The tables on the host.
#[derive(Debug, Default)]
pub(super) struct Tables {
    blocks: Vec<Block>,
    queries: Vec<u32>,
    members: Vec<u32>,
    positions: Vec<u32>,
    rows: Vec<u32>,
    query_rows: Vec<u32>,
    row_starts: Vec<u32>,
    row_queries: Vec<u32>,
    row_weights: Vec<f32>,
}

impl Tables {
    /// Blocks of at most `block_size` queries that are asked for, those with few positives apart from the
    /// others.
    pub(super) fn new(batch: &RecallBatch, block_size: usize) -> Self {
        let mut targets = vec![0; batch.items()];
        for (target, &item) in batch.queries().iter().enumerate() {
            targets[item] = target;
        }
        let mut tables = Self {
            positions: vec![0; batch.items()],
            row_starts: vec![0],
            ..Self::default()
        };
        let mut building = BuildingBlock::default();
        for class in batch.classes() {
            let start = tables.members.len();
            for (place, &item) in class.iter().enumerate() {
                tables.positions[item] = (start + place) as u32;
                tables.members.push(item as u32);
            }
            let count = class.len() - 1;
            if count == 0 {
                continue;
            }
            for (place, &item) in class.iter().enumerate() {
                if !batch.asks(item) {
                    continue;
                }
                let many = building.width <= FEW && count > FEW;
                if building.items.len() == block_size || many {
                    building.finish(&mut tables, batch);
                }
                let described: [usize; QUERY_FIELDS] =
                    [item, start, count, place, building.slots, targets[item]];
                tables.queries.extend(described.map(|number| number as u32));
                building.items.push(item);
                building.slots += count;
                building.width = count;
            }
        }
        building.finish(&mut tables, batch);
        tables
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(super) fn to_device<R: CubeRuntime>(
        &self,
        loss: &RecallAtKLoss,
        batch: &RecallBatch,
        client: &ComputeClient<R>,
        device: &R::Device,
    ) -> DeviceTables<R> {
        let cutoffs: Vec<f32> = loss
            .cutoffs
            .iter()
            .flat_map(|cutoff| [cutoff.k as f32, (1.0 / cutoff.tau) as f32])
            .collect();
        let queries = batch.whole_query_count() as f64;
        let sender = Sender { client, device };
        DeviceTables {
            queries: sender.send(&self.queries, DType::U32),
            members: sender.send(&self.members, DType::U32),
            positions: sender.send(&self.positions, DType::U32),
            rows: sender.send(&self.rows, DType::U32),
            cutoffs: sender.send(&cutoffs, DType::F32),
            mixup: batch
                .mixup()
                .map(|mixup| self.mixup_to_device(batch.rows(), mixup, &sender)),
            client: client.clone(),
            device: device.clone(),
            rows_in_batch: batch.rows(),
            items: batch.items(),
            cutoff_count: loss.cutoffs.len(),
            sharpness: (1.0 / loss.tau_rank) as f32,
            weight: (1.0 / (queries * loss.cutoffs.len() as f64 * loss.tau_rank)) as f32,
            query_in_rank: loss.query_in_rank,
            cap_at_k: loss.cap_at_k,
        }
    }

    fn mixup_to_device<R: CubeRuntime>(
        &self,
        n: usize,
        mixup: &Mixup,
        sender: &Sender<'_, R>,
    ) -> DeviceMixup<R> {
        let real = (0..n).map(|row| (row, row, 1.0));
        let items: Vec<_> = real.chain(mixup.pairs()).collect();
        let ends: Vec<_> = items
            .iter()
            .flat_map(|&(a, b, _)| [a as u32, b as u32])
            .collect();
        let alpha: Vec<_> = items.iter().map(|&(_, _, alpha)| alpha as f32).collect();

        let mut columns = vec![Vec::new(); n];
        for (item, &(a, b, alpha)) in items.iter().enumerate().skip(n) {
            columns[a].push((item as u32, alpha as f32));
            columns[b].push((item as u32, (1.0 - alpha) as f32));
        }
        let mut starts = vec![0];
        for column in &columns {
            starts.push(starts[starts.len() - 1] + column.len() as u32);
        }
        let (column_items, column_weights): (Vec<_>, Vec<_>) =
            columns.into_iter().flatten().unzip();

        DeviceMixup {
            query_rows: sender.send(&self.query_rows, DType::U32),
            ends: sender.send(&ends, DType::U32),
            alpha: sender.send(&alpha, DType::F32),
            column_starts: sender.send(&starts, DType::U32),
            column_items: sender.send(&column_items, DType::U32),
            column_weights: sender.send(&column_weights, DType::F32),
            row_starts: sender.send(&self.row_starts, DType::U32),
            row_queries: sender.send(&self.row_queries, DType::U32),
            row_weights: sender.send(&self.row_weights, DType::F32),
        }
    }
}

/// How many queries a block should have, by the settings and what `largest_buffer` bytes hold.
pub(super) fn block_size(batch: &RecallBatch, largest_buffer: usize) -> usize {
    // A block's queries may be mixed from twice as many real rows.
    let columns = match batch.mixup() {
        Some(_) => batch.items().max(2 * batch.rows()),
        None => batch.items(),
    };
    let fitting = |bytes: usize| bytes / (columns * size_of::<f32>());
    // Elements of a buffer are numbered in 32 bits.
    let most = fitting(largest_buffer).min(fitting(u32::MAX as usize));
    fitting(BLOCK_BYTES)
        .max(batch.objective().block_size())
        .min(most)
        .clamp(1, MOST_QUERIES)
}

/// A block of which not all queries are known.
#[derive(Debug, Default)]
struct BuildingBlock {
    items: Vec<usize>,
    slots: usize,
    width: usize,
}

impl BuildingBlock {
    /// Adds the block to the tables, if it has any queries, and begins another.
    fn finish(&mut self, tables: &mut Tables, batch: &RecallBatch) {
        let Self {
            items,
            slots,
            width,
        } = std::mem::take(self);
        if items.is_empty() {
            return;
        }
        let ends: Vec<_> = items.iter().map(|&item| ends(item, batch)).collect();
        let rows = match batch.mixup() {
            // The queries themselves: their products are their similarities.
            None => items.clone(),
            Some(_) => {
                let mut rows: Vec<_> = ends.iter().flat_map(|&(a, b, _)| [a, b]).collect();
                rows.sort_unstable();
                rows.dedup();
                rows
            }
        };
        tables.blocks.push(Block {
            first_query: tables.queries.len() / QUERY_FIELDS - items.len(),
            queries: items.len(),
            first_row: tables.rows.len(),
            rows: rows.len(),
            slots,
            width,
        });
        tables.rows.extend(rows.iter().map(|&row| row as u32));

        if batch.mixup().is_some() {
            let mut parts = vec![Vec::new(); rows.len()];
            for (query, (a, b, alpha)) in ends.into_iter().enumerate() {
                let place = |row: usize| rows.partition_point(|&other| other < row);
                tables.query_rows.extend([place(a) as u32, place(b) as u32]);
                parts[place(a)].push((query as u32, alpha as f32));
                if a != b {
                    parts[place(b)].push((query as u32, (1.0 - alpha) as f32));
                }
            }
            for part in parts {
                for (query, weight) in part {
                    tables.row_queries.push(query);
                    tables.row_weights.push(weight);
                }
                tables.row_starts.push(tables.row_queries.len() as u32);
            }
        }
    }
}

/// The real rows that an item is mixed from, and the weight of the first.
fn ends(item: usize, batch: &RecallBatch) -> (usize, usize, f64) {
    match (batch.mixup(), item.checked_sub(batch.rows())) {
        (Some(mixup), Some(pair)) => {
            let (a, b) = (mixup.first[pair], mixup.second[pair]);
            // A row mixed with itself is itself.
            let alpha = if a == b { 1.0 } else { mixup.alpha[pair] };
            (a, b, alpha)
        }
        _ => (item, item, 1.0),
    }
}

/// The tables on a device, and the numbers that every launch needs.
pub(super) struct DeviceTables<R: CubeRuntime> {
    /// [`QUERY_FIELDS`] of each query, block by block.
    pub(super) queries: CubeTensor<R>,
    /// The items of each class in turn.
    pub(super) members: CubeTensor<R>,
    /// Where each item stands among `members`.
    pub(super) positions: CubeTensor<R>,
    /// The real rows of each block: its queries in order, or with mixup what they are mixed from.
    pub(super) rows: CubeTensor<R>,
    /// `k` and `1 / τ_k` of each cutoff.
    pub(super) cutoffs: CubeTensor<R>,
    pub(super) mixup: Option<DeviceMixup<R>>,
    /// `n`
    pub(super) rows_in_batch: usize,
    /// `N`
    pub(super) items: usize,
    pub(super) cutoff_count: usize,
    /// `1 / τ_rank`
    pub(super) sharpness: f32,
    /// What a query's recall at one k weighs in the loss, divided by `τ_rank`.
    pub(super) weight: f32,
    pub(super) query_in_rank: bool,
    pub(super) cap_at_k: bool,
    client: ComputeClient<R>,
    device: R::Device,
}

/// What is known of virtual items.
pub(super) struct DeviceMixup<R: CubeRuntime> {
    /// `[queries, 2]`: the two rows, within its block's, that a query is mixed from.
    pub(super) query_rows: CubeTensor<R>,
    /// `[N, 2]`: the two rows of the batch that an item is mixed from.
    pub(super) ends: CubeTensor<R>,
    /// `[N]`: the weight of the first.
    pub(super) alpha: CubeTensor<R>,
    /// `[n + 1]`: where each row's share in the virtual items starts in the next two.
    pub(super) column_starts: CubeTensor<R>,
    pub(super) column_items: CubeTensor<R>,
    pub(super) column_weights: CubeTensor<R>,
    /// Where each row's share in the queries of its block starts in the next two, block after block.
    pub(super) row_starts: CubeTensor<R>,
    pub(super) row_queries: CubeTensor<R>,
    pub(super) row_weights: CubeTensor<R>,
}

impl<R: CubeRuntime> DeviceTables<R> {
    /// A row-major tensor for a kernel to fill.
    pub(super) fn empty<const D: usize>(&self, shape: [usize; D]) -> CubeTensor<R> {
        empty_device_contiguous_dtype(
            self.client.clone(),
            self.device.clone(),
            Shape::new(shape),
            DType::F32,
        )
    }
}

struct Sender<'a, R: CubeRuntime> {
    client: &'a ComputeClient<R>,
    device: &'a R::Device,
}

impl<R: CubeRuntime> Sender<'_, R> {
    fn send<E: CubeElement>(&self, values: &[E], dtype: DType) -> CubeTensor<R> {
        CubeTensor::new_contiguous(
            self.client.clone(),
            self.device.clone(),
            Shape::new([values.len()]),
            self.client.create_from_slice(E::as_bytes(values)),
            dtype,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecallAtKLossConfig;

    fn batch(labels: &[i64], mixup: Option<&Mixup>) -> RecallBatch {
        let loss = RecallAtKLossConfig::new().init().unwrap();
        loss.batch(labels, mixup).unwrap()
    }

    #[test]
    fn queries_name_their_class_and_their_place_in_it() {
        let tables = Tables::new(&batch(&[4, 9, 4, 1, 9, 4], None), 3);
        assert_eq!(tables.members, [3, 1, 4, 0, 2, 5]);
        assert_eq!(tables.positions, [3, 1, 4, 0, 2, 5]);
        let queries: Vec<_> = tables.queries.chunks(QUERY_FIELDS).collect();
        assert_eq!(queries[0], [1, 1, 1, 0, 0, 1]);
        assert_eq!(queries[2], [0, 3, 2, 0, 2, 0]);
        assert_eq!(queries[4], [5, 3, 2, 2, 2, 4]);
        assert_eq!(tables.rows, [1, 4, 0, 2, 5]);
        let sizes: Vec<_> = tables.blocks.iter().map(|b| (b.queries, b.slots)).collect();
        assert_eq!(sizes, [(3, 4), (2, 4)]);
    }

    #[test]
    fn a_share_has_its_queries_and_all_members() {
        let share = batch(&[4, 9, 4, 1, 9, 4], None).share(1..4).unwrap();
        let tables = Tables::new(&share, 3);
        assert_eq!(tables.members, [3, 1, 4, 0, 2, 5]);
        let queries: Vec<_> = tables.queries.chunks(QUERY_FIELDS).collect();
        assert_eq!(queries, [[1, 1, 1, 0, 0, 0], [2, 3, 2, 1, 1, 1]]);
        assert_eq!(tables.rows, [1, 2]);
    }

    #[test]
    fn many_positives_start_a_block_of_their_own() {
        let mut labels = vec![0, 0, 1];
        labels.resize(labels.len() + FEW + 2, 2);
        let tables = Tables::new(&batch(&labels, None), 1000);
        let widths: Vec<_> = tables.blocks.iter().map(|b| b.width).collect();
        assert_eq!(widths, [1, FEW + 1]);
    }

    #[test]
    fn each_query_is_made_of_rows_that_weigh_1_together() {
        let labels: Vec<i64> = (0..40).map(|i| i % 7).collect();
        let mixup = Mixup::all_pairs(&labels, 3);
        let batch = batch(&labels, Some(&mixup));
        for size in [1, 7, 1000] {
            let tables = Tables::new(&batch, size);
            assert_eq!(tables.row_starts.len(), tables.rows.len() + 1);
            for block in tables.blocks() {
                let mut weights = vec![0.0; block.queries];
                let range = tables.row_starts[block.first_row] as usize
                    ..tables.row_starts[block.first_row + block.rows] as usize;
                for at in range {
                    weights[tables.row_queries[at] as usize] += tables.row_weights[at];
                }
                assert!(weights.iter().all(|w| (w - 1.0f32).abs() < 1e-6));
            }
        }
    }

    #[test]
    fn a_block_fits_its_buffers() {
        let labels: Vec<i64> = (0..4000).map(|i| i % 1000).collect();
        let batch = batch(&labels, None);
        assert_eq!(block_size(&batch, 128 << 20), 4194);
        assert_eq!(block_size(&batch, 4 << 20), 262);
        assert_eq!(block_size(&batch, 1), 1);
    }
}
