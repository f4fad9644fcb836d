//! The numbers of a tensor, where they lie in a file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use half::{bf16, f16};

/// What a file is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    PyTorch,
}

/// A tensor of a file; its numbers are read when they are asked for.
pub(super) struct Stored {
    pub shape: Vec<usize>,
    /// Where the file has it: the keys of nested dictionaries, and its own name at the end.
    pub path: Vec<String>,
    /// Or what there is in their place.
    pub numbers: Result<Numbers, String>,
}

impl Stored {
    /// The same beneath so many more axes of length 1.
    pub fn beneath(mut self, axes: usize) -> Self {
        self.shape.splice(..0, vec![1; axes]);
        if let Ok(numbers) = &mut self.numbers {
            // Never stepped along.
            numbers.strides.splice(..0, vec![0; axes]);
        }
        self
    }
}

/// How floating-point numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Float {
    /// The bytes of one number.
    pub fn size(self) -> u64 {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Bytes in a file that tensors share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub start: u64,
    pub bytes: u64,
    /// What the bytes have to add up to.
    pub crc: Option<u32>,
    pub big_endian: bool,
}

/// Numbers of a place, at steps of their own along each axis.
#[derive(Debug)]
pub(super) struct Numbers {
    place: Place,
    float: Float,
    first: u64,
    strides: Vec<usize>,
    /// How many numbers of the place there are from the first to the last.
    reach: u64,
}

impl Numbers {
    /// Numbers of `place` from `first` on; `strides` are in numbers.
    pub fn new(
        place: Place,
        float: Float,
        first: u64,
        shape: &[usize],
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        let reach = reach(shape, &strides);
        let end = reach.and_then(|reach| reach.checked_add(first)?.checked_mul(float.size()));
        match (reach, end) {
            (Some(reach), Some(end)) if end <= place.bytes || reach == 0 => Ok(Self {
                place,
                float,
                first,
                strides,
                reach,
            }),
            _ => Err("reaches beyond the numbers that the file has of it".into()),
        }
    }

    /// All of `place`, row by row.
    pub fn in_order(place: Place, float: Float, shape: &[usize]) -> Result<Self, String> {
        let mut strides = vec![1_usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
        }
        Self::new(place, float, 0, shape, strides)
    }
}

/// How many numbers there are from the first to the last; `None` if they cannot be counted.
fn reach(shape: &[usize], strides: &[usize]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let steps = shape.iter().zip(strides);
    steps
        .into_iter()
        .try_fold(1_u64, |reach, (&size, &stride)| {
            let step = (size as u64 - 1).checked_mul(stride as u64)?;
            reach.checked_add(step)
        })
}

/// A file that tensors are read from, one at a time.
pub(super) struct Source {
    file: File,
    /// The places whose bytes are known to be right.
    right: HashSet<Place>,
}

impl Source {
    pub fn new(file: File) -> Self {
        Self {
            file,
            right: HashSet::new(),
        }
    }

    /// The numbers in single precision, row by row. The caller has made sure that so many are wanted.
    pub fn read(&mut self, stored: &Stored) -> Result<Vec<f32>, String> {
        let numbers = stored.numbers.as_ref().map_err(Clone::clone)?;
        if numbers.reach == 0 {
            return Ok(Vec::new());
        }
        let size = numbers.float.size();
        let place = &numbers.place;
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "is cut short: get the file again".to_owned(),
            _ => format!("cannot be read ({error})"),
        };
        // What the file has was compared with what is wanted before: the memory is that of the file.
        let mut bytes = vec![0; (numbers.reach * size) as usize];
        self.file
            .seek(SeekFrom::Start(place.start + numbers.first * size))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(io)?;
        if let Some(expected) = place.crc
            && !self.right.contains(place)
        {
            let found = match bytes.len() as u64 == place.bytes {
                true => crc32fast::hash(&bytes),
                false => self.checksum(place).map_err(io)?,
            };
            if found != expected {
                return Err(
                    "is damaged: its checksum is another one; get the file again, or save it again \
                     if `torch.serialization.set_crc32_options(False)` was called"
                        .into(),
                );
            }
            self.right.insert(place.clone());
        }
        let (shape, strides) = (&stored.shape[..], &numbers.strides[..]);
        let big = place.big_endian;
        Ok(match numbers.float {
            Float::F16 => gather(&bytes, shape, strides, big, |two| {
                f16::from_le_bytes(two).to_f32()
            }),
            Float::Bf16 => gather(&bytes, shape, strides, big, |two| {
                bf16::from_le_bytes(two).to_f32()
            }),
            Float::F32 => gather(&bytes, shape, strides, big, f32::from_le_bytes),
            Float::F64 => gather(&bytes, shape, strides, big, |eight| {
                f64::from_le_bytes(eight) as f32
            }),
        })
    }

    fn checksum(&mut self, place: &Place) -> io::Result<u32> {
        self.file.seek(SeekFrom::Start(place.start))?;
        let mut hasher = crc32fast::Hasher::new();
        let mut rest = (&mut self.file).take(place.bytes);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match rest.read(&mut buffer)? {
                0 => return Ok(hasher.finalize()),
                count => hasher.update(&buffer[..count]),
            }
        }
    }
}

/// The numbers of a tensor without an axis of length 0, the last axis fastest.
fn gather<const N: usize>(
    bytes: &[u8],
    shape: &[usize],
    strides: &[usize],
    big_endian: bool,
    decode: impl Fn([u8; N]) -> f32,
) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<N>();
    let number = |at: usize| {
        let mut bytes = numbers[at];
        if big_endian {
            bytes.reverse();
        }
        decode(bytes)
    };
    let (Some((&row, outer)), Some((&step, steps))) = (shape.split_last(), strides.split_last())
    else {
        return vec![number(0)];
    };
    let mut values = Vec::with_capacity(shape.iter().product());
    let mut index = vec![0; outer.len()];
    let mut start = 0;
    loop {
        values.extend((0..row).map(|column| number(start + column * step)));
        let Some(axis) = (0..outer.len())
            .rev()
            .find(|&axis| index[axis] + 1 < outer[axis])
        else {
            return values;
        };
        index[axis] += 1;
        start += steps[axis];
        for later in axis + 1..outer.len() {
            start -= index[later] * steps[later];
            index[later] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(shape: &[usize], strides: &[usize]) -> Vec<f32> {
        let bytes: Vec<u8> = (0..24).flat_map(|i| (i as f32).to_le_bytes()).collect();
        gather(&bytes, shape, strides, false, f32::from_le_bytes)
    }

    #[test]
    fn steps_of_any_kind_are_followed() {
        assert_eq!(seen(&[2, 3], &[3, 1]), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(seen(&[2, 3], &[1, 2]), [0., 2., 4., 1., 3., 5.]);
        assert_eq!(seen(&[2, 2], &[0, 1]), [0., 1., 0., 1.]);
        assert_eq!(seen(&[3], &[5]), [0., 5., 10.]);
        assert_eq!(seen(&[], &[]), [0.]);
        let channels_last = seen(&[1, 3, 2, 2], &[12, 1, 6, 3]);
        assert_eq!(
            channels_last,
            [0., 3., 6., 9., 1., 4., 7., 10., 2., 5., 8., 11.]
        );
        assert_eq!(seen(&[2, 3, 4], &[12, 4, 1]).len(), 24);
    }

    #[test]
    fn what_reaches_beyond_its_place_is_refused() {
        let place = |bytes| Place {
            start: 0,
            bytes,
            crc: None,
            big_endian: false,
        };
        let numbers = |bytes, first, shape: &[usize], strides: &[usize]| {
            Numbers::new(place(bytes), Float::F32, first, shape, strides.to_vec())
        };
        assert!(numbers(24, 0, &[2, 3], &[3, 1]).is_ok());
        assert!(numbers(23, 0, &[2, 3], &[3, 1]).is_err());
        assert!(numbers(24, 1, &[2, 3], &[3, 1]).is_err());
        assert!(numbers(4, 0, &[1 << 40, 1 << 40], &[0, 0]).is_ok());
        assert!(numbers(0, 0, &[0, 7], &[7, 1]).is_ok());
        for huge in [usize::MAX, usize::MAX / 2] {
            assert!(numbers(24, 0, &[huge, 3], &[huge, 1]).is_err());
            assert!(numbers(24, huge as u64, &[1], &[1]).is_err());
        }
    }
}
