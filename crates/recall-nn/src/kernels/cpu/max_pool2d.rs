//! The largest number in each window of each plane.

use std::hint::select_unpredictable;
use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::TASK;

/// Outputs that are computed together where windows overlap no border.
const LANES: usize = 8;

/// Pools planes `x` `[…, height, width]` with square windows; also which tap of each window, row by
/// row, was the largest if `keep`, and nothing otherwise.
///
/// The first of equal numbers counts. NaN is larger than any number.
pub(crate) fn forward(
    x: &[f32],
    height: usize,
    width: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    keep: bool,
) -> (Vec<f32>, Vec<u8>) {
    let windows = Windows::new(height, width, kernel, stride, padding);
    let (pixels, outputs) = (windows.pixels(), windows.outputs());
    assert_eq!(x.len() % pixels, 0);
    let mut values = vec![0.0; x.len() / pixels * outputs];
    let mut taps = vec![0; if keep { values.len() } else { 0 }];
    let planes = (TASK / pixels).max(1);
    let arch = Arch::new();
    let tasks = values
        .par_chunks_mut(planes * outputs)
        .zip(x.par_chunks(planes * pixels));
    let halves = || windows.halves();
    if keep {
        let tasks = tasks.zip(taps.par_chunks_mut(planes * outputs));
        tasks.for_each_init(halves, |halves, ((values, x), taps)| {
            arch.dispatch(
                #[inline(always)]
                || {
                    let planes = x.chunks_exact(pixels).zip(values.chunks_exact_mut(outputs));
                    for ((x, values), taps) in planes.zip(taps.chunks_exact_mut(outputs)) {
                        windows.pool::<true>(x, halves, values, taps);
                    }
                },
            );
        });
    } else {
        tasks.for_each_init(halves, |halves, (values, x)| {
            arch.dispatch(
                #[inline(always)]
                || {
                    let planes = x.chunks_exact(pixels).zip(values.chunks_exact_mut(outputs));
                    for (x, values) in planes {
                        windows.pool::<false>(x, halves, values, &mut []);
                    }
                },
            );
        });
    }
    (values, taps)
}

/// The gradient for `x`, given the taps that [`forward`] kept and `grad` for the output.
pub(crate) fn backward(
    grad: &[f32],
    taps: &[u8],
    height: usize,
    width: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Vec<f32> {
    let windows = Windows::new(height, width, kernel, stride, padding);
    let (pixels, outputs) = (windows.pixels(), windows.outputs());
    assert_eq!(grad.len(), taps.len());
    assert_eq!(grad.len() % outputs, 0);
    let mut input = vec![0.0; grad.len() / outputs * pixels];
    let planes = (TASK / pixels).max(1);
    let sources = grad
        .par_chunks(planes * outputs)
        .zip(taps.par_chunks(planes * outputs));
    let tasks = input.par_chunks_mut(planes * pixels).zip(sources);
    // No division in the inner loop.
    let offsets: Vec<usize> = (0..kernel * kernel)
        .map(|tap| tap / kernel * width + tap % kernel)
        .collect();
    tasks.for_each(|(input, (grad, taps))| {
        let sources = grad.chunks_exact(outputs).zip(taps.chunks_exact(outputs));
        for (input, (grad, taps)) in input.chunks_exact_mut(pixels).zip(sources) {
            windows.scatter(input, grad, taps, &offsets);
        }
    });
    input
}

/// Where the windows of one plane lie.
#[derive(Clone, Copy)]
struct Windows {
    height: usize,
    width: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    rows: usize,
    columns: usize,
}

impl Windows {
    fn new(height: usize, width: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        assert!(
            (1..=16).contains(&kernel),
            "the taps of a window fit a byte"
        );
        // So each window has a pixel of the plane.
        assert!(2 * padding <= kernel, "padding is at most half a window");
        assert!(height > 0 && height + 2 * padding >= kernel);
        assert!(width > 0 && width + 2 * padding >= kernel);
        Self {
            height,
            width,
            kernel,
            stride,
            padding,
            rows: (height + 2 * padding - kernel) / stride + 1,
            columns: (width + 2 * padding - kernel) / stride + 1,
        }
    }

    fn pixels(&self) -> usize {
        self.height * self.width
    }

    fn outputs(&self) -> usize {
        self.rows * self.columns
    }

    /// Room for the halves of one plane, if they will be asked for.
    fn halves(&self) -> Halves {
        let width = self.width.div_ceil(2);
        let asked_for = self.stride == 2 && matches!(self.kernel, 2 | 3);
        let len = if asked_for { self.height * width } else { 0 };
        Halves {
            width,
            columns: [vec![0.0; len], vec![0.0; len]],
        }
    }

    /// Pools one plane; `taps` is empty unless `KEEP`.
    #[inline(always)]
    fn pool<const KEEP: bool>(
        &self,
        x: &[f32],
        halves: &mut Halves,
        values: &mut [f32],
        taps: &mut [u8],
    ) {
        match (self.kernel, self.stride) {
            (2, 2) => self.pool_with_interior::<2, KEEP>(x, halves, values, taps),
            (3, 2) => self.pool_with_interior::<3, KEEP>(x, halves, values, taps),
            _ => {
                for row in 0..self.rows {
                    self.pool_row::<KEEP>(x, row, 0..self.columns, values, taps);
                }
            }
        }
    }

    /// Any outputs of one row.
    #[inline(always)]
    fn pool_row<const KEEP: bool>(
        &self,
        x: &[f32],
        row: usize,
        columns: Range<usize>,
        values: &mut [f32],
        taps: &mut [u8],
    ) {
        for column in columns {
            let (value, tap) = self.window(x, row, column);
            values[row * self.columns + column] = value;
            if KEEP {
                taps[row * self.columns + column] = tap;
            }
        }
    }

    /// The largest number of a window, and its tap.
    #[inline(always)]
    fn window(&self, x: &[f32], row: usize, column: usize) -> (f32, u8) {
        // In pixels of the padded plane.
        let (top, left) = (row * self.stride, column * self.stride);
        let ys = top.max(self.padding)..(top + self.kernel).min(self.height + self.padding);
        let xs = left.max(self.padding)..(left + self.kernel).min(self.width + self.padding);
        let mut best = f32::NEG_INFINITY;
        let mut tap = (ys.start - top) * self.kernel + (xs.start - left);
        for padded_y in ys {
            let y = padded_y - self.padding;
            let pixels = &x[y * self.width..][..self.width];
            for padded_x in xs.clone() {
                let value = pixels[padded_x - self.padding];
                if value > best || (value.is_nan() && !best.is_nan()) {
                    best = value;
                    tap = (padded_y - top) * self.kernel + (padded_x - left);
                }
            }
        }
        (best, tap as u8)
    }

    /// Pools one plane with a stride of 2, several outputs at a time where no window overlaps the
    /// border.
    #[inline(always)]
    fn pool_with_interior<const KERNEL: usize, const KEEP: bool>(
        &self,
        x: &[f32],
        halves: &mut Halves,
        values: &mut [f32],
        taps: &mut [u8],
    ) {
        let rows = interior(self.height, KERNEL, self.padding);
        let columns = interior(self.width, KERNEL, self.padding);
        halves.fill(x, self.width);
        for row in 0..self.rows {
            if !rows.contains(&row) || columns.is_empty() {
                self.pool_row::<KEEP>(x, row, 0..self.columns, values, taps);
                continue;
            }
            self.pool_row::<KEEP>(x, row, 0..columns.start, values, taps);
            let (top, left) = (2 * row - self.padding, 2 * columns.start - self.padding);
            let mut seen = [[&[][..]; KERNEL]; KERNEL];
            for (y, seen) in seen.iter_mut().enumerate() {
                for (x, seen) in seen.iter_mut().enumerate() {
                    *seen = halves.every_second(top + y, left + x, columns.len());
                }
            }
            let inside = row * self.columns + columns.start..row * self.columns + columns.end;
            let taps_inside = if KEEP { inside.clone() } else { 0..0 };
            let taps_inside = &mut taps[taps_inside];
            largest_of::<KERNEL, KEEP>(seen, &mut values[inside], taps_inside);
            self.pool_row::<KEEP>(x, row, columns.end..self.columns, values, taps);
        }
    }

    /// Adds each gradient where its number came from.
    fn scatter(&self, input: &mut [f32], grad: &[f32], taps: &[u8], offsets: &[usize]) {
        let rows = grad
            .chunks_exact(self.columns)
            .zip(taps.chunks_exact(self.columns));
        for (row, (grad, taps)) in rows.enumerate() {
            let mut first = row * self.stride * self.width;
            for (&grad, &tap) in grad.iter().zip(taps) {
                let padded = first + offsets[usize::from(tap)];
                input[padded - self.padding * (self.width + 1)] += grad;
                first += self.stride;
            }
        }
    }
}

/// The outputs along an axis whose windows, 2 apart, overlap no padding.
#[inline(always)]
fn interior(size: usize, kernel: usize, padding: usize) -> Range<usize> {
    let first = padding.div_ceil(2);
    match (size + padding).checked_sub(kernel) {
        Some(last) => first..(last / 2 + 1).max(first),
        None => first..first,
    }
}

/// The even columns of a plane and the odd ones: what the same tap of windows side by side sees is
/// side by side.
struct Halves {
    /// Columns of each half.
    width: usize,
    columns: [Vec<f32>; 2],
}

impl Halves {
    #[inline(always)]
    fn fill(&mut self, x: &[f32], width: usize) {
        let [even, odd] = &mut self.columns;
        if width.is_multiple_of(2) {
            deinterleave(x, even, odd);
            return;
        }
        let rows = x.chunks_exact(width);
        let halves = even.chunks_exact_mut(self.width);
        let halves = halves.zip(odd.chunks_exact_mut(self.width));
        for (x, (even, odd)) in rows.zip(halves) {
            deinterleave(x, even, odd);
            even[self.width - 1] = x[width - 1];
        }
    }

    /// The pixels of a row at `first`, `first + 2` and so on.
    #[inline(always)]
    fn every_second(&self, row: usize, first: usize, count: usize) -> &[f32] {
        &self.columns[first % 2][row * self.width + first / 2..][..count]
    }
}

#[inline(always)]
fn deinterleave(x: &[f32], even: &mut [f32], odd: &mut [f32]) {
    let pairs = x.as_chunks::<2>().0;
    for (pair, (even, odd)) in pairs.iter().zip(even.iter_mut().zip(odd)) {
        [*even, *odd] = *pair;
    }
}

/// Outputs side by side, from what each tap of their windows sees.
#[inline(always)]
fn largest_of<const KERNEL: usize, const KEEP: bool>(
    seen: [[&[f32]; KERNEL]; KERNEL],
    values: &mut [f32],
    taps: &mut [u8],
) {
    const HALF: usize = LANES / 2;
    if values.len() >= LANES {
        blocks::<KERNEL, LANES, KEEP>(seen, values, taps);
    } else if values.len() >= HALF {
        blocks::<KERNEL, HALF, KEEP>(seen, values, taps);
    } else {
        blocks::<KERNEL, 1, KEEP>(seen, values, taps);
    }
}

/// The same, `WIDTH` outputs at a time, of which there are at least so many.
#[inline(always)]
fn blocks<const KERNEL: usize, const WIDTH: usize, const KEEP: bool>(
    seen: [[&[f32]; KERNEL]; KERNEL],
    values: &mut [f32],
    taps: &mut [u8],
) {
    let mut first = 0;
    while first < values.len() {
        // The last block may do again what the one before it did.
        first = first.min(values.len() - WIDTH);
        let values = &mut values[first..][..WIDTH];
        let mut best = [f32::NEG_INFINITY; WIDTH];
        for seen in seen.as_flattened() {
            for (best, &value) in best.iter_mut().zip(&seen[first..][..WIDTH]) {
                let larger = (value > *best) | value.is_nan();
                *best = select_unpredictable(larger, value, *best);
            }
        }
        values.copy_from_slice(&best);
        if KEEP {
            // The first that is equal, from the last on. Kept up to date in the loop above instead,
            // the taps would keep the compiler from making vectors of it.
            let mut found = [0u32; WIDTH];
            for (tap, seen) in seen.as_flattened().iter().enumerate().rev() {
                let seen = seen[first..][..WIDTH].iter().zip(&best);
                for (found, (&value, &best)) in found.iter_mut().zip(seen) {
                    let same = (value == best) | value.is_nan();
                    *found = select_unpredictable(same, tap as u32, *found);
                }
            }
            taps[first..][..WIDTH].copy_from_slice(&found.map(|tap| tap as u8));
        }
        first += WIDTH;
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_same_bits, random};
    use super::*;

    /// Planes, height, width, kernel, stride, padding.
    const CASES: [[usize; 6]; 16] = [
        [3, 16, 16, 2, 2, 0],
        [5, 8, 8, 2, 2, 0],
        [2, 7, 9, 2, 2, 0],
        [2, 50, 53, 2, 2, 0],
        [2, 9, 35, 2, 2, 1],
        [2, 112, 112, 3, 2, 1],
        [3, 16, 16, 3, 2, 1],
        [2, 17, 41, 3, 2, 1],
        [2, 17, 41, 3, 2, 0],
        [4, 1, 1, 3, 2, 1],
        [4, 2, 2, 2, 2, 0],
        [2, 2, 5, 3, 2, 1],
        [2, 13, 11, 3, 1, 1],
        [2, 8, 9, 1, 1, 0],
        [2, 20, 23, 5, 3, 2],
        [2, 33, 16, 16, 7, 8],
    ];

    /// Value and place in the plane of each output, by the definition.
    fn naive(
        x: &[f32],
        [_, height, width, kernel, stride, padding]: [usize; 6],
    ) -> Vec<(f32, usize)> {
        let rows = (height + 2 * padding - kernel) / stride + 1;
        let columns = (width + 2 * padding - kernel) / stride + 1;
        let mut outputs = Vec::new();
        for plane in x.chunks(height * width) {
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
                let mut best: Option<(f32, usize)> = None;
                for (y, x) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                    let y = (row * stride + y)
                        .checked_sub(padding)
                        .filter(|y| *y < height);
                    let x = (column * stride + x)
                        .checked_sub(padding)
                        .filter(|x| *x < width);
                    if let (Some(y), Some(x)) = (y, x) {
                        let value = plane[y * width + x];
                        if best.is_none_or(|(best, _)| {
                            value > best || (value.is_nan() && !best.is_nan())
                        }) {
                            best = Some((value, y * width + x));
                        }
                    }
                }
                outputs.push(best.expect("a pixel in each window"));
            }
        }
        outputs
    }

    fn check(x: &[f32], case: [usize; 6]) {
        let [planes, height, width, kernel, stride, padding] = case;
        let expected = naive(x, case);
        let (values, taps) = forward(x, height, width, kernel, stride, padding, true);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let exact: Vec<f32> = expected.iter().map(|(value, _)| *value).collect();
        assert_eq!(bits(&values), bits(&exact), "{case:?}");
        let (without, none) = forward(x, height, width, kernel, stride, padding, false);
        assert_eq!(bits(&without), bits(&values), "{case:?}");
        assert!(none.is_empty());
        // Whole numbers, so that sums are exact.
        let grad: Vec<f32> = (0..values.len()).map(|index| (index % 97) as f32).collect();
        let input = backward(&grad, &taps, height, width, kernel, stride, padding);
        let mut exact = vec![0.0; x.len()];
        let outputs = values.len() / planes;
        for (index, ((_, place), grad)) in expected.iter().zip(&grad).enumerate() {
            exact[index / outputs * height * width + place] += grad;
        }
        assert_eq!(input, exact, "{case:?}");
    }

    #[test]
    fn values_and_gradients_are_those_of_naive_loops() {
        for case in CASES {
            check(&random(1, case[0] * case[1] * case[2]), case);
        }
    }

    #[test]
    fn the_first_of_equal_numbers_counts() {
        for case in CASES {
            let mut x = random(2, case[0] * case[1] * case[2]);
            x.iter_mut().for_each(|x| *x = x.max(0.0).round());
            check(&x, case);
            check(&vec![f32::NEG_INFINITY; x.len()], case);
        }
    }

    #[test]
    fn nan_is_the_largest() {
        for case in CASES {
            let mut x = random(3, case[0] * case[1] * case[2]);
            for (index, x) in x.iter_mut().enumerate() {
                match index * 7 % 11 {
                    0 => *x = f32::NAN,
                    1 => *x = f32::INFINITY,
                    2 => *x = f32::NEG_INFINITY,
                    _ => {}
                }
            }
            check(&x, case);
        }
    }

    #[test]
    fn no_planes_no_output() {
        assert_eq!(forward(&[], 4, 4, 2, 2, 0, true), (Vec::new(), Vec::new()));
        assert!(backward(&[], &[], 4, 4, 2, 2, 0).is_empty());
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let x = random(4, 300 * 17 * 17);
        assert_same_bits(|| {
            let (values, taps) = forward(&x, 17, 17, 3, 2, 1, true);
            let input = backward(&values, &taps, 17, 17, 3, 2, 1);
            vec![values, input]
        });
    }
}
