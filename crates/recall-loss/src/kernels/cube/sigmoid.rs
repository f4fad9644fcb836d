//! The sigmoid and its derivative, without overflow at either end and without the cancellation of
//! `σ (1 − σ)`.

use cubecl::prelude::*;

/// Exponents beyond this many nats are not worked out: `σ` is 0 or 1 to within 2·10⁻¹¹, and `σ'` 0.
const SATURATED: f32 = 25.0;

/// `(σ(x), σ'(x))`
#[cube]
pub(super) fn sigmoid_and_slope(x: f32) -> (f32, f32) {
    let e = f32::exp(-f32::abs(x));
    let larger = 1.0 / (1.0 + e);
    let smaller = e * larger;
    (select(x > 0.0, larger, smaller), larger * smaller)
}

/// [`sigmoid_and_slope`] for sums over many items, most of which lie far from the one in question.
#[cube]
pub(super) fn step_and_slope(x: f32) -> (f32, f32) {
    let mut step = select(x > 0.0, 1.0f32, 0.0f32);
    let mut slope = 0.0f32;
    if f32::abs(x) < SATURATED {
        let (near, steep) = sigmoid_and_slope(x);
        step = near;
        slope = steep;
    }
    (step, slope)
}

/// The derivative of [`step_and_slope`] alone.
#[cube]
pub(super) fn slope(x: f32) -> f32 {
    let mut slope = 0.0f32;
    if f32::abs(x) < SATURATED {
        let e = f32::exp(-f32::abs(x));
        let larger = 1.0 / (1.0 + e);
        slope = e * larger * larger;
    }
    slope
}
