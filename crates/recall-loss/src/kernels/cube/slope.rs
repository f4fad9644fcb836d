//! The derivative of the loss with respect to the similarities of a block's queries.
//!
//! A similarity s_z raises the rank of every positive x but itself, `Σ_x w_x σ'((s_z − s_x) / τ)`,
//! and lowers its own if it belongs to a positive, by `w_z` times its steepness.

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    query::Query,
    sigmoid::slope,
    tables::{Block, DeviceTables},
};

const UNITS: u32 = 128;
/// Items of each unit.
const LANES: usize = 4;

/// similarities `[b, N]`, weights and steepness `[slots]` → `[b, N]`
pub(super) fn similarity_slope<R: CubeRuntime>(
    similarities: CubeTensor<R>,
    weights: CubeTensor<R>,
    steepness: CubeTensor<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) -> CubeTensor<R> {
    let output = tables.empty([block.queries, tables.items]);
    let tiles = tables.items.div_ceil(UNITS as usize * LANES) as u32;
    kernel::launch(
        &output.client,
        CubeCount::Static(block.queries as u32, tiles, 1),
        CubeDim::new_1d(UNITS),
        similarities.into_array_arg(),
        weights.into_array_arg(),
        steepness.into_array_arg(),
        tables.queries.clone().into_array_arg(),
        tables.members.clone().into_array_arg(),
        tables.positions.clone().into_array_arg(),
        output.clone().into_array_arg(),
        block.first_query as u32,
        tables.items as u32,
        tables.sharpness,
        tables.query_in_rank,
        UNITS as usize,
    );
    output
}

/// A row of cubes for each query, a few items for each unit. The positives pass through shared
/// memory, as many at a time as there are units.
#[cube(launch)]
fn kernel(
    similarities: &Array<f32>,
    weights: &Array<f32>,
    steepness: &Array<f32>,
    queries: &Array<u32>,
    members: &Array<u32>,
    positions: &Array<u32>,
    output: &mut Array<f32>,
    first_query: u32,
    items: u32,
    sharpness: f32,
    #[comptime] query_in_rank: bool,
    #[comptime] units: usize,
) {
    let row = CUBE_POS_X as usize;
    let unit = UNIT_POS as usize;
    let items = items as usize;
    let query = Query::read(queries, first_query as usize + row);
    let base = row * items;
    let mut centres = SharedMemory::<f32>::new(units);
    let mut shares = SharedMemory::<f32>::new(units);

    let mut similarity = Array::<f32>::new(LANES);
    let mut slot = Array::<u32>::new(LANES);
    let mut total = Array::<f32>::new(LANES);
    let start = CUBE_POS_Y as usize * units * LANES + unit;
    #[unroll]
    for lane in 0..LANES {
        let z = start + lane * units;
        // A lane beyond the row repeats its last item and writes nothing.
        let z = select(z < items, z, items - 1);
        similarity[lane] = similarities[base + z];
        slot[lane] = query.slot_of(positions[z] as usize) as u32;
        total[lane] = 0.0;
    }

    let groups = query.count.div_ceil(units);
    for group in 0..groups {
        let first = group * units;
        if first + unit < query.count {
            let item = query.positive(members, first + unit);
            centres[unit] = similarities[base + item];
            shares[unit] = weights[query.slot + first + unit];
        }
        sync_cube();
        let left = query.count - first;
        let width = select(left < units, left, units.runtime());
        for at in 0..width {
            let share = shares[at];
            // Positives far from every k weigh nothing at all.
            if share != 0.0 {
                let centre = centres[at];
                #[unroll]
                for lane in 0..LANES {
                    if (first + at) as u32 != slot[lane] {
                        total[lane] += share * slope((similarity[lane] - centre) * sharpness);
                    }
                }
            }
        }
        sync_cube();
    }

    #[unroll]
    for lane in 0..LANES {
        let z = start + lane * units;
        if z < items {
            let mut value = total[lane];
            let own = slot[lane] as usize;
            if own < query.count {
                value -= weights[query.slot + own] * steepness[query.slot + own];
            }
            if comptime!(!query_in_rank) {
                value = select(z == query.item, 0.0f32, value);
            }
            output[base + z] = value;
        }
    }
}
