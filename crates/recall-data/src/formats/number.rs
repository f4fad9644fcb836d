/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Number {
    /// Its bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// All numbers in `bytes`. 64-bit ones lose what does not fit into a float: nothing in lists of
    /// images is as large.
    pub(super) fn decode(self, bytes: &[u8], big_endian: bool) -> Vec<f64> {
        let big = big_endian;
        match self {
            Self::I8 => each(bytes, big, |bytes| f64::from(i8::from_le_bytes(bytes))),
            Self::U8 => each(bytes, big, |bytes| f64::from(u8::from_le_bytes(bytes))),
            Self::I16 => each(bytes, big, |bytes| f64::from(i16::from_le_bytes(bytes))),
            Self::U16 => each(bytes, big, |bytes| f64::from(u16::from_le_bytes(bytes))),
            Self::I32 => each(bytes, big, |bytes| f64::from(i32::from_le_bytes(bytes))),
            Self::U32 => each(bytes, big, |bytes| f64::from(u32::from_le_bytes(bytes))),
            Self::I64 => each(bytes, big, |bytes| i64::from_le_bytes(bytes) as f64),
            Self::U64 => each(bytes, big, |bytes| u64::from_le_bytes(bytes) as f64),
            Self::F32 => each(bytes, big, |bytes| f64::from(f32::from_le_bytes(bytes))),
            Self::F64 => each(bytes, big, f64::from_le_bytes),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], big: bool, decode: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (numbers, _) = bytes.as_chunks::<N>();
    numbers
        .iter()
        .map(|&(mut number)| {
            if big {
                number.reverse();
            }
            decode(number)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_in_both_byte_orders() {
        use Number::*;
        let cases: [(Number, Vec<u8>, f64); 10] = [
            (I8, (-5_i8).to_le_bytes().into(), -5.),
            (U8, 200_u8.to_le_bytes().into(), 200.),
            (I16, (-300_i16).to_le_bytes().into(), -300.),
            (U16, 60_000_u16.to_le_bytes().into(), 60_000.),
            (I32, (-70_000_i32).to_le_bytes().into(), -70_000.),
            (U32, 4_000_000_000_u32.to_le_bytes().into(), 4e9),
            (I64, (-5_000_000_000_i64).to_le_bytes().into(), -5e9),
            (U64, (1_u64 << 63).to_le_bytes().into(), 2_f64.powi(63)),
            (F32, 1.5_f32.to_le_bytes().into(), 1.5),
            (F64, (-0.1_f64).to_le_bytes().into(), -0.1),
        ];
        for (number, mut bytes, value) in cases {
            assert_eq!(number.size(), bytes.len());
            assert_eq!(number.decode(&bytes, false), [value], "{number:?}");
            bytes.reverse();
            assert_eq!(number.decode(&bytes, true), [value], "{number:?}");
        }
    }
}
