/// A layer and its settings. Its weights are inputs, so that a gradient reaches them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layer {
    /// Inputs: images `[n, in, height, width]` and a weight `[out, in, k, k]`; if
    /// [`affine`](Conv2d::affine), scale `[out]` and shift `[out]`; if [`residual`](Conv2d::residual), what
    /// is added, of the output's shape `[n, out, (height + 2 padding − k) / stride + 1, …]`.
    Conv2d(Conv2d),
    /// Input: images `[n, channels, height, width]`.
    MaxPool2d(MaxPool2d),
    /// Inputs: `[…, d]`, γ `[d]` and β `[d]`: `γ (x − mean) / √(variance + epsilon) + β` over the last axis,
    /// with the biased variance.
    LayerNorm {
        /// What is added to the variance.
        epsilon: f64,
    },
    /// Input of any shape: `x Φ(x)`, Φ the distribution of the normal (Hendrycks and Gimpel, 2016).
    Gelu,
    /// Input: `[n, tokens, 3 · width]`, queries, keys and values in this order, each `heads` times
    /// `width / heads` numbers; output `[n, tokens, width]`. The scores are divided by
    /// `√(width / heads)` (Vaswani et al., NeurIPS 2017).
    Attention {
        /// Number of heads; they divide the width.
        heads: usize,
    },
}

/// A convolution and what is done to its output: `relu(scale · (x ∗ w) + shift + residual)`, each part
/// if it is wanted. Frozen batch normalisation is a scale and a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Pixels from one position of the kernel to the next, on both axes.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Whether each channel of the output is scaled and shifted.
    pub affine: bool,
    /// Whether a tensor of the output's shape is added.
    pub residual: bool,
    /// Whether negative outputs become zero.
    pub relu: bool,
}

/// The largest number in each window; padding is never the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Side of a window, at most 16.
    pub kernel: usize,
    /// Pixels from one window to the next, on both axes.
    pub stride: usize,
    /// Pixels around the image, at most half a window.
    pub padding: usize,
}
