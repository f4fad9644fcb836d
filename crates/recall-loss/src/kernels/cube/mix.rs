//! Similarity mixup: from the products of real embeddings to the similarities of virtual items, and
//! back with a gradient.
//!
//! The mixed similarities of a block are written out once, `[b, N]`. Ranks and slopes then read
//! every similarity once, side by side, instead of gathering four for each comparison, and they know
//! nothing of mixup.

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    query::Query,
    tables::{Block, DeviceMixup, DeviceTables},
};

const UNITS: u32 = 128;

/// Products of the block's rows with all rows `[r, n]` → similarities of its queries `[b, N]`.
pub(super) fn expand<R: CubeRuntime>(
    products: CubeTensor<R>,
    mixup: &DeviceMixup<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) -> CubeTensor<R> {
    let output = tables.empty([block.queries, tables.items]);
    expand_kernel::launch(
        &output.client,
        grid(block.queries, tables.items),
        CubeDim::new_1d(UNITS),
        products.into_array_arg(),
        tables.queries.clone().into_array_arg(),
        mixup.query_rows.clone().into_array_arg(),
        mixup.ends.clone().into_array_arg(),
        mixup.alpha.clone().into_array_arg(),
        output.clone().into_array_arg(),
        block.first_query as u32,
        tables.rows_in_batch as u32,
        tables.items as u32,
    );
    output
}

/// The transpose of [`expand`]: a gradient of `[b, N]` → of `[r, n]`. Everything is gathered by the
/// place where it arrives, so the order of additions is always the same.
pub(super) fn collapse<R: CubeRuntime>(
    slope: CubeTensor<R>,
    mixup: &DeviceMixup<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) -> CubeTensor<R> {
    let n = tables.rows_in_batch;
    let columns = tables.empty([block.queries, n]);
    collapse_columns::launch(
        &columns.client,
        grid(block.queries, n),
        CubeDim::new_1d(UNITS),
        slope.into_array_arg(),
        mixup.column_starts.clone().into_array_arg(),
        mixup.column_items.clone().into_array_arg(),
        mixup.column_weights.clone().into_array_arg(),
        columns.clone().into_array_arg(),
        n as u32,
        tables.items as u32,
    );
    let output = tables.empty([block.rows, n]);
    collapse_rows::launch(
        &output.client,
        grid(block.rows, n),
        CubeDim::new_1d(UNITS),
        columns.into_array_arg(),
        mixup.row_starts.clone().into_array_arg(),
        mixup.row_queries.clone().into_array_arg(),
        mixup.row_weights.clone().into_array_arg(),
        output.clone().into_array_arg(),
        block.first_row as u32,
        n as u32,
    );
    output
}

fn grid(rows: usize, columns: usize) -> CubeCount {
    CubeCount::Static(rows as u32, columns.div_ceil(UNITS as usize) as u32, 1)
}

#[cube(launch)]
fn expand_kernel(
    products: &Array<f32>,
    queries: &Array<u32>,
    query_rows: &Array<u32>,
    ends: &Array<u32>,
    alpha: &Array<f32>,
    output: &mut Array<f32>,
    first_query: u32,
    n: u32,
    items: u32,
) {
    let row = CUBE_POS_X as usize;
    let z = (CUBE_POS_Y * CUBE_DIM_X + UNIT_POS_X) as usize;
    let n = n as usize;
    let items = items as usize;
    if z < items {
        let query = first_query as usize + row;
        let item = Query::read(queries, query).item;
        let upper = query_rows[2 * query] as usize * n;
        let lower = query_rows[2 * query + 1] as usize * n;
        let left = ends[2 * z] as usize;
        let right = ends[2 * z + 1] as usize;
        let down = alpha[item];
        let across = alpha[z];
        let rest = 1.0 - across;
        let above = across * products[upper + left] + rest * products[upper + right];
        let below = across * products[lower + left] + rest * products[lower + right];
        output[row * items + z] = down * above + (1.0 - down) * below;
    }
}

#[cube(launch)]
fn collapse_columns(
    slope: &Array<f32>,
    starts: &Array<u32>,
    virtual_items: &Array<u32>,
    weights: &Array<f32>,
    output: &mut Array<f32>,
    n: u32,
    items: u32,
) {
    let row = CUBE_POS_X as usize;
    let column = (CUBE_POS_Y * CUBE_DIM_X + UNIT_POS_X) as usize;
    let n = n as usize;
    let base = row * items as usize;
    if column < n {
        let mut sum = slope[base + column];
        let from = starts[column] as usize;
        let to = starts[column + 1] as usize;
        for at in from..to {
            sum += weights[at] * slope[base + virtual_items[at] as usize];
        }
        output[row * n + column] = sum;
    }
}

#[cube(launch)]
fn collapse_rows(
    columns: &Array<f32>,
    starts: &Array<u32>,
    queries: &Array<u32>,
    weights: &Array<f32>,
    output: &mut Array<f32>,
    first_row: u32,
    n: u32,
) {
    let row = CUBE_POS_X as usize;
    let column = (CUBE_POS_Y * CUBE_DIM_X + UNIT_POS_X) as usize;
    let n = n as usize;
    if column < n {
        let from = starts[first_row as usize + row] as usize;
        let to = starts[first_row as usize + row + 1] as usize;
        let mut sum = 0.0f32;
        for at in from..to {
            sum += weights[at] * columns[queries[at] as usize * n + column];
        }
        output[row * n + column] = sum;
    }
}
