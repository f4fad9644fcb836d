use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auto::{AUTO, Auto};

/// Images in a batch: a number of them, or what becomes one when a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "Written", from = "Written")]
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

/// The batch of the default, which was measured on the emoji.
const DEFAULT: usize = 256;

impl Default for BatchSize {
    fn default() -> Self {
        Self::Images(DEFAULT)
    }
}

/// A size as TOML has it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Images(#[schemars(range(min = 4, max = 1_000_000))] usize),
    Auto(Auto),
}

impl From<BatchSize> for Written {
    fn from(size: BatchSize) -> Self {
        match size {
            BatchSize::Images(images) => Self::Images(images),
            BatchSize::Auto { .. } => Self::Auto(Auto::Auto),
        }
    }
}

impl From<Written> for BatchSize {
    fn from(written: Written) -> Self {
        match written {
            Written::Images(images) => Self::Images(images),
            Written::Auto(Auto::Auto) => Self::Auto { up_to: DEFAULT },
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
