use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of a run: so many steps or epochs, or a share of its steps, whatever the number of epochs. As a
/// number: below 1 it is a share, and written without a point it is a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Extent {
    /// Steps or epochs.
    Whole(u64),
    /// A share of the run, from 0 and below 1.
    #[schemars(title = "a share of the run")]
    Share(#[schemars(range(min = 0), extend("exclusiveMaximum" = 1))] f64),
}

impl Extent {
    /// The steps in a share of a run of `steps`.
    pub(super) fn share_of(share: f64, steps: u64) -> u64 {
        (share * steps as f64).round() as u64
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{share:?}"),
        }
    }
}
