//! The format of numpy.

use std::io::{self, BufReader, Read};
use std::path::Path;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, WriterBuilder};

use super::on_disk::Filed;
use super::refusal::{label_too_large, refuse, shape_text};
use super::replace::replace;
use super::source::Source;
use super::values::{Float, Int};
use crate::EvalError;

const NPY_MAGIC: &[u8] = b"\x93NUMPY";

/// An `.npy` file whose header is read and agrees with its length.
pub(super) struct Npy<'s> {
    source: &'s Source,
    /// The first byte after the header.
    start: u64,
    /// As numpy writes it: `<f4`.
    type_name: String,
    kind: TypeChar,
    item_bytes: u64,
    big_endian: bool,
    shape: Vec<usize>,
    fortran: bool,
}

impl<'s> Npy<'s> {
    /// `of_objects` is the way out for an array of Python objects.
    pub fn open(source: &'s Source, of_objects: &str) -> Result<Self, EvalError> {
        let path = source.path();
        let mut file = BufReader::new(source.file());
        let header = read_npy_header(&mut file).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => refuse(
                path,
                "the file ends within its header",
                "it is incomplete: copy or save it again",
            ),
            io::ErrorKind::InvalidData => refuse(
                path,
                format!("this is no array in .npy format ({error})"),
                "save it again with numpy.save",
            ),
            _ => source.fault(error),
        })?;
        let start = header.len() as u64;
        let header = NpyHeader::from_reader(header.as_slice()).map_err(|error| {
            refuse(
                path,
                format!("its header cannot be understood ({error})"),
                "save it again with numpy.save",
            )
        })?;

        let DType::Plain(dtype) = header.dtype() else {
            return Err(refuse(
                path,
                "its values are records of several fields",
                "save one plain array of numbers",
            ));
        };
        let kind = dtype.type_char();
        if kind == TypeChar::Object {
            return Err(refuse(path, "its values are Python objects", of_objects));
        }
        let item_bytes = dtype.num_bytes().unwrap_or(0) as u64;
        let values = header
            .shape()
            .iter()
            .try_fold(1u64, |product, &n| product.checked_mul(n));
        let expected = values.and_then(|values| values.checked_mul(item_bytes));
        let found = source.length().saturating_sub(start);
        if expected != Some(found) {
            let expected = expected.map_or("more".into(), |bytes| bytes.to_string());
            return Err(refuse(
                path,
                format!("its header announces {expected} bytes of data, but {found} follow"),
                "the file is damaged or incomplete: copy or save it again",
            ));
        }
        Ok(Self {
            source,
            start,
            type_name: dtype.to_string(),
            kind,
            item_bytes,
            big_endian: dtype.endianness() == Endianness::Big,
            // No larger than the file, unless another axis is 0.
            shape: header
                .shape()
                .iter()
                .map(|&n| n.try_into().unwrap_or(usize::MAX))
                .collect(),
            fortran: header.order() == Order::Fortran,
        })
    }

    /// Whether values lie column by column.
    pub fn is_fortran(&self) -> bool {
        self.fortran
    }

    /// The number of rows and of columns, and where their values lie.
    pub fn embeddings(&self) -> Result<([usize; 2], Filed), EvalError> {
        let Some(float) = Float::of_npy(self.kind, self.item_bytes) else {
            return Err(refuse(
                self.source.path(),
                format!(
                    "embeddings are floats, and its values are of type {}",
                    self.type_name
                ),
                match self.shape.len() {
                    1 => "these look like labels: were the two files swapped?",
                    _ => "save array.astype(\"float32\")",
                },
            ));
        };
        let [rows, dim] = self.shape[..] else {
            return Err(refuse(
                self.source.path(),
                format!(
                    "embeddings have two axes, and its shape is {}",
                    shape_text(&self.shape)
                ),
                "save one row for each item, as with array.reshape(len(array), -1)",
            ));
        };
        let filed = Filed {
            start: self.start,
            float,
            big_endian: self.big_endian,
        };
        Ok(([rows, dim], filed))
    }

    pub fn labels(&self) -> Result<Vec<i64>, EvalError> {
        let Some(int) = Int::of_npy(self.kind, self.item_bytes) else {
            let way_out = match self.kind {
                TypeChar::ByteStr | TypeChar::UnicodeStr => {
                    "number the names, as with numpy.unique(labels, return_inverse=True)[1]"
                }
                _ if self.shape.len() == 2 => {
                    "these look like embeddings: were the two files swapped?"
                }
                _ => "save labels.astype(\"int64\")",
            };
            return Err(refuse(
                self.source.path(),
                format!(
                    "labels are integers, and its values are of type {}",
                    self.type_name
                ),
                way_out,
            ));
        };
        let [count] = self.shape[..] else {
            return Err(refuse(
                self.source.path(),
                format!(
                    "labels have one axis, and its shape is {}",
                    shape_text(&self.shape)
                ),
                "save one label for each item, as with labels.ravel()",
            ));
        };
        let labels = int.read(self.source, self.start, count, self.big_endian)?;
        labels.ok_or_else(|| label_too_large(self.source.path()))
    }
}

/// Reads the bytes of an `.npy` header, and refuses those that its parser should not see.
///
/// A header is a Python dictionary in text, such as `{'descr': '<f4', 'fortran_order': False,
/// 'shape': (3, 4), }`. The parser takes any Python literal: it recurses into brackets, trusts the
/// length, and multiplies the axes unchecked. The header of a plain array has one pair of brackets
/// within another, and few digits.
fn read_npy_header(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let invalid = |problem: &str| Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    let mut header = vec![0; 8];
    file.read_exact(&mut header)?;
    if !header.starts_with(NPY_MAGIC) {
        return invalid("it does not start as one");
    }
    let size_bytes = match header[6] {
        1 => 2,
        2 | 3 => 4,
        _ => return invalid("of a version that is not known"),
    };
    let mut size = [0; 4];
    file.read_exact(&mut size[..size_bytes])?;
    header.extend(&size[..size_bytes]);
    let size = u32::from_le_bytes(size) as usize;
    if size > 1 << 16 {
        return invalid("its header is too long");
    }
    let text_start = header.len();
    header.resize(text_start + size, 0);
    file.read_exact(&mut header[text_start..])?;

    let (mut depth, mut digits, mut before) = (0i32, 0, b' ');
    for &byte in &header[text_start..] {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'0'..=b'9' => digits += 1,
            // Numbers in another notation than decimal digits.
            b'a'..=b'z' | b'A'..=b'Z' | b'_' if before.is_ascii_digit() => {
                return invalid("its header is not that of a plain array");
            }
            _ => {}
        }
        // A product of numbers with 19 digits in all fits in 64 bits.
        if depth > 4 || digits > 19 {
            return invalid("its header is not that of a plain array");
        }
        before = byte;
    }
    Ok(header)
}

pub(super) fn write_npy<T>(
    path: &Path,
    shape: &[usize],
    values: impl Iterator<Item = T>,
) -> Result<(), EvalError>
where
    T: npyz::Serialize + npyz::AutoSerialize,
{
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    replace(path, |file| {
        let options = npyz::WriteOptions::<T>::new()
            .default_dtype()
            .shape(&shape)
            .writer(file);
        let mut writer = options.begin_nd()?;
        writer.extend(values)?;
        writer.finish()
    })
}
