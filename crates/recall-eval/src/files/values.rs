//! Numbers as they lie in files.

use half::bf16;
use npyz::TypeChar;
use safetensors::Dtype;

use super::source::Source;
use crate::EvalError;
use crate::kernel::Kernel;

/// How a float lies in a file.
#[derive(Clone, Copy)]
pub(super) enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Float {
    pub fn of_npy(kind: TypeChar, bytes: u64) -> Option<Self> {
        match (kind, bytes) {
            (TypeChar::Float, 2) => Some(Self::F16),
            (TypeChar::Float, 4) => Some(Self::F32),
            (TypeChar::Float, 8) => Some(Self::F64),
            _ => None,
        }
    }

    pub fn of_tensor(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            Dtype::F32 => Some(Self::F32),
            Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Brings as many values to f32 as `out` has room for.
    pub fn decode(self, bytes: &[u8], big_endian: bool, out: &mut [f32]) {
        match self {
            Self::F16 => halves(out, bytes, big_endian),
            Self::Bf16 => fill(out, words(bytes, big_endian), |word| {
                bf16::from_le_bytes(word).to_f32()
            }),
            Self::F32 => fill(out, words(bytes, big_endian), f32::from_le_bytes),
            Self::F64 => fill(out, words(bytes, big_endian), |word| {
                f64::from_le_bytes(word) as f32
            }),
        }
    }
}

#[inline(always)]
fn fill<const N: usize>(
    out: &mut [f32],
    words: impl Iterator<Item = [u8; N]>,
    value: impl Fn([u8; N]) -> f32,
) {
    for (out, word) in out.iter_mut().zip(words) {
        *out = value(word);
    }
}

/// Compiled for the processor, so that it takes several at a time.
fn halves(out: &mut [f32], bytes: &[u8], big_endian: bool) {
    Kernel::detect().run(
        #[inline(always)]
        || match big_endian {
            true => fill(out, words(bytes, true), |word| {
                single(u16::from_le_bytes(word))
            }),
            false => fill(out, words(bytes, false), |word| {
                single(u16::from_le_bytes(word))
            }),
        },
    );
}

/// An f16 as f32, without branches.
#[inline(always)]
fn single(half: u16) -> f32 {
    const SMALLEST: u32 = 113 << 23; // 2^-14, the smallest normal f16
    let magnitude = (u32::from(half) & 0x7fff) << 13;
    let normal = magnitude + (112 << 23);
    // Below, the mantissa counts in units of 2^-24: it is put under a leading one, which is taken away again.
    let subnormal = f32::from_bits(magnitude + SMALLEST) - f32::from_bits(SMALLEST);
    let bits = if magnitude < 1 << 23 {
        subnormal.to_bits()
    } else {
        normal
    };
    let special = if magnitude < 31 << 23 { 0 } else { 0x7f80_0000 };
    f32::from_bits(bits | special | (u32::from(half) & 0x8000) << 16)
}

/// How an integer lies in a file.
#[derive(Clone, Copy)]
pub(super) struct Int {
    bytes: usize,
    signed: bool,
}

impl Int {
    pub fn of_npy(kind: TypeChar, bytes: u64) -> Option<Self> {
        let signed = match kind {
            TypeChar::Int => true,
            TypeChar::Uint => false,
            _ => return None,
        };
        matches!(bytes, 1 | 2 | 4 | 8).then_some(Self {
            bytes: bytes as usize,
            signed,
        })
    }

    pub fn of_tensor(dtype: Dtype) -> Option<Self> {
        let (bytes, signed) = match dtype {
            Dtype::I8 => (1, true),
            Dtype::U8 => (1, false),
            Dtype::I16 => (2, true),
            Dtype::U16 => (2, false),
            Dtype::I32 => (4, true),
            Dtype::U32 => (4, false),
            Dtype::I64 => (8, true),
            Dtype::U64 => (8, false),
            _ => return None,
        };
        Some(Self { bytes, signed })
    }

    /// Reads `count` values, the first of which starts at byte `start`; `None` if one does not fit.
    pub fn read(
        self,
        source: &Source,
        start: u64,
        count: usize,
        big_endian: bool,
    ) -> Result<Option<Vec<i64>>, EvalError> {
        let mut values = Vec::with_capacity(count);
        let mut fit = true;
        source.pieces(start, count * self.bytes, |bytes| {
            fit &= self.decode(bytes, big_endian, &mut values);
        })?;
        Ok(fit.then_some(values))
    }

    /// Whether all values fit.
    fn decode(self, bytes: &[u8], big_endian: bool, out: &mut Vec<i64>) -> bool {
        match (self.bytes, self.signed) {
            (1, true) => out.extend(
                words(bytes, big_endian)
                    .map(i8::from_le_bytes)
                    .map(i64::from),
            ),
            (1, false) => {
                out.extend(
                    words(bytes, big_endian)
                        .map(u8::from_le_bytes)
                        .map(i64::from),
                );
            }
            (2, true) => {
                out.extend(
                    words(bytes, big_endian)
                        .map(i16::from_le_bytes)
                        .map(i64::from),
                );
            }
            (2, false) => {
                out.extend(
                    words(bytes, big_endian)
                        .map(u16::from_le_bytes)
                        .map(i64::from),
                );
            }
            (4, true) => {
                out.extend(
                    words(bytes, big_endian)
                        .map(i32::from_le_bytes)
                        .map(i64::from),
                );
            }
            (4, false) => {
                out.extend(
                    words(bytes, big_endian)
                        .map(u32::from_le_bytes)
                        .map(i64::from),
                );
            }
            (_, true) => out.extend(words(bytes, big_endian).map(i64::from_le_bytes)),
            (_, false) => {
                for value in words(bytes, big_endian).map(u64::from_le_bytes) {
                    let Ok(value) = i64::try_from(value) else {
                        return false;
                    };
                    out.push(value);
                }
            }
        }
        true
    }
}

/// The values of `N` bytes each, as little-endian words.
#[inline(always)]
fn words<const N: usize>(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().map(move |&(mut word)| {
        if big_endian {
            word.reverse();
        }
        word
    })
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_half() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        for big_endian in [false, true] {
            let bytes = |half: &u16| match big_endian {
                true => half.to_be_bytes(),
                false => half.to_le_bytes(),
            };
            let bytes: Vec<u8> = halves.iter().flat_map(bytes).collect();
            let mut values = vec![0.0; halves.len()];
            Float::F16.decode(&bytes, big_endian, &mut values);
            for (&half, value) in halves.iter().zip(values) {
                let want = f16::from_bits(half).to_f32();
                let same = value.to_bits() == want.to_bits() || value.is_nan() && want.is_nan();
                assert!(same, "{half:#x}: {value} is not {want}");
            }
        }
    }
}
