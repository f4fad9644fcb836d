//! Soft ranks of the positives, and how fast all of them change with the positive's own similarity.
//!
//! For a query and its positive x, over every item z of the database but x:
//! `rank = Σ σ((s_z − s_x) / τ)` (the rank without its leading 1) and `steepness = Σ σ'((s_z − s_x) / τ)`.
//! Two kernels: with few positives the units of a cube share out the items and add up at the end;
//! with many each unit has a positive of its own and nothing is left to add up.

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    query::Query,
    sigmoid::step_and_slope,
    tables::{Block, DeviceTables, FEW},
};

/// Positives that a unit keeps in registers while it runs over the items.
const LANES: usize = 4;
/// Units that share out the items.
const UNITS: u32 = 128;

/// Units, and so positives, of a cube where there are many.
const MANY_UNITS: u32 = 64;
/// Similarities that such a cube stages in shared memory.
const TILE: usize = 512;

/// Less similar than anything, and far from overflow when divided by a temperature.
const EXCLUDED: f32 = -1e30;

/// `[b, N]` → two of `[slots]`: ranks less 1, and steepnesses.
pub(super) fn soft_ranks<R: CubeRuntime>(
    similarities: &CubeTensor<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) -> (CubeTensor<R>, CubeTensor<R>) {
    let ranks = tables.empty([block.slots]);
    let steepness = tables.empty([block.slots]);
    let arguments = (
        similarities.clone().into_array_arg(),
        tables.queries.clone().into_array_arg(),
        tables.members.clone().into_array_arg(),
        ranks.clone().into_array_arg(),
        steepness.clone().into_array_arg(),
    );
    let client = &similarities.client;
    let rows = block.queries as u32;
    if block.width <= FEW {
        few::launch(
            client,
            CubeCount::Static(rows, 1, 1),
            CubeDim::new_1d(UNITS),
            arguments.0,
            arguments.1,
            arguments.2,
            arguments.3,
            arguments.4,
            block.first_query as u32,
            tables.items as u32,
            tables.sharpness,
            tables.query_in_rank,
            block.width.min(LANES),
            UNITS as usize,
        );
    } else {
        many::launch(
            client,
            CubeCount::Static(rows, block.width.div_ceil(MANY_UNITS as usize) as u32, 1),
            CubeDim::new_1d(MANY_UNITS),
            arguments.0,
            arguments.1,
            arguments.2,
            arguments.3,
            arguments.4,
            block.first_query as u32,
            tables.items as u32,
            tables.sharpness,
            tables.query_in_rank,
            MANY_UNITS as usize,
        );
    }
    (ranks, steepness)
}

/// A cube for each query.
#[cube(launch)]
fn few(
    similarities: &Array<f32>,
    queries: &Array<u32>,
    members: &Array<u32>,
    ranks: &mut Array<f32>,
    steepness: &mut Array<f32>,
    first_query: u32,
    items: u32,
    sharpness: f32,
    #[comptime] query_in_rank: bool,
    #[comptime] lanes: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS_X as usize;
    let unit = UNIT_POS as usize;
    let items = items as usize;
    let query = Query::read(queries, first_query as usize + row);
    let base = row * items;
    let mut sums = SharedMemory::<f32>::new(2 * lanes * units);

    let passes = query.count.div_ceil(lanes);
    for pass in 0..passes {
        let first = pass * lanes;
        let mut positive = Array::<u32>::new(lanes);
        let mut centre = Array::<f32>::new(lanes);
        let mut rank = Array::<f32>::new(lanes);
        let mut steep = Array::<f32>::new(lanes);
        #[unroll]
        for lane in 0..lanes {
            rank[lane] = 0.0;
            steep[lane] = 0.0;
            // A lane too many compares with the last positive, and its sum is not written.
            let last = query.count - 1;
            let slot = select(first + lane < last, first + lane, last);
            let item = query.positive(members, slot);
            positive[lane] = item as u32;
            centre[lane] = similarities[base + item];
        }

        let mut z = unit;
        while z < items {
            let mut counts = true;
            if comptime!(!query_in_rank) {
                counts = z != query.item;
            }
            if counts {
                let similarity = similarities[base + z];
                #[unroll]
                for lane in 0..lanes {
                    if z as u32 != positive[lane] {
                        let (step, slope) = step_and_slope((similarity - centre[lane]) * sharpness);
                        rank[lane] += step;
                        steep[lane] += slope;
                    }
                }
            }
            z += units;
        }

        #[unroll]
        for lane in 0..lanes {
            sums[2 * lane * units + unit] = rank[lane];
            sums[(2 * lane + 1) * units + unit] = steep[lane];
        }
        sync_cube();
        let mut half = comptime!(units / 2).runtime();
        while half > 0 {
            if unit < half {
                #[unroll]
                for sum in 0..2 * lanes {
                    let at = sum * units + unit;
                    sums[at] += sums[at + half];
                }
            }
            sync_cube();
            half /= 2;
        }
        if unit < lanes && first + unit < query.count {
            ranks[query.slot + first + unit] = sums[2 * unit * units];
            steepness[query.slot + first + unit] = sums[(2 * unit + 1) * units];
        }
        sync_cube();
    }
}

/// A row of cubes for each query, a unit for each positive.
#[cube(launch)]
fn many(
    similarities: &Array<f32>,
    queries: &Array<u32>,
    members: &Array<u32>,
    ranks: &mut Array<f32>,
    steepness: &mut Array<f32>,
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
    let slot = CUBE_POS_Y as usize * units + unit;
    let mut staged = SharedMemory::<f32>::new(TILE);

    // A unit without a positive compares with the last one, and its sums are not written.
    let last = query.count - 1;
    let positive = query.positive(members, select(slot < last, slot, last));
    let centre = similarities[base + positive];
    let mut rank = 0.0f32;
    let mut steep = 0.0f32;

    let tiles = items.div_ceil(TILE);
    for tile in 0..tiles {
        let start = tile * TILE;
        let width = select(items - start < TILE, items - start, TILE.runtime());
        let mut at = unit;
        while at < width {
            let z = start + at;
            let mut similarity = similarities[base + z];
            if comptime!(!query_in_rank) {
                similarity = select(z == query.item, EXCLUDED, similarity);
            }
            staged[at] = similarity;
            at += units;
        }
        sync_cube();

        // A tile's sum by itself first: a long row added up one by one would lose digits.
        let mut tile_rank = 0.0f32;
        let mut tile_steep = 0.0f32;
        for at in 0..width {
            if start + at != positive {
                let (step, slope) = step_and_slope((staged[at] - centre) * sharpness);
                tile_rank += step;
                tile_steep += slope;
            }
        }
        rank += tile_rank;
        steep += tile_steep;
        sync_cube();
    }

    if slot < query.count {
        ranks[query.slot + slot] = rank;
        steepness[query.slot + slot] = steep;
    }
}
