use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auto::{AUTO, Auto};

/// How a batch of everything is written.
const ALL: &str = "all";

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
    /// Every training item, whatever the sizes of their classes: one step an epoch.
    All,
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
    All(All),
}

/// The word `all` instead of a number.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}

impl From<BatchSize> for Written {
    fn from(size: BatchSize) -> Self {
        match size {
            BatchSize::Images(images) => Self::Images(images),
            BatchSize::Auto { .. } => Self::Auto(Auto::Auto),
            BatchSize::All => Self::All(All::All),
        }
    }
}

impl From<Written> for BatchSize {
    fn from(written: Written) -> Self {
        match written {
            Written::Images(images) => Self::Images(images),
            Written::Auto(Auto::Auto) => Self::Auto { up_to: DEFAULT },
            Written::All(All::All) => Self::All,
        }
    }
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(images) => write!(f, "{images}"),
            Self::Auto { .. } => f.write_str(AUTO),
            Self::All => f.write_str(ALL),
        }
    }
}

impl BatchSize {
    /// The same where it is a number; else up to what `size` says.
    pub(super) fn bounded_by(self, size: Self) -> Self {
        match self {
            Self::Auto { .. } => Self::Auto { up_to: size.most() },
            other => other,
        }
    }

    /// The number of images, or the most where the training classes say how many. Of a batch of all images
    /// only the data know it: until then it counts as that of the default.
    pub fn most(self) -> usize {
        match self {
            Self::Images(images) | Self::Auto { up_to: images } => images,
            Self::All => DEFAULT,
        }
    }
}
