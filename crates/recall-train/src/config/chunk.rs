use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Bytes;
use super::auto::{AUTO, Auto};

/// How many images are embedded with a graph at once: a number of them, or what becomes one when a run
/// begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "Written", try_from = "Written")]
pub enum ChunkSize {
    /// This many.
    Images(usize),
    /// The fewest chunks, of one size, with which the run takes at most this much memory.
    Memory(Bytes),
    /// The same, for four fifths of the memory that is free.
    Auto,
}

/// A chunk size as TOML has it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Images(#[schemars(range(min = 1))] usize),
    Auto(Auto),
    Memory(#[schemars(title = "memory such as `8GB`")] String),
}

impl From<ChunkSize> for Written {
    fn from(size: ChunkSize) -> Self {
        match size {
            ChunkSize::Images(images) => Self::Images(images),
            ChunkSize::Memory(bytes) => Self::Memory(bytes.to_string()),
            ChunkSize::Auto => Self::Auto(Auto::Auto),
        }
    }
}

impl TryFrom<Written> for ChunkSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Images(images) => Ok(Self::Images(images)),
            Written::Auto(Auto::Auto) => Ok(Self::Auto),
            Written::Memory(text) => match text.parse() {
                Ok(bytes) => Ok(Self::Memory(bytes)),
                Err(_) => Err(format!(
                    "`{text}` is no chunk: write a number of images, `auto`, or memory such as `8GB`"
                )),
            },
        }
    }
}

impl fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(images) => write!(f, "{images}"),
            Self::Memory(bytes) => write!(f, "{bytes}"),
            Self::Auto => f.write_str(AUTO),
        }
    }
}
