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

/// Eight numbers that go through the same arithmetic: what the compiler makes a vector of.
#[derive(Clone, Copy)]
struct Eight([i32; 8]);

impl Eight {
    #[inline(always)]
    fn each(self, other: Self, op: impl Fn(i32, i32) -> i32) -> Self {
        let mut result = [0; 8];
        for lane in 0..8 {
            result[lane] = op(self.0[lane], other.0[lane]);
        }
        Self(result)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // Damaged files may hold any number.
        self.each(other, i32::wrapping_add)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.each(other, i32::wrapping_sub)
    }

    #[inline(always)]
    fn times(self, factor: i32) -> Self {
        self.each(self, |value, _| value.wrapping_mul(factor))
    }

    #[inline(always)]
    fn shifted(self, bits: u32) -> Self {
        self.each(self, |value, _| value.wrapping_shl(bits))
    }

    /// Divided by a power of two and rounded.
    #[inline(always)]
    fn rounded(self, bits: u32) -> Self {
        self.each(self, |value, _| value.wrapping_add(1 << (bits - 1)) >> bits)
    }
}

/// One-dimensional transforms of eight columns (or rows) at once.
#[inline(always)]
fn transform(input: [Eight; 8], drop: u32) -> [Eight; 8] {
    let [x0, x1, x2, x3, x4, x5, x6, x7] = input;
    // The even half: a rotation by 3π/8 and two butterflies.
    let common = x2.plus(x6).times(fixed(0.541_196_100));
    let low = common.plus(x6.times(-fixed(1.847_759_065)));
    let high = common.plus(x2.times(fixed(0.765_366_865)));
    let sum = x0.plus(x4).shifted(BITS);
    let difference = x0.minus(x4).shifted(BITS);
    let even = [
        sum.plus(high),
        difference.plus(low),
        difference.minus(low),
        sum.minus(high),
    ];

    // The odd half.
    let (a, b, c, d) = (x7.plus(x1), x5.plus(x3), x7.plus(x3), x5.plus(x1));
    let common = c.plus(d).times(fixed(1.175_875_602));
    let a = a.times(-fixed(0.899_976_223));
    let b = b.times(-fixed(2.562_915_447));
    let c = c.times(-fixed(1.961_570_560)).plus(common);
    let d = d.times(-fixed(0.390_180_644)).plus(common);
    let odd = [
        x1.times(fixed(1.501_321_110)).plus(a).plus(d),
        x3.times(fixed(3.072_711_026)).plus(b).plus(c),
        x5.times(fixed(2.053_119_869)).plus(b).plus(d),
        x7.times(fixed(0.298_631_336)).plus(a).plus(c),
    ];
    [
        even[0].plus(odd[0]).rounded(drop),
        even[1].plus(odd[1]).rounded(drop),
        even[2].plus(odd[2]).rounded(drop),
        even[3].plus(odd[3]).rounded(drop),
        even[3].minus(odd[3]).rounded(drop),
        even[2].minus(odd[2]).rounded(drop),
        even[1].minus(odd[1]).rounded(drop),
        even[0].minus(odd[0]).rounded(drop),
    ]
}

#[inline(always)]
fn transposed(rows: [Eight; 8]) -> [Eight; 8] {
    let mut columns = [Eight([0; 8]); 8];
    for (row, values) in rows.iter().enumerate() {
        for (column, value) in values.0.iter().enumerate() {
            columns[column].0[row] = *value;
        }
    }
    columns
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
    let mut rows = [Eight([0; 8]); 8];
    for row in 0..8 {
        for column in 0..8 {
            let place = row * 8 + column;
            rows[row].0[column] = i32::from(coefficients[place]).wrapping_mul(quant[place]);
        }
    }
    let columns = transposed(transform(rows, BITS - KEPT));
    let rows = transposed(transform(columns, BITS + KEPT + 3));
    // Loops, as the closures of `map` on arrays are not always inlined, and are slow when not.
    let mut samples = [[0; 8]; 8];
    for (samples, row) in samples.iter_mut().zip(rows) {
        for (sample, value) in samples.iter_mut().zip(row.0) {
            *sample = to_sample(value);
        }
    }
    samples
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
