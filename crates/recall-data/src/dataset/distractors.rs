//! Images that no query is looking for.

use super::{Dataset, Item, ItemId, Role, Split};
use crate::DataError;

impl Dataset {
    /// Adds all images of `others` to the gallery, where they are negatives of every query. Their classes
    /// and splits mean nothing here.
    ///
    /// # Errors
    ///
    /// A data set whose test images are no gallery that is searched by others, rows of features, or more
    /// classes than 32 bits.
    pub fn with_distractors(mut self, others: &Self) -> Result<Self, DataError> {
        let searches = |&id: &ItemId| self.items[id].role == Role::Query;
        let problem = if self.features.is_some() || others.features.is_some() {
            Some("distractors are added to images, not to rows of features")
        } else if !self.test.iter().any(searches) {
            Some(
                "distractors are added to a gallery, and its test images have no queries beside a \
                 gallery: take roxford5k, rparis6k or another set with both",
            )
        } else {
            None
        };
        let refuse = |problem: &str, dataset: String| DataError::Items {
            dataset,
            problem: problem.to_owned(),
        };
        if let Some(problem) = problem {
            return Err(refuse(problem, self.name));
        }
        // One class for all: it is no query's.
        let Ok(class) = u32::try_from(self.class_names.len()) else {
            return Err(refuse("it has too many classes for 32 bits", self.name));
        };
        self.class_names.push(format!("{} distractor", others.name));
        let first = self.items.len();
        self.items.extend(others.items.iter().map(|other| Item {
            role: Role::Gallery,
            ..Item::new(other.name.clone(), other.source.clone(), class, Split::Test)
        }));
        self.test.extend(first..self.items.len());
        // What was published is about the set without them.
        self.published = &[];
        self.notes.extend(others.notes.iter().cloned());
        Ok(self)
    }
}
