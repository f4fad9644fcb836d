//! Embeddings that are written as they come.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use half::f16;

use super::format::Format;
use super::refusal::refuse;
use super::replace::replace;
use crate::{Embeddings, EvalError};

/// How exactly values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they are: four bytes each.
    #[default]
    F32,
    /// As the nearest number of half precision, of two equally near ones the even: two bytes each,
    /// eleven binary digits, and none above 65504.
    F16,
}

impl Precision {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Whether it has a number near this one.
    fn holds(self, value: f32) -> bool {
        match self {
            Self::F32 => true,
            Self::F16 => value.abs() <= f16::MAX.to_f32(),
        }
    }
}

/// Writes embeddings to an `.npy` or `.safetensors` file as they come, so that memory does not grow
/// with their number.
///
/// Rows wait in a nameless file beside the wanted one: how many there are is known at the end, and
/// the format says it at the beginning. A file of the wanted name is replaced by
/// [`finish`](Self::finish) alone, and only once the new one is complete.
#[derive(Debug)]
pub struct EmbeddingsWriter {
    path: PathBuf,
    format: Format,
    precision: Precision,
    waiting: BufWriter<File>,
    rows: usize,
    dim: usize,
}

impl EmbeddingsWriter {
    /// Prepares to write `path` in f32.
    ///
    /// # Errors
    ///
    /// If the extension is another, or if its folder cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        Self::create_in(path, Precision::F32)
    }

    /// Prepares to write `path` in the given precision.
    ///
    /// # Errors
    ///
    /// If the extension is another, or if its folder cannot be written to.
    pub fn create_in(path: impl AsRef<Path>, precision: Precision) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let format = Format::of(path, "embeddings")?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let waiting = tempfile::tempfile_in(folder).map_err(|source| EvalError::Io {
            path: path.into(),
            source,
        })?;
        Ok(Self {
            path: path.into(),
            format,
            precision,
            waiting: BufWriter::new(waiting),
            rows: 0,
            dim: 0,
        })
    }

    /// Rows written up to now.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row; 0 before the first.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Adds rows at the end.
    ///
    /// # Errors
    ///
    /// If they have another dimension than those before, if the precision has no number near one of
    /// their values (the first is named, and none of the rows is added), or if they cannot be written.
    pub fn push(&mut self, rows: &Embeddings) -> Result<(), EvalError> {
        if self.rows > 0 && rows.dim() != self.dim {
            return Err(EvalError::DimensionMismatch {
                queries: rows.dim(),
                gallery: self.dim,
            });
        }
        let values = rows.as_slice();
        if let Some(at) = (values.iter()).position(|&value| !self.precision.holds(value)) {
            return Err(refuse(
                &self.path,
                format!(
                    "row {} of the embeddings has {} in column {}, and half precision ends at 65504",
                    self.rows + at / rows.dim(),
                    values[at],
                    at % rows.dim()
                ),
                "write them in f32, or bring them to unit length before",
            ));
        }
        for &value in values {
            let written = match self.precision {
                Precision::F32 => self.waiting.write_all(&value.to_le_bytes()),
                Precision::F16 => (self.waiting).write_all(&f16::from_f32(value).to_le_bytes()),
            };
            written.map_err(|source| self.fault(source))?;
        }
        self.dim = rows.dim();
        self.rows += rows.rows();
        Ok(())
    }

    /// Writes the file: the embeddings, and in `.safetensors` the labels, if there are some. An
    /// `.npy` file holds one array: for labels use [`save_labels`](crate::save_labels).
    ///
    /// # Errors
    ///
    /// If there are no rows, or not a label for each, or if the file cannot be written.
    pub fn finish(mut self, labels: Option<&[i64]>) -> Result<(), EvalError> {
        if self.rows == 0 {
            return Err(EvalError::Empty {
                values: 0,
                dim: self.dim,
            });
        }
        if let Some(labels) = labels.filter(|labels| labels.len() != self.rows) {
            return Err(EvalError::LabelCount {
                what: "embeddings",
                labels: labels.len(),
                rows: self.rows,
            });
        }
        let rewound = self.waiting.flush().and_then(|()| self.waiting.rewind());
        rewound.map_err(|source| self.fault(source))?;
        let values = BufReader::new(self.waiting.get_ref());
        let shape = [self.rows, self.dim];
        let precision = self.precision;
        replace(&self.path, |file| match (self.format, precision) {
            (Format::Npy, Precision::F32) => npy(values, shape, f32::from_le_bytes, file),
            (Format::Npy, Precision::F16) => npy(values, shape, f16::from_le_bytes, file),
            (Format::SafeTensors, _) => safetensors(values, shape, precision, labels, file),
        })
    }

    fn fault(&self, source: io::Error) -> EvalError {
        EvalError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn npy<const N: usize, T: npyz::AutoSerialize>(
    mut values: impl Read,
    shape: [usize; 2],
    value: fn([u8; N]) -> T,
    file: &mut impl Write,
) -> io::Result<()> {
    use npyz::WriterBuilder;
    let mut writer = npyz::WriteOptions::<T>::new()
        .default_dtype()
        .shape(&shape.map(|side| side as u64))
        .writer(file)
        .begin_nd()?;
    let mut bytes = [0; N];
    for _ in 0..shape[0] * shape[1] {
        values.read_exact(&mut bytes)?;
        writer.push(&value(bytes))?;
    }
    writer.finish()
}

/// The header by hand: the library wants every tensor in memory.
fn safetensors(
    mut values: impl Read,
    [rows, dim]: [usize; 2],
    precision: Precision,
    labels: Option<&[i64]>,
    file: &mut impl Write,
) -> io::Result<()> {
    // Labels first: they need the alignment of eight bytes.
    let labels = labels.unwrap_or_default();
    let end = 8 * labels.len();
    let mut header = serde_json::json!({
        "embeddings": {
            "dtype": match precision {
                Precision::F32 => "F32",
                Precision::F16 => "F16",
            },
            "shape": [rows, dim],
            "data_offsets": [end, end + precision.bytes() * rows * dim],
        }
    });
    if !labels.is_empty() {
        header["labels"] = serde_json::json!({
            "dtype": "I64",
            "shape": [rows],
            "data_offsets": [0, end],
        });
    }
    let mut header = header.to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for label in labels {
        file.write_all(&label.to_le_bytes())?;
    }
    io::copy(&mut values, file).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_labels;

    fn embeddings() -> Embeddings {
        Embeddings::new((0..35).map(|i| i as f32 / 7.0 + 0.5).collect(), 5).unwrap()
    }

    /// The seven rows in pieces.
    fn pushed(path: &Path) -> EmbeddingsWriter {
        pushed_in(path, Precision::F32)
    }

    fn pushed_in(path: &Path, precision: Precision) -> EmbeddingsWriter {
        let mut writer = EmbeddingsWriter::create_in(path, precision).unwrap();
        for rows in embeddings().as_slice().chunks(15) {
            writer
                .push(&Embeddings::new(rows.to_vec(), 5).unwrap())
                .unwrap();
        }
        assert_eq!((writer.rows(), writer.dim()), (7, 5));
        writer
    }

    #[test]
    fn pieces_make_the_file_that_one_piece_makes() {
        let folder = tempfile::tempdir().unwrap();
        let [pieces, whole] = ["pieces.npy", "whole.npy"].map(|name| folder.path().join(name));
        pushed(&pieces).finish(None).unwrap();
        embeddings().save(&whole).unwrap();
        assert_eq!(
            std::fs::read(&pieces).unwrap(),
            std::fs::read(&whole).unwrap()
        );
    }

    #[test]
    fn safetensors_hold_labels_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.safetensors");
        let labels = [3, 1, 4, 1, 5, 9, 2];
        for labels in [Some(&labels[..]), None] {
            pushed(&path).finish(labels).unwrap();
            assert_eq!(Embeddings::open(&path).unwrap(), embeddings());
            assert_eq!(read_labels(&path).ok().as_deref(), labels);
        }
    }

    #[test]
    fn half_precision_rounds_to_the_nearest_number() {
        let folder = tempfile::tempdir().unwrap();
        let halves: Vec<f32> = (embeddings().as_slice().iter())
            .map(|&value| f16::from_f32(value).to_f32())
            .collect();
        let labels = [3, 1, 4, 1, 5, 9, 2];
        for (name, labels) in [("a.npy", None), ("a.safetensors", Some(&labels[..]))] {
            let path = folder.path().join(name);
            pushed_in(&path, Precision::F16).finish(labels).unwrap();
            assert_eq!(Embeddings::open(&path).unwrap().as_slice(), halves);
            assert_eq!(read_labels(&path).ok().as_deref(), labels);
            let bytes = std::fs::read(&path).unwrap();
            let (data, header) = (35 * 2, labels.map_or(128, |labels| 8 * labels.len()));
            assert!(bytes.len() >= data + header && bytes.len() < data + header + 200);
        }
        let npy = std::fs::read(folder.path().join("a.npy")).unwrap();
        assert!(npy.windows(5).any(|part| part == b"'<f2'"));

        // Between two numbers of half precision: to the even one, up and down.
        let path = folder.path().join("ties.npy");
        let ties = [1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, -65504.0, 1e-9];
        let mut writer = EmbeddingsWriter::create_in(&path, Precision::F16).unwrap();
        writer
            .push(&Embeddings::new(ties.to_vec(), 2).unwrap())
            .unwrap();
        // None of these rows is added.
        let far = Embeddings::new(vec![1.0, 2.0, 3.0, -65505.0], 2).unwrap();
        let error = writer.push(&far).unwrap_err().to_string();
        assert!(
            error.contains("row 3 of the embeddings has -65505 in column 1"),
            "{error}"
        );
        writer.finish(None).unwrap();
        let read = Embeddings::open(&path).unwrap();
        assert_eq!(read.as_slice(), [1.0, 1.0 + 4.0 / 2048.0, -65504.0, 0.0]);
    }

    #[test]
    fn what_cannot_be_is_refused_and_nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.safetensors");
        std::fs::write(&path, "mine").unwrap();
        assert!(EmbeddingsWriter::create(folder.path().join("rows.csv")).is_err());
        assert!(EmbeddingsWriter::create(folder.path().join("no/rows.npy")).is_err());
        let empty = EmbeddingsWriter::create(&path).unwrap();
        assert!(matches!(empty.finish(None), Err(EvalError::Empty { .. })));
        assert!(matches!(
            pushed(&path).finish(Some(&[1, 2])),
            Err(EvalError::LabelCount { .. })
        ));
        let other = Embeddings::new(vec![1.0; 4], 4).unwrap();
        assert!(pushed(&path).push(&other).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
