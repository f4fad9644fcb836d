//! Whether, where and how many features of a frozen backbone are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Bytes;

/// Features of a backbone that is not trained, which are then computed once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureCacheConfig {
    /// Whether the features of a frozen backbone (`optimiser.freeze_backbone`) are computed once and kept on
    /// disk, where images are not augmented. The weights come out the same.
    ///
    /// Default true.
    pub keep: bool,
    /// Where. Without it: `recall` in the cache folder of the user, `$XDG_CACHE_HOME` or `~/.cache`.
    /// Deleting it is safe whenever no run uses it.
    #[schemars(title = "a path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// The most that the folder may hold. What was not used for longest goes first, and where the features of
    /// one run are more than this, none are kept.
    ///
    /// Default 20GB.
    #[schemars(with = "String", title = "memory such as `20GB`")]
    #[serde(with = "super::bytes::text")]
    pub at_most: Bytes,
}

impl Default for FeatureCacheConfig {
    fn default() -> Self {
        Self {
            keep: true,
            folder: None,
            at_most: Bytes(20_000_000_000),
        }
    }
}
