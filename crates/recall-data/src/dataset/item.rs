//! One image of a data set.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::{DataError, names};

/// Number of an item in its data set: its place in [`Dataset::items`](crate::Dataset::items).
pub type ItemId = usize;

/// Which part of a data set an item belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Trained on.
    Train,
    /// Judged while a model is trained, to choose its best state. Most data sets have none, and
    /// classes are held out of training instead, see
    /// [`training_and_validation`](crate::training_and_validation).
    Validation,
    /// Evaluated on.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// What an item of the test split is for when the split is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It searches and is found: each item against the rest.
    #[default]
    Both,
    /// It only searches.
    Query,
    /// It is only found.
    Gallery,
}

/// Where an encoded image (PNG, JPEG, WebP or BMP) is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum ImageSource {
    /// Nowhere: of an item that is a row of features, nobody said where its picture is.
    Unknown,
    /// In a file.
    File(PathBuf),
    /// In the program itself.
    Embedded(&'static [u8]),
}

// Thousands of bytes of an embedded image say nothing in a message.
impl fmt::Debug for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("Unknown"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Embedded(bytes) => write!(f, "Embedded({} bytes)", bytes.len()),
        }
    }
}

/// The part of an image that is its object, in whole pixels from the upper left corner of the image as
/// it is shown ([`Dataset::turns_upright`](crate::Dataset::turns_upright)). It has an area; what of it
/// lies outside the image is cut off when the image is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BoundingBox {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

impl BoundingBox {
    /// The box of the columns `left..right` and the rows `top..bottom`.
    ///
    /// # Errors
    ///
    /// A box without area.
    pub fn new(left: u32, top: u32, right: u32, bottom: u32) -> Result<Self, DataError> {
        if left < right && top < bottom {
            Ok(Self {
                left,
                top,
                right,
                bottom,
            })
        } else {
            Err(DataError::EmptyBox {
                left,
                top,
                right,
                bottom,
            })
        }
    }

    /// First column.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// First row.
    pub fn top(&self) -> u32 {
        self.top
    }

    /// One past the last column.
    pub fn right(&self) -> u32 {
        self.right
    }

    /// One past the last row.
    pub fn bottom(&self) -> u32 {
        self.bottom
    }
}

/// One image of a data set, or row of features, and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where the image is.
    pub source: ImageSource,
    /// Its class: an index into [`Dataset::class_names`](crate::Dataset::class_names).
    pub class: u32,
    /// The part of the data set that it belongs to.
    pub split: Split,
    /// The part of the image that counts; `None` is all of it.
    pub bbox: Option<BoundingBox>,
    /// A coarser class above [`class`](Self::class), where the data set has such.
    pub super_class: Option<u32>,
    /// What it is for in an evaluation.
    pub role: Role,
    /// A short name to show, one printable line: readers write it by [`names`].
    pub name: String,
}

impl Item {
    /// An item in the role [`Role::Both`], without box and super-class.
    pub fn new(name: impl Into<String>, source: ImageSource, class: u32, split: Split) -> Self {
        Self {
            source,
            class,
            split,
            bbox: None,
            super_class: None,
            role: Role::Both,
            name: name.into(),
        }
    }

    /// The image as it is stored: the bytes of a PNG, JPEG or WebP file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, an item without a picture.
    pub fn encoded_bytes(&self) -> Result<Cow<'_, [u8]>, DataError> {
        match &self.source {
            ImageSource::Unknown => Err(DataError::Decode {
                image: self.name.clone(),
                problem: "nothing says where its picture is".to_owned(),
            }),
            ImageSource::File(path) => std::fs::read(path)
                .map(Cow::Owned)
                .map_err(|source| DataError::io(path, source)),
            ImageSource::Embedded(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// What tells the image from others, and from itself once it has changed: of a file its path, its size and
    /// when it was changed.
    ///
    /// # Errors
    ///
    /// A file that is not there.
    pub fn stamp(&self) -> Result<Vec<u8>, DataError> {
        match &self.source {
            ImageSource::Unknown => Ok(self.name.clone().into_bytes()),
            ImageSource::File(path) => {
                let fail = |source| DataError::io(path, source);
                let metadata = std::fs::metadata(path).map_err(fail)?;
                let changed = metadata
                    .modified()
                    .ok()
                    .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                    .unwrap_or_default();
                let path = std::path::absolute(path).map_err(fail)?;
                let mut stamp = format!("{} {} ", metadata.len(), changed.as_nanos()).into_bytes();
                stamp.extend(path.as_os_str().as_encoded_bytes());
                Ok(stamp)
            }
            ImageSource::Embedded(bytes) => {
                let hash = crc32fast::hash(bytes);
                Ok(format!("{} {hash} {}", bytes.len(), self.name).into_bytes())
            }
        }
    }

    /// What to call the image in a message: the file, if it is one, in one line.
    pub fn location(&self) -> String {
        match &self.source {
            ImageSource::File(path) => names::one_line(&path.to_string_lossy()).into_owned(),
            ImageSource::Embedded(_) | ImageSource::Unknown => self.name.clone(),
        }
    }
}
