//! From 64 frequencies to 8 x 8 samples, bit for bit as the accurate integer method of the
//! Independent JPEG Group's library gives them: the factorisation of Loeffler, Ligtenberg and
//! Moschytz with 13 bits behind the point, columns first, two bits kept between the passes.

/// Bits behind the point of a constant.
const BITS: u32 = 13;
/// Bits kept between the passes.
const KEPT: u32 = 2;

const fn fixed(value: f64) -> i32 {
    (value * (1 << BITS) as f64 + 0.5) as i32
}

/// Divided by a power of two and rounded.
#[inline(always)]
fn rounded(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// One-dimensional transforms of the eight columns of a block. All go through the same arithmetic,
/// so the compiler makes vectors of them. Additions wrap, as damaged files may hold any number.
#[inline(always)]
fn transform(block: &mut [i32; 64], drop: u32) {
    let ([r0, r1, r2, r3, r4, r5, r6, r7], _) = block.as_chunks_mut::<8>() else {
        return;
    };
    for lane in 0..8 {
        let times = |value: i32, factor: f64| value.wrapping_mul(fixed(factor));
        let (x0, x1, x2, x3) = (r0[lane], r1[lane], r2[lane], r3[lane]);
        let (x4, x5, x6, x7) = (r4[lane], r5[lane], r6[lane], r7[lane]);
        // The even half: a rotation by 3π/8 and two butterflies.
        let common = times(x2.wrapping_add(x6), 0.541_196_100);
        let low = common.wrapping_sub(times(x6, 1.847_759_065));
        let high = common.wrapping_add(times(x2, 0.765_366_865));
        let sum = x0.wrapping_add(x4).wrapping_shl(BITS);
        let difference = x0.wrapping_sub(x4).wrapping_shl(BITS);
        let (e0, e3) = (sum.wrapping_add(high), sum.wrapping_sub(high));
        let (e1, e2) = (difference.wrapping_add(low), difference.wrapping_sub(low));

        // The odd half.
        let (c, d) = (x7.wrapping_add(x3), x5.wrapping_add(x1));
        let common = times(c.wrapping_add(d), 1.175_875_602);
        let a = times(x7.wrapping_add(x1), 0.899_976_223);
        let b = times(x5.wrapping_add(x3), 2.562_915_447);
        let c = common.wrapping_sub(times(c, 1.961_570_560));
        let d = common.wrapping_sub(times(d, 0.390_180_644));
        let o0 = times(x1, 1.501_321_110).wrapping_sub(a).wrapping_add(d);
        let o1 = times(x3, 3.072_711_026).wrapping_sub(b).wrapping_add(c);
        let o2 = times(x5, 2.053_119_869).wrapping_sub(b).wrapping_add(d);
        let o3 = times(x7, 0.298_631_336).wrapping_sub(a).wrapping_add(c);

        r0[lane] = rounded(e0.wrapping_add(o0), drop);
        r1[lane] = rounded(e1.wrapping_add(o1), drop);
        r2[lane] = rounded(e2.wrapping_add(o2), drop);
        r3[lane] = rounded(e3.wrapping_add(o3), drop);
        r4[lane] = rounded(e3.wrapping_sub(o3), drop);
        r5[lane] = rounded(e2.wrapping_sub(o2), drop);
        r6[lane] = rounded(e1.wrapping_sub(o1), drop);
        r7[lane] = rounded(e0.wrapping_sub(o0), drop);
    }
}

/// The samples of a block, row by row. `last` is the last coefficient in zigzag order that may not
/// be zero.
#[inline(always)]
pub(super) fn samples_8(coefficients: &[i16; 64], quant: &[i32; 64], last: u8) -> [[u8; 8]; 8] {
    if last == 0 {
        let dc = i32::from(coefficients[0]).wrapping_mul(quant[0]);
        let sample = to_sample(dc.wrapping_shl(KEPT).wrapping_add(16) >> (KEPT + 3));
        return [[sample; 8]; 8];
    }
    let mut block = [0; 64];
    for ((value, &coefficient), quant) in block.iter_mut().zip(coefficients).zip(quant) {
        *value = i32::from(coefficient).wrapping_mul(*quant);
    }
    transform(&mut block, BITS - KEPT);
    let mut block = transposed(&block);
    transform(&mut block, BITS + KEPT + 3);
    let block = transposed(&block);
    let mut samples = [[0; 8]; 8];
    for (samples, row) in samples.iter_mut().zip(block.chunks_exact(8)) {
        // Loops, as the closures of `map` on arrays are not always inlined, and are slow when not.
        for (sample, value) in samples.iter_mut().zip(row) {
            *sample = to_sample(*value);
        }
    }
    samples
}

#[inline(always)]
fn transposed(block: &[i32; 64]) -> [i32; 64] {
    let mut result = [0; 64];
    for (row, values) in block.chunks_exact(8).enumerate() {
        for (column, value) in values.iter().enumerate() {
            result[column * 8 + row] = *value;
        }
    }
    result
}

#[inline(always)]
fn to_sample(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

/// Transforms to fewer samples: the lowest frequencies alone, for a reduced picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reduced {
    /// What each frequency gives to each sample.
    waves: [[f32; 4]; 4],
}

impl Reduced {
    /// For `size` x `size` samples: 1, 2 or 4.
    pub fn new(size: usize) -> Self {
        let mut waves = [[0.0; 4]; 4];
        for (sample, waves) in waves.iter_mut().enumerate().take(size) {
            for (frequency, wave) in waves.iter_mut().enumerate().take(size) {
                let angle = (2 * sample + 1) as f64 * frequency as f64 / (2 * size) as f64;
                let weight = if frequency == 0 { 0.125_f64 } else { 0.25 }.sqrt();
                *wave = (weight * (angle * std::f64::consts::PI).cos()) as f32;
            }
        }
        Self { waves }
    }

    /// The samples of a block, row by row; beyond `size` they mean nothing.
    #[inline(always)]
    pub fn samples(
        &self,
        coefficients: &[i16; 64],
        quant: &[i32; 64],
        size: usize,
    ) -> [[u8; 4]; 4] {
        let mut columns = [[0.0_f32; 4]; 4];
        for (y, row) in columns.iter_mut().enumerate().take(size) {
            for frequency in 0..size {
                for (x, value) in row.iter_mut().enumerate().take(size) {
                    let place = frequency * 8 + x;
                    let coefficient = i32::from(coefficients[place]).wrapping_mul(quant[place]);
                    *value += self.waves[y][frequency] * coefficient as f32;
                }
            }
        }
        let mut samples = [[0; 4]; 4];
        for (samples, row) in samples.iter_mut().zip(columns) {
            for (sample, waves) in samples.iter_mut().zip(&self.waves) {
                let mut value = 128.5;
                for frequency in 0..size {
                    value += row[frequency] * waves[frequency];
                }
                *sample = value as u8;
            }
        }
        samples
    }
}
