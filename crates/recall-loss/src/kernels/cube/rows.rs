//! Rows of a matrix by number: taken out, and added to. No row is named twice, so nothing collides.

use burn::tensor::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::tables::{Block, DeviceTables};

const UNITS: u32 = 128;

/// `[n, d]` → `[r, d]`: the rows that the queries of a block are made of.
pub(super) fn take<R: CubeRuntime>(
    matrix: &CubeTensor<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) -> CubeTensor<R> {
    let [_, width] = matrix.shape().dims();
    let output = tables.empty([block.rows, width]);
    take_kernel::launch(
        &matrix.client,
        grid(block.rows, width),
        CubeDim::new_1d(UNITS),
        matrix.clone().into_array_arg(),
        tables.rows.clone().into_array_arg(),
        output.clone().into_array_arg(),
        block.first_row as u32,
        width as u32,
    );
    output
}

/// Adds `[r, d]` to the rows of `[n, d]` that the queries of a block are made of, in place.
pub(super) fn add<R: CubeRuntime>(
    matrix: &CubeTensor<R>,
    rows: CubeTensor<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) {
    let [_, width] = matrix.shape().dims();
    add_kernel::launch(
        &matrix.client,
        grid(block.rows, width),
        CubeDim::new_1d(UNITS),
        rows.into_array_arg(),
        tables.rows.clone().into_array_arg(),
        matrix.clone().into_array_arg(),
        block.first_row as u32,
        width as u32,
    );
}

fn grid(rows: usize, width: usize) -> CubeCount {
    CubeCount::Static(rows as u32, width.div_ceil(UNITS as usize) as u32, 1)
}

#[cube(launch)]
fn take_kernel(
    matrix: &Array<f32>,
    rows: &Array<u32>,
    output: &mut Array<f32>,
    first_row: u32,
    width: u32,
) {
    let row = CUBE_POS_X as usize;
    let column = (CUBE_POS_Y * CUBE_DIM_X + UNIT_POS_X) as usize;
    let width = width as usize;
    if column < width {
        let from = rows[first_row as usize + row] as usize;
        output[row * width + column] = matrix[from * width + column];
    }
}

#[cube(launch)]
fn add_kernel(
    added: &Array<f32>,
    rows: &Array<u32>,
    matrix: &mut Array<f32>,
    first_row: u32,
    width: u32,
) {
    let row = CUBE_POS_X as usize;
    let column = (CUBE_POS_Y * CUBE_DIM_X + UNIT_POS_X) as usize;
    let width = width as usize;
    if column < width {
        let to = rows[first_row as usize + row] as usize;
        matrix[to * width + column] += added[row * width + column];
    }
}
