//! How a data set is judged, and on which of its items.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::item::ItemId;

/// A named part of the test split that is also judged on its own, such as VehicleID's small,
/// medium and large lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Its items, ascending.
    pub ids: Vec<ItemId>,
}

/// What a query should find, where lists say it and not classes: revisited Oxford and Paris.
/// Items of the gallery in none of the lists are negatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroundTruth {
    /// The query.
    pub query: ItemId,
    /// What is easily recognised.
    pub easy: Vec<ItemId>,
    /// What is hard to recognise: seen from the side, small, in other light.
    pub hard: Vec<ItemId>,
    /// What counts neither as found nor as an error.
    pub junk: Vec<ItemId>,
}

/// A part of a data set that publications give numbers of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The items of [`Split::Train`](crate::Split::Train).
    Train,
    /// The items of [`Split::Validation`](crate::Split::Validation).
    Validation,
    /// The items of [`Split::Test`](crate::Split::Test).
    Test,
    /// The test items of [`Role::Query`](crate::Role::Query).
    Query,
    /// The test items of [`Role::Gallery`](crate::Role::Gallery).
    Gallery,
    /// The [`Subset`] of this name.
    #[serde(untagged)]
    Subset(&'static str),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Query => "query",
            Self::Gallery => "gallery",
            Self::Subset(name) => name,
        })
    }
}

/// How many images and classes a part of a data set has by its publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PublishedCount {
    /// Which part.
    pub part: Part,
    /// Its images.
    pub images: usize,
    /// Its classes; `None` where classes mean nothing.
    pub classes: Option<usize>,
}

/// How the test split is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Every item searches all the others; those of its class are right.
    EachAgainstRest,
    /// Items search or are found, as their [`Role`](crate::Role) says.
    QueryGallery,
    /// One random item of each class is the gallery, the others search it; several draws.
    RandomGallery,
    /// Lists say what each query should find ([`GroundTruth`]).
    Lists,
}
