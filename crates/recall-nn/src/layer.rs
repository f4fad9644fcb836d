use burn::tensor::FloatDType;

/// A layer and its settings. Its weights are inputs, so that a gradient reaches them.
///
/// Where the first input is in half precision, `f16` or `bf16`, so are the output and what is of the output's
/// shape; the weights may stay `f32`. Products then take the weights rounded to the type of the first input.
/// Means, variances, exponentials and logarithms are computed in `f32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layer {
    /// `relu(scale · (x ∗ w) + shift + residual)`, each part if it is wanted.
    ///
    /// Inputs: images `[n, in, height, width]`, a weight `[out, in, k, k]`, and those of scale `[out]`,
    /// shift `[out]` and residual that the settings name, in this order; output and residual are
    /// `[n, out, (height + 2 padding − k) / stride + 1, …]`.
    Conv2d(Conv2dSettings),
    /// The largest number in each window; padding is never the largest.
    ///
    /// Input: images `[n, channels, height, width]`.
    MaxPool2d {
        /// Side of a window, at most 16.
        kernel: usize,
        /// Pixels from one window to the next, on both axes.
        stride: usize,
        /// Pixels around the image, at most half a window.
        padding: usize,
    },
    /// `γ (x − mean) / √(variance + epsilon) + β` over the last axis, with the biased variance.
    ///
    /// Inputs: `[…, d]`, γ `[d]` and β `[d]`.
    LayerNorm {
        /// What is added to the variance.
        epsilon: f64,
    },
    /// `x Φ(x)`, Φ the distribution function of the normal distribution.
    ///
    /// Input: of any shape.
    Gelu,
    /// `(mean over space of max(x, 10⁻⁶)ᵖ)^(1/p)`: the mean for p = 1, and towards the maximum as p grows.
    ///
    /// Inputs: a map `[n, channels, height, width]` and p `[1]`, above zero; output `[n, channels]`.
    GeM,
    /// `softmax(q kᵀ / √(width / heads)) v` for each head.
    ///
    /// Input: `[n, tokens, 3 · width]`, queries, keys and values in this order; output
    /// `[n, tokens, width]`.
    Attention {
        /// Number of heads; they divide the width.
        heads: usize,
    },
    /// `x w + b`, with `b` if it is wanted.
    ///
    /// Inputs: `[rows, in]`, a weight `[in, out]` and `b` `[out]`; output `[rows, out]`.
    Linear {
        /// Whether a number is added to each column of the output.
        bias: bool,
    },
    /// The same numbers, rounded to another type; the gradient goes back in the type that they came in.
    ///
    /// Input: of any shape and precision.
    Cast {
        /// The type of the output.
        to: FloatDType,
    },
}

/// How [`Layer::Conv2d`] reads its images, and what it does to its sums before it stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dSettings {
    /// Pixels from one position of the kernel to the next, on both axes.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Whether each channel of the output is multiplied by a number.
    pub scale: bool,
    /// Whether a number is added to each channel of the output.
    pub shift: bool,
    /// Whether a tensor of the output's shape is added.
    pub residual: bool,
    /// Whether negative outputs become zero.
    pub relu: bool,
}
