/// The sizes of a batch's images: their channels, rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Grid {
    pub(super) fn plane(&self) -> usize {
        self.height * self.width
    }

    pub(super) fn image(&self) -> usize {
        self.channels * self.plane()
    }
}

/// What [`product`](super::product::product) computes, for each image `n`, output channel `o`, row `r`
/// and column `c` the sum over the input's channels `i` and the taps `t = (dy, dx)`:
///
/// ```text
/// output[n, o, r · spread + top, c · spread + left] =
///     Σ weight(o, t, i) · input[n, i, r · step + dy, c · step + dx]
/// ```
///
/// A pixel outside of the input is zero.
pub(super) struct Plan<'a> {
    pub(super) input: &'a [f32],
    pub(super) from: Grid,
    pub(super) taps: Vec<(isize, isize)>,
    pub(super) step: usize,
    pub(super) images: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) to: Grid,
    pub(super) spread: usize,
    pub(super) top: usize,
    pub(super) left: usize,
}

impl Plan<'_> {
    /// Products that are summed for one output, tap by tap.
    pub(super) fn depth(&self) -> usize {
        self.taps.len() * self.from.channels
    }

    /// Outputs of each channel.
    pub(super) fn positions(&self) -> usize {
        self.images * self.rows * self.columns
    }
}
