use image::RgbImage;
use pulp::{Arch, Simd, WithSimd};

use super::Unfit;
use super::blocks::{Blocks, Coefficients};
use super::header::{Colours, Component, Frame};
use super::idct::Reduced;
use super::upsample::Stretch;
use crate::transform::Region;

/// The samples of a region, one plane for each component.
pub(super) struct Planes {
    planes: Vec<Plane>,
    /// What is wanted, in pixels of the (reduced) picture: from and to, across and down.
    wanted: [[usize; 2]; 2],
    /// Rows of units to decode, from the top.
    unit_rows: usize,
}

/// Whole blocks of samples.
pub(super) struct Plane {
    pub samples: Vec<u8>,
    pub stride: usize,
    /// The blocks that are there: from and to, across and down.
    blocks: [[usize; 2]; 2],
    /// Samples of a block across and down.
    size: usize,
    /// Samples of the whole component, across and down.
    pub whole: [usize; 2],
    /// How often a sample is repeated, across and down.
    pub stretch: [usize; 2],
    reduced: Reduced,
}

impl Plane {
    fn new(
        component: &Component,
        frame: &Frame,
        wanted: [[usize; 2]; 2],
        block: usize,
    ) -> Result<Self, Unfit> {
        let mut size = block;
        let ratio = |axis: usize| frame.most[axis] / component.factors[axis];
        let mut stretch = [ratio(0), ratio(1)];
        // What would be reduced and then stretched again is reduced less.
        while size < 8 && stretch.iter().all(|stretch| stretch % 2 == 0) {
            size *= 2;
            stretch = stretch.map(|stretch| stretch / 2);
        }
        let sides = [frame.width as usize, frame.height as usize];
        let whole = [0, 1].map(|axis| {
            (sides[axis] * component.factors[axis] * size).div_ceil(frame.most[axis] * 8)
        });
        let blocks = [0, 1].map(|axis| {
            let [from, to] = wanted[axis];
            // Stretching looks at the neighbours.
            let first = (from / stretch[axis]).saturating_sub(1);
            let end = ((to - 1) / stretch[axis] + 2).min(whole[axis]);
            [first / size, end.div_ceil(size)]
        });
        if (0..2).any(|axis| blocks[axis][1] > component.padded[axis]) {
            return Err(Unfit::Damaged("its sizes do not fit"));
        }
        let [across, down] = blocks.map(|[from, to]| (to - from) * size);
        Ok(Self {
            samples: vec![0; across * down],
            stride: across,
            blocks,
            size,
            whole,
            stretch,
            reduced: Reduced::new(size),
        })
    }

    /// The samples of a row from the column on that the plane begins with.
    pub fn row(&self, row: usize) -> &[u8] {
        let start = (row - self.blocks[1][0] * self.size) * self.stride;
        &self.samples[start..start + self.stride]
    }

    /// The first column that is there.
    pub fn first_column(&self) -> usize {
        self.blocks[0][0] * self.size
    }

    /// Transforms the blocks of one row, of those that are there.
    #[inline(always)]
    fn fill(&mut self, row: usize, values: &[[i16; 64]], last: &[u8], quant: &[i32; 64]) {
        let size = self.size;
        let start = (row - self.blocks[1][0]) * size * self.stride;
        let rows = &mut self.samples[start..start + size * self.stride];
        for (number, (values, &last)) in values.iter().zip(last).enumerate() {
            let place = number * size;
            if size == 8 {
                let block = super::idct::samples_8(values, quant, last);
                for (row, samples) in rows.chunks_exact_mut(self.stride).zip(block) {
                    row[place..place + 8].copy_from_slice(&samples);
                }
            } else {
                let block = self.reduced.samples(values, quant, size);
                for (row, samples) in rows.chunks_exact_mut(self.stride).zip(block) {
                    row[place..place + size].copy_from_slice(&samples[..size]);
                }
            }
        }
    }
}

impl Planes {
    pub fn new(frame: &Frame, region: Region, reduction: u32) -> Result<Self, Unfit> {
        let wanted = [
            (region.left, region.width, frame.width),
            (region.top, region.height, frame.height),
        ]
        .map(|(start, length, side)| {
            let end = (start + length).min(side).div_ceil(reduction);
            [(start / reduction) as usize, end as usize]
        });
        let size = 8 / reduction as usize;
        let planes = (frame.components.iter())
            .map(|component| Plane::new(component, frame, wanted, size))
            .collect::<Result<Vec<_>, _>>()?;
        let unit_rows = (planes.iter().zip(&frame.components))
            .map(|(plane, component)| plane.blocks[1][1].div_ceil(component.factors[1]))
            .max()
            .unwrap_or(0);
        Ok(Self {
            planes,
            wanted,
            unit_rows,
        })
    }

    /// Rows of units to decode, from the top.
    pub fn unit_rows(&self) -> usize {
        self.unit_rows
    }

    /// Blocks of a component in a row.
    pub fn across(&self, component: usize) -> usize {
        let [from, to] = self.planes[component].blocks[0];
        to - from
    }

    /// Which of the blocks in a row it is; `None` if the block is not wanted.
    #[inline(always)]
    pub fn column(&self, component: usize, [x, y]: [usize; 2]) -> Option<usize> {
        let [[left, right], [top, bottom]] = self.planes[component].blocks;
        ((left..right).contains(&x) && (top..bottom).contains(&y)).then(|| x - left)
    }

    /// Transforms rows of blocks, of which `first` is the first, as far as they are wanted.
    pub fn fill_row(&mut self, component: usize, first: usize, blocks: &Blocks, quant: &[i32; 64]) {
        let plane = &mut self.planes[component];
        let [top, bottom] = plane.blocks[1];
        let rows = blocks.values.chunks_exact(blocks.across);
        let rows = rows.zip(blocks.last.chunks_exact(blocks.across));
        for (row, (values, last)) in (first..).zip(rows) {
            if (top..bottom).contains(&row) {
                Arch::new().dispatch(Fill {
                    plane,
                    row,
                    values,
                    last,
                    quant,
                });
            }
        }
    }

    /// Transforms all blocks of a component that are wanted.
    pub fn fill_all(&mut self, component: usize, stored: &Coefficients, quant: &[i32; 64]) {
        let plane = &mut self.planes[component];
        let blocks = &stored.parts[component];
        let [[left, right], [top, bottom]] = plane.blocks;
        for row in top..bottom {
            let range = row * blocks.across + left..row * blocks.across + right;
            Arch::new().dispatch(Fill {
                plane,
                row,
                values: &blocks.values[range.clone()],
                last: &blocks.last[range],
                quant,
            });
        }
    }

    /// The wanted pixels.
    pub fn into_rgb(self, colours: Colours) -> Result<RgbImage, Unfit> {
        let [[left, right], [top, bottom]] = self.wanted;
        let width = right - left;
        let mut pixels = vec![0; width * (bottom - top) * 3];
        Arch::new().dispatch(Convert {
            planes: &self.planes,
            stretches: (self.planes.iter())
                .map(|plane| Stretch::new(plane, left, width))
                .collect(),
            top,
            width,
            colours,
            pixels: &mut pixels,
        });
        RgbImage::from_raw(width as u32, (bottom - top) as u32, pixels)
            .ok_or(Unfit::Damaged("it has no pixels"))
    }
}

/// [`Plane::fill`] with what vector instructions the machine has. (A closure would not be compiled
/// for them, as it is not always inlined.)
struct Fill<'a> {
    plane: &'a mut Plane,
    row: usize,
    values: &'a [[i16; 64]],
    last: &'a [u8],
    quant: &'a [i32; 64],
}

impl WithSimd for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.plane
            .fill(self.row, self.values, self.last, self.quant);
    }
}

/// Stretches planes and converts their colours.
struct Convert<'a> {
    planes: &'a [Plane],
    stretches: Vec<Stretch>,
    top: usize,
    width: usize,
    colours: Colours,
    pixels: &'a mut [u8],
}

impl WithSimd for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let rows = self.pixels.chunks_exact_mut(self.width * 3);
        for (row, out) in (self.top..).zip(rows) {
            for (stretch, plane) in self.stretches.iter_mut().zip(self.planes) {
                stretch.row(plane, row);
            }
            match self.stretches.as_slice() {
                [a, b, c, d] => {
                    let parts = [a.current(), b.current(), c.current(), d.current()];
                    super::colour::convert(self.colours, &parts, out);
                }
                [a, b, c] => {
                    let parts = [a.current(), b.current(), c.current()];
                    super::colour::convert(self.colours, &parts, out);
                }
                parts => {
                    let parts = parts.first().map(Stretch::current);
                    super::colour::convert(Colours::Grey, parts.as_slice(), out);
                }
            }
        }
    }
}
