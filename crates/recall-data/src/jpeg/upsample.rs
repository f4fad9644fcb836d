//! Chroma that was stored at half of the size, stretched by triangles as the library does it: each
//! new sample is three quarters its own and one quarter its neighbour.

use super::output::Plane;

/// A row of samples as wide as the region.
pub(super) type Row<'a> = &'a [u8];

/// Stretches a plane's rows, one at a time.
pub(super) struct Stretch {
    kind: Kind,
    /// The first pixel that is wanted, and how many.
    left: usize,
    width: usize,
    /// The first sample of `sums`, and how many there are, with a neighbour on both sides.
    first: usize,
    sums: Vec<u16>,
    stretched: Vec<u8>,
    start: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Across,
    Down,
    Both,
    Repeat,
}

impl Stretch {
    pub fn new(plane: &Plane, left: usize, width: usize) -> Self {
        let kind = match plane.stretch {
            [1, 1] => Kind::Plain,
            [1, 2] => Kind::Down,
            // The library does not interpolate where there are no neighbours on both sides.
            [2, 1] if plane.whole[0] > 2 => Kind::Across,
            [2, 2] if plane.whole[0] > 2 => Kind::Both,
            _ => Kind::Repeat,
        };
        let first = left / plane.stretch[0];
        let count = (left + width - 1) / plane.stretch[0] - first + 1;
        Self {
            kind,
            left,
            width,
            first,
            sums: vec![0; count + 2],
            stretched: vec![0; 2 * count.max(width)],
            start: 0,
        }
    }

    /// Makes a row of the picture.
    #[inline(always)]
    pub fn row(&mut self, plane: &Plane, row: usize) {
        let own = plane.row(row / plane.stretch[1]);
        let origin = plane.first_column();
        self.start = 0;
        match self.kind {
            Kind::Plain => {
                let from = self.left - origin;
                self.stretched[..self.width].copy_from_slice(&own[from..from + self.width]);
            }
            Kind::Repeat => {
                for x in 0..self.width {
                    self.stretched[x] = own[(self.left + x) / plane.stretch[0] - origin];
                }
            }
            Kind::Down => {
                let from = self.left - origin;
                let rounding = if row.is_multiple_of(2) { 1 } else { 2 };
                let near = &own[from..from + self.width];
                let far = &neighbour(plane, row)[from..from + self.width];
                for ((out, &near), &far) in self.stretched.iter_mut().zip(near).zip(far) {
                    *out = ((3 * u16::from(near) + u16::from(far) + rounding) >> 2) as u8;
                }
            }
            Kind::Across => {
                self.sum(plane, own, None);
                self.stretch([1, 2], 2);
            }
            Kind::Both => {
                self.sum(plane, own, Some(neighbour(plane, row)));
                self.stretch([8, 7], 4);
            }
        }
    }

    /// The row that was made last.
    #[inline(always)]
    pub fn current(&self) -> Row<'_> {
        &self.stretched[self.start..self.start + self.width]
    }

    #[inline(always)]
    fn sum(&mut self, plane: &Plane, near: &[u8], far: Option<&[u8]>) {
        let from = self.first - plane.first_column();
        let count = self.sums.len() - 2;
        let middle = &mut self.sums[1..=count];
        match far {
            None => {
                for (sum, &near) in middle.iter_mut().zip(&near[from..from + count]) {
                    *sum = near.into();
                }
            }
            Some(far) => {
                let rows = near[from..from + count]
                    .iter()
                    .zip(&far[from..from + count]);
                for (sum, (&near, &far)) in middle.iter_mut().zip(rows) {
                    *sum = 3 * u16::from(near) + u16::from(far);
                }
            }
        }
        let outer = |column: usize| match far {
            None => u16::from(near[column]),
            Some(far) => 3 * u16::from(near[column]) + u16::from(far[column]),
        };
        // At the edge of the picture a sample is its own neighbour.
        self.sums[0] = if self.first > 0 {
            outer(from - 1)
        } else {
            self.sums[1]
        };
        self.sums[count + 1] = if self.first + count < plane.whole[0] {
            outer(from + count)
        } else {
            self.sums[count]
        };
    }

    #[inline(always)]
    fn stretch(&mut self, rounding: [u16; 2], bits: u32) {
        for (out, sums) in self.stretched.chunks_exact_mut(2).zip(self.sums.windows(3)) {
            let own = 3 * sums[1];
            out[0] = ((own + sums[0] + rounding[0]) >> bits) as u8;
            out[1] = ((own + sums[2] + rounding[1]) >> bits) as u8;
        }
        self.start = self.left - 2 * self.first;
    }
}

/// The other row that a row of the picture lies near to.
#[inline(always)]
fn neighbour(plane: &Plane, row: usize) -> &[u8] {
    let own = row / 2;
    let other = if row.is_multiple_of(2) {
        own.saturating_sub(1)
    } else {
        (own + 1).min(plane.whole[1] - 1)
    };
    plane.row(other)
}
