/// The sizes of a convolution, of row-major tensors.
///
/// # Shapes
///
/// - images: `[n, cin, height, width]`
/// - weight: `[cout, cin, kernel, kernel]`
/// - output: `[n, cout, out_height, out_width]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dShape {
    /// Images.
    pub n: usize,
    /// Channels of the images.
    pub cin: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Channels of the output.
    pub cout: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Pixels from one position of the kernel to the next, on both axes.
    pub stride: usize,
    /// Zeros around an image.
    pub padding: usize,
}

impl Conv2dShape {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        self.positions(self.height)
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        self.positions(self.width)
    }

    /// Products that are summed for one number of the output: weights of an output channel.
    pub fn depth(&self) -> usize {
        self.cin * self.taps()
    }

    /// Weights of a pair of channels.
    pub(super) fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    pub(super) fn input_len(&self) -> usize {
        self.n * self.cin * self.height * self.width
    }

    pub(super) fn weight_len(&self) -> usize {
        self.cout * self.depth()
    }

    pub(super) fn output_len(&self) -> usize {
        self.n * self.cout * self.out_height() * self.out_width()
    }

    /// Whether each output comes from the one pixel at its place.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }

    /// The same convolution in fewer, longer rows: a pointwise one sees each image as one row.
    pub(super) fn flattened(self) -> Self {
        if !self.is_pointwise() {
            return self;
        }
        Self {
            height: 1,
            width: self.height * self.width,
            ..self
        }
    }

    /// # Panics
    ///
    /// If the kernel does not fit into the padded image, or the kernel, the stride or the images'
    /// channels are none.
    pub(super) fn check(&self) {
        assert!(
            self.kernel > 0 && self.stride > 0 && self.cin > 0,
            "a convolution has a kernel, a stride and channels: {self:?}"
        );
        assert!(
            self.height.min(self.width) + 2 * self.padding >= self.kernel,
            "the kernel fits into the padded image: {self:?}"
        );
    }

    fn positions(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }
}
