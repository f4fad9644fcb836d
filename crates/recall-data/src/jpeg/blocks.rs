use super::header::{Component, Frame};

/// Coefficients of blocks, component by component, row by row, each block row by row.
#[derive(Debug)]
pub(super) struct Coefficients {
    pub parts: Vec<Blocks>,
}

/// Blocks of one component.
#[derive(Debug)]
pub(super) struct Blocks {
    pub values: Vec<[i16; 64]>,
    /// The last coefficient of each block in zigzag order that may not be zero.
    pub last: Vec<u8>,
    /// Blocks in a row.
    pub across: usize,
}

impl Blocks {
    pub fn new(across: usize, down: usize, last: u8) -> Self {
        Self {
            values: vec![[0; 64]; across * down],
            last: vec![last; across * down],
            across,
        }
    }
}

impl Coefficients {
    /// For all blocks of a picture.
    pub fn whole(frame: &Frame) -> Self {
        let blocks = |component: &Component| {
            let [across, down] = component.padded;
            Blocks::new(across, down, 63)
        };
        Self {
            parts: frame.components.iter().map(blocks).collect(),
        }
    }
}
