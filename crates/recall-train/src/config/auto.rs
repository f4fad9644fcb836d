use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The word `auto` in the place of a number.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auto {
    Auto,
}

/// How it is written.
pub(super) const AUTO: &str = "auto";
