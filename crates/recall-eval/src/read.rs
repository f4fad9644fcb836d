//! Embeddings and labels in files of other programs.
//!
//! | file | embeddings | labels |
//! |---|---|---|
//! | `.npy` | two axes; f16, f32 or f64; C or Fortran order; either byte order | one axis; integers of any width |
//! | `.safetensors` | tensor `embeddings`, or the only one of floats with two axes; F16, BF16, F32 or F64 | tensor `labels`, or the only one of integers with one axis |
//!
//! One `.safetensors` file can hold both. Everything is brought to f32 and i64.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, WriterBuilder};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::{Embeddings, EvalError};

const NPY_MAGIC: &[u8] = b"\x93NUMPY";

impl Embeddings {
    /// Reads the embeddings of an `.npy` or `.safetensors` file (see [the module](crate::read) for
    /// what it may hold).
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, holds something else, or holds values that
    /// [`Embeddings::new`] refuses. Every message names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let (data, dim) = match Format::of(path, "embeddings")? {
            Format::Npy => Npy::open(path)?.embeddings()?,
            Format::SafeTensors => with_tensor(path, &EMBEDDINGS, |tensor| {
                let dim = tensor.shape()[1];
                let mut data = Vec::with_capacity(tensor.shape()[0] * dim);
                if let Some(float) = Float::of_tensor(tensor.dtype()) {
                    float.decode(tensor.data(), false, &mut data);
                }
                Ok((data, dim))
            })?,
        };
        let at_fault = |source| EvalError::Content {
            path: path.into(),
            source: Box::new(source),
        };
        Self::new(data, dim).map_err(at_fault)
    }

    /// Writes the embeddings as f32 to an `.npy` or, as the tensor `embeddings`, to a
    /// `.safetensors` file.
    ///
    /// A file of that name is replaced, and only once the new one is complete.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or if its extension is another.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        let path = path.as_ref();
        match Format::of(path, "embeddings")? {
            Format::Npy => write_npy(
                path,
                &[self.rows(), self.dim()],
                self.as_slice().iter().copied(),
            ),
            Format::SafeTensors => write_tensors(path, Some(self), None),
        }
    }

    /// Writes the embeddings and their labels to one `.safetensors` file, as the tensors
    /// `embeddings` (F32) and `labels` (I64). An `.npy` file holds one array: use
    /// [`save`](Self::save) and [`save_labels`] for two of them.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row, if the file cannot be written, or if its extension
    /// is another.
    pub fn save_with_labels(
        &self,
        path: impl AsRef<Path>,
        labels: &[i64],
    ) -> Result<(), EvalError> {
        let path = path.as_ref();
        if labels.len() != self.rows() {
            return Err(EvalError::LabelCount {
                what: "embeddings",
                labels: labels.len(),
                rows: self.rows(),
            });
        }
        match Format::of(path, "embeddings and labels")? {
            Format::Npy => Err(refuse(
                path,
                "an .npy file holds one array, not embeddings and labels",
                "save to a .safetensors file, or labels and embeddings to a file each",
            )),
            Format::SafeTensors => write_tensors(path, Some(self), Some(labels)),
        }
    }
}

/// Reads the labels of an `.npy` or `.safetensors` file (see [the module](crate::read) for what it
/// may hold).
///
/// # Errors
///
/// If the file cannot be read, is damaged, is empty, holds something else, or a label above
/// `i64::MAX`. Every message names the file.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<i64>, EvalError> {
    let path = path.as_ref();
    let labels = match Format::of(path, "labels")? {
        Format::Npy => Npy::open(path)?.labels(),
        Format::SafeTensors => with_tensor(path, &LABELS, |tensor| {
            let mut labels = Vec::with_capacity(tensor.shape()[0]);
            match Int::of_tensor(tensor.dtype()) {
                Some(int) if !int.decode(tensor.data(), false, &mut labels) => {
                    Err(label_too_large(path))
                }
                _ => Ok(labels),
            }
        }),
    }?;
    if labels.is_empty() {
        return Err(refuse(
            path,
            "it holds no label",
            "save one label for each item",
        ));
    }
    Ok(labels)
}

/// Writes labels as 64-bit integers to an `.npy` or, as the tensor `labels`, to a `.safetensors`
/// file.
///
/// A file of that name is replaced, and only once the new one is complete.
///
/// # Errors
///
/// If the file cannot be written, or if its extension is another.
pub fn save_labels(path: impl AsRef<Path>, labels: &[i64]) -> Result<(), EvalError> {
    let path = path.as_ref();
    match Format::of(path, "labels")? {
        Format::Npy => write_npy(path, &[labels.len()], labels.iter().copied()),
        Format::SafeTensors => write_tensors(path, None, Some(labels)),
    }
}

enum Format {
    Npy,
    SafeTensors,
}

impl Format {
    fn of(path: &Path, what: &str) -> Result<Self, EvalError> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("");
        let way_out = match extension.to_ascii_lowercase().as_str() {
            "npy" => return Ok(Self::Npy),
            "safetensors" => return Ok(Self::SafeTensors),
            "npz" => {
                "take the array out of it with numpy.save(\"array.npy\", numpy.load(FILE)[NAME])"
            }
            "pt" | "pth" => {
                "bring the tensor there with numpy.save(\"array.npy\", tensor.float().cpu().numpy())"
            }
            "csv" | "txt" | "tsv" => {
                "bring it there with numpy.save(\"array.npy\", numpy.loadtxt(FILE, ...))"
            }
            _ => "use one of these extensions",
        };
        Err(refuse(
            path,
            format!("{what} are kept in .npy or .safetensors files"),
            way_out,
        ))
    }
}

/// How a float lies in a file.
#[derive(Clone, Copy)]
enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Float {
    fn of_npy(kind: TypeChar, bytes: u64) -> Option<Self> {
        match (kind, bytes) {
            (TypeChar::Float, 2) => Some(Self::F16),
            (TypeChar::Float, 4) => Some(Self::F32),
            (TypeChar::Float, 8) => Some(Self::F64),
            _ => None,
        }
    }

    fn of_tensor(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            Dtype::F32 => Some(Self::F32),
            Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn decode(self, bytes: &[u8], big_endian: bool, out: &mut Vec<f32>) {
        match self {
            Self::F16 => {
                out.extend(words(bytes, big_endian).map(|word| f16::from_le_bytes(word).to_f32()));
            }
            Self::Bf16 => {
                out.extend(words(bytes, big_endian).map(|word| bf16::from_le_bytes(word).to_f32()));
            }
            Self::F32 => out.extend(words(bytes, big_endian).map(f32::from_le_bytes)),
            Self::F64 => {
                out.extend(words(bytes, big_endian).map(|word| f64::from_le_bytes(word) as f32));
            }
        }
    }
}

/// How an integer lies in a file.
#[derive(Clone, Copy)]
struct Int {
    bytes: usize,
    signed: bool,
}

impl Int {
    fn of_npy(kind: TypeChar, bytes: u64) -> Option<Self> {
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

    fn of_tensor(dtype: Dtype) -> Option<Self> {
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
fn words<const N: usize>(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().map(move |&(mut word)| {
        if big_endian {
            word.reverse();
        }
        word
    })
}

/// An `.npy` file whose header is read and agrees with its length.
struct Npy<'p> {
    path: &'p Path,
    file: BufReader<File>,
    /// As numpy writes it: `<f4`.
    type_name: String,
    kind: TypeChar,
    item_bytes: u64,
    big_endian: bool,
    shape: Vec<usize>,
    fortran: bool,
}

impl<'p> Npy<'p> {
    fn open(path: &'p Path) -> Result<Self, EvalError> {
        let io_error = |source| EvalError::Io {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len();
        let mut file = BufReader::new(file);

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
            _ => io_error(error),
        })?;
        let header_bytes = header.len() as u64;
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
            return Err(refuse(
                path,
                "its values are Python objects",
                "bring them to numbers first, as with array.astype(\"float32\")",
            ));
        }
        let item_bytes = dtype.num_bytes().unwrap_or(0) as u64;
        let values = header
            .shape()
            .iter()
            .try_fold(1u64, |product, &n| product.checked_mul(n));
        let expected = values.and_then(|values| values.checked_mul(item_bytes));
        let found = length.saturating_sub(header_bytes);
        if expected != Some(found) {
            let expected = expected.map_or("more".into(), |bytes| bytes.to_string());
            return Err(refuse(
                path,
                format!("its header announces {expected} bytes of data, but {found} follow"),
                "the file is damaged or incomplete: copy or save it again",
            ));
        }
        Ok(Self {
            path,
            file,
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

    /// Values `[rows, dim]` row-major, and `dim`.
    fn embeddings(mut self) -> Result<(Vec<f32>, usize), EvalError> {
        let Some(float) = Float::of_npy(self.kind, self.item_bytes) else {
            return Err(refuse(
                self.path,
                format!(
                    "embeddings are floats, and its values are of type {}",
                    self.type_name
                ),
                "save array.astype(\"float32\")",
            ));
        };
        let [rows, dim] = self.shape[..] else {
            return Err(refuse(
                self.path,
                format!(
                    "embeddings have two axes, and its shape is {}",
                    shape_text(&self.shape)
                ),
                "save one row for each item, as with array.reshape(len(array), -1)",
            ));
        };
        let mut data = Vec::new();
        if rows > 0 && dim > 0 {
            data.reserve_exact(rows * dim);
            let big_endian = self.big_endian;
            self.read(rows * dim * float.bytes(), |bytes| {
                float.decode(bytes, big_endian, &mut data);
            })?;
        }
        if self.fortran && !data.is_empty() {
            let columns = &data;
            data = (0..rows)
                .flat_map(|row| (0..dim).map(move |column| columns[column * rows + row]))
                .collect();
        }
        Ok((data, dim))
    }

    fn labels(mut self) -> Result<Vec<i64>, EvalError> {
        let Some(int) = Int::of_npy(self.kind, self.item_bytes) else {
            let way_out = match self.kind {
                TypeChar::ByteStr | TypeChar::UnicodeStr => {
                    "number the names, as with numpy.unique(labels, return_inverse=True)[1]"
                }
                _ => "save labels.astype(\"int64\")",
            };
            return Err(refuse(
                self.path,
                format!(
                    "labels are integers, and its values are of type {}",
                    self.type_name
                ),
                way_out,
            ));
        };
        let [count] = self.shape[..] else {
            return Err(refuse(
                self.path,
                format!(
                    "labels have one axis, and its shape is {}",
                    shape_text(&self.shape)
                ),
                "save one label for each item, as with labels.ravel()",
            ));
        };
        let mut labels = Vec::with_capacity(count);
        let (path, big_endian) = (self.path, self.big_endian);
        let mut fit = true;
        self.read(count * int.bytes, |bytes| {
            fit &= int.decode(bytes, big_endian, &mut labels)
        })?;
        if fit {
            Ok(labels)
        } else {
            Err(label_too_large(path))
        }
    }

    /// Hands out the data in pieces of whole values, so that the bytes of a large file are never
    /// all in memory.
    fn read(&mut self, bytes: usize, mut take: impl FnMut(&[u8])) -> Result<(), EvalError> {
        let mut piece = vec![0; 1 << 16];
        let mut left = bytes;
        while left > 0 {
            let piece = &mut piece[..left.min(1 << 16)];
            self.file
                .read_exact(piece)
                .map_err(|source| EvalError::Io {
                    path: self.path.into(),
                    source,
                })?;
            take(piece);
            left -= piece.len();
        }
        Ok(())
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

/// What to look for in a `.safetensors` file.
struct Wanted {
    name: &'static str,
    axes: usize,
    is_type: fn(Dtype) -> bool,
    /// For messages.
    description: &'static str,
}

const EMBEDDINGS: Wanted = Wanted {
    name: "embeddings",
    axes: 2,
    is_type: |dtype| Float::of_tensor(dtype).is_some(),
    description: "floats (F16, BF16, F32 or F64) with two axes",
};

const LABELS: Wanted = Wanted {
    name: "labels",
    axes: 1,
    is_type: |dtype| Int::of_tensor(dtype).is_some(),
    description: "integers with one axis",
};

impl Wanted {
    fn fits(&self, tensor: &TensorView<'_>) -> bool {
        tensor.shape().len() == self.axes && (self.is_type)(tensor.dtype())
    }
}

/// Finds the tensor wanted and hands it to `take`.
fn with_tensor<T>(
    path: &Path,
    wanted: &Wanted,
    take: impl FnOnce(&TensorView<'_>) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    let bytes = fs::read(path).map_err(|source| EvalError::Io {
        path: path.into(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        refuse(
            path,
            format!("this is no complete file in .safetensors format ({error})"),
            "it is damaged or incomplete: copy or save it again",
        )
    })?;
    let Wanted {
        name, description, ..
    } = wanted;
    if let Ok(tensor) = file.tensor(name) {
        if wanted.fits(&tensor) {
            return take(&tensor);
        }
        return Err(refuse(
            path,
            format!(
                "{name} are {description}, and its tensor `{name}` is {} {}",
                tensor.dtype(),
                shape_text(tensor.shape())
            ),
            "convert it before saving",
        ));
    }
    let mut fitting: Vec<&str> = file
        .iter()
        .filter(|(_, tensor)| wanted.fits(tensor))
        .map(|(name, _)| name)
        .collect();
    fitting.sort_unstable();
    match fitting[..] {
        [only] => match file.tensor(only) {
            Ok(tensor) => take(&tensor),
            Err(error) => Err(refuse(path, error.to_string(), "save it again")),
        },
        [] => Err(refuse(
            path,
            format!("no tensor is named `{name}`, and none holds {description}"),
            format!("save them under the name `{name}`"),
        )),
        [..] => Err(refuse(
            path,
            format!(
                "no tensor is named `{name}`, and several hold {description}: {}",
                fitting.join(", ")
            ),
            format!("give the one to use the name `{name}`"),
        )),
    }
}

fn write_npy<T>(
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

fn write_tensors(
    path: &Path,
    embeddings: Option<&Embeddings>,
    labels: Option<&[i64]>,
) -> Result<(), EvalError> {
    let embeddings = embeddings.map(|embeddings| {
        let bytes = embeddings
            .as_slice()
            .iter()
            .flat_map(|value| value.to_le_bytes());
        (
            vec![embeddings.rows(), embeddings.dim()],
            bytes.collect::<Vec<u8>>(),
        )
    });
    let labels = labels.map(|labels| {
        let bytes = labels.iter().flat_map(|label| label.to_le_bytes());
        (vec![labels.len()], bytes.collect::<Vec<u8>>())
    });
    let tensors = [
        (EMBEDDINGS.name, Dtype::F32, &embeddings),
        (LABELS.name, Dtype::I64, &labels),
    ];
    replace(path, |file| {
        let mut views = Vec::new();
        for (name, dtype, tensor) in tensors {
            if let Some((shape, bytes)) = tensor {
                let view =
                    TensorView::new(dtype, shape.clone(), bytes).map_err(io::Error::other)?;
                views.push((name, view));
            }
        }
        file.write_all(&safetensors::serialize(views, None).map_err(io::Error::other)?)
    })
}

/// Writes a file beside `path` and gives it that name when it is complete, so that no half of one
/// is ever found there.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), EvalError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial: PathBuf = path.with_file_name(name);
    let written = File::create(&partial).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&partial, path)
    });
    written.map_err(|source| {
        // What there is of it is of no use; that it is left over matters less than why.
        let _ = fs::remove_file(&partial);
        EvalError::Io {
            path: path.into(),
            source,
        }
    })
}

fn refuse(path: &Path, problem: impl Display, way_out: impl Display) -> EvalError {
    EvalError::File {
        path: path.into(),
        problem: problem.to_string(),
        way_out: way_out.to_string(),
    }
}

fn label_too_large(path: &Path) -> EvalError {
    refuse(
        path,
        format!("a label is above {}, the largest that fits", i64::MAX),
        "number the classes from 0",
    )
}

fn shape_text(shape: &[usize]) -> String {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", axes.join(", "))
}
