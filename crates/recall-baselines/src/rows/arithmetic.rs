//! Sums and exponentials that compilers turn into vector instructions.

/// How many sums run beside each other. A fixed number, so that no machine adds in another order.
pub(crate) const LANES: usize = 16;

/// `e^x`, within two units in the last place; 0 for what is below the smallest normal number.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 2^(n + f) with f in ±½: the polynomial is Taylor's of e^(f ln 2), the power a matter of bits.
    let clamped = x.clamp(-87.3, 88.7);
    let scaled = clamped * std::f32::consts::LOG2_E;
    // Adding this rounds to a whole number, whose bits are then the lowest ones.
    const ROUND: f32 = 12_582_912.0;
    let rounded = scaled + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts, the first with few bits: n times it is exact.
    let f = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut sum = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * f + coefficient;
    }
    let exponent = (rounded.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127) << 23;
    let value = sum * f32::from_bits(exponent);
    if x < -87.3 { 0.0 } else { value }
}

/// `log(1 + e^x)`.
pub(crate) fn log1p_exp(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `Σ e^(scale · (x − shift))` in an order that depends on nothing but the length.
#[inline(always)]
pub(crate) fn sum_exp(values: &[f32], scale: f32, shift: f32) -> f64 {
    lanes(values, |x| exp(scale * (x - shift)))
}

/// `Σ of(x)` in an order that depends on nothing but the length.
#[inline(always)]
pub(crate) fn lanes(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    // Sums in single precision stay short, so that their rounding does.
    for part in values.chunks(LANES * 64) {
        let mut sums = [0.0f32; LANES];
        let (whole, rest) = part.as_chunks::<LANES>();
        for lane in whole {
            for (sum, &x) in sums.iter_mut().zip(lane) {
                *sum += of(x);
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            *sum += of(x);
        }
        total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
    }
    total
}

/// The greatest `of(x)`; of nothing, the least number there is.
#[inline(always)]
pub(crate) fn greatest(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [f32::MIN; LANES];
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let (whole, rest) = values.as_chunks::<LANES>();
    for lane in whole {
        for (greatest, &x) in lanes.iter_mut().zip(lane) {
            *greatest = larger(of(x), *greatest);
        }
    }
    let greatest = lanes.into_iter().fold(f32::MIN, larger);
    rest.iter().map(|&x| of(x)).fold(greatest, larger)
}

/// The dot product, in an order that depends on nothing but the length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let ((a, rest), (b, others)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(a) * f64::from(b);
        }
    }
    for (sum, (&a, &b)) in sums.iter_mut().zip(rest.iter().zip(others)) {
        *sum += f64::from(a) * f64::from(b);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_the_last_places() {
        for step in -8700..=8800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert_eq!(
            (exp(-90.0), exp(f32::NEG_INFINITY), exp(0.0)),
            (0.0, 0.0, 1.0)
        );
    }

    #[test]
    fn the_greatest_is_found_anywhere() {
        assert_eq!(greatest(&[], |x| x), f32::MIN);
        for length in 1..40 {
            for at in 0..length {
                let values: Vec<f32> = (0..length)
                    .map(|i| -1.0 - (i as f32 - at as f32).abs())
                    .collect();
                assert_eq!(greatest(&values, |x| x), -1.0);
                assert_eq!(greatest(&values, |x| x - 1.0), -2.0);
            }
        }
    }

    #[test]
    fn sums_are_those_of_their_terms() {
        let values: Vec<f32> = (0..5000).map(|i| (i % 37) as f32 / 37.0).collect();
        for length in [0, 1, 15, 16, 17, 1024, 1025, 5000] {
            let expected: f64 = values[..length]
                .iter()
                .map(|&x| (f64::from(x) * 3.0 - 3.0).exp())
                .sum();
            let found = sum_exp(&values[..length], 3.0, 1.0);
            assert!((found - expected).abs() <= 1e-6 * expected, "{length}");
        }
    }
}
