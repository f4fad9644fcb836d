use std::fmt;

use serde::{Deserialize, Serialize};

/// Images in a batch: a number of them, or what becomes one when a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum BatchSize {
    /// This many.
    Images(usize),
    /// The largest batch that the training classes give, up to this many images: those of the preset, or
    /// of the default.
    Auto {
        /// The most.
        up_to: usize,
    },
}

const AUTO: &str = "auto";

/// The batch of the default, which was measured on the emoji.
const DEFAULT: usize = 256;

impl Default for BatchSize {
    fn default() -> Self {
        Self::Images(DEFAULT)
    }
}

/// A size as TOML has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected or `auto`")]
enum Written {
    Images(usize),
    Text(String),
}

impl From<BatchSize> for Written {
    fn from(size: BatchSize) -> Self {
        match size {
            BatchSize::Images(images) => Self::Images(images),
            BatchSize::Auto { .. } => Self::Text(AUTO.to_owned()),
        }
    }
}

impl TryFrom<Written> for BatchSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Images(images) => Ok(Self::Images(images)),
            Written::Text(text) if text == AUTO => Ok(Self::Auto { up_to: DEFAULT }),
            Written::Text(text) => Err(format!(
                "`{text}` is no size of a batch: write a number of images, or `auto`"
            )),
        }
    }
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(images) => write!(f, "{images}"),
            Self::Auto { .. } => f.write_str(AUTO),
        }
    }
}

impl BatchSize {
    /// The same where it is a number; else up to what `size` says.
    pub(super) fn bounded_by(self, size: Self) -> Self {
        match self {
            Self::Auto { .. } => Self::Auto { up_to: size.most() },
            number => number,
        }
    }

    /// The number of images, or the most where the training classes say how many.
    pub fn most(self) -> usize {
        match self {
            Self::Images(images) | Self::Auto { up_to: images } => images,
        }
    }
}
