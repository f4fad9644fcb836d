//! From the soft ranks of a query's positives to its soft recall, and to what the loss makes of each
//! of those ranks.

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    query::Query,
    sigmoid::sigmoid_and_slope,
    tables::{Block, DeviceTables},
};

const UNITS: u32 = 32;

/// Writes the recall of the block's queries into `recall` `[queries]`, and gives the derivative of
/// the loss with respect to the similarity of any one item before a positive, less its `σ'`.
///
/// ranks `[slots]` → `[slots]`
pub(super) fn soft_recall<R: CubeRuntime>(
    ranks: CubeTensor<R>,
    recall: &CubeTensor<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) -> CubeTensor<R> {
    let weights = tables.empty([block.slots]);
    kernel::launch(
        &recall.client,
        CubeCount::Static(block.queries as u32, 1, 1),
        CubeDim::new_1d(UNITS),
        ranks.into_array_arg(),
        tables.queries.clone().into_array_arg(),
        tables.cutoffs.clone().into_array_arg(),
        recall.clone().into_array_arg(),
        weights.clone().into_array_arg(),
        block.first_query as u32,
        tables.cutoff_count as u32,
        tables.weight,
        tables.cap_at_k,
        UNITS as usize,
    );
    weights
}

/// A cube for each query; its units share out the positives.
#[cube(launch)]
fn kernel(
    ranks: &Array<f32>,
    queries: &Array<u32>,
    cutoffs: &Array<f32>,
    recall: &mut Array<f32>,
    weights: &mut Array<f32>,
    first_query: u32,
    cutoff_count: u32,
    weight: f32,
    #[comptime] cap_at_k: bool,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    let query = Query::read(queries, first_query as usize + CUBE_POS_X as usize);
    let mut parts = SharedMemory::<f32>::new(units);
    let cutoff_count = cutoff_count as usize;

    let mut j = unit;
    while j < query.count {
        weights[query.slot + j] = 0.0;
        j += units;
    }

    let mut total = 0.0f32;
    for cutoff in 0..cutoff_count {
        let k = cutoffs[2 * cutoff];
        let sharpness = cutoffs[2 * cutoff + 1];

        let mut part = 0.0f32;
        let mut j = unit;
        while j < query.count {
            let (within, _steep) = sigmoid_and_slope((k - 1.0 - ranks[query.slot + j]) * sharpness);
            part += within;
            j += units;
        }
        parts[unit] = part;
        sync_cube();
        let mut count = 0.0f32;
        for other in 0..units {
            count += parts[other];
        }
        sync_cube();

        let positives = f32::cast_from(query.count as u32);
        let share = 1.0 / select(positives < k, positives, k);
        let mut on_ranks = share * sharpness * weight;
        if comptime!(cap_at_k) {
            // A count above k is cut off, and its derivative with it.
            on_ranks = select(count > k, 0.0f32, on_ranks);
            count = select(count > k, k, count);
        }
        total += count * share;

        let mut j = unit;
        while j < query.count {
            let at = query.slot + j;
            let (_within, steep) = sigmoid_and_slope((k - 1.0 - ranks[at]) * sharpness);
            weights[at] += steep * on_ranks;
            j += units;
        }
    }
    if unit == 0 {
        recall[query.target] = total / f32::cast_from(cutoff_count as u32);
    }
}
