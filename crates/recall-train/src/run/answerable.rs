//! Whether images can be judged at all, which is known before the first step.

use std::collections::BTreeMap;

use recall_data::{Dataset, ItemId, Role};

use super::images::Items;
use crate::RunError;
use crate::records::Judged;

/// Refuses images among which no query has anything to find: the run would end without a result.
pub(super) fn answerable(dataset: &Dataset, items: &Items) -> Result<(), RunError> {
    for (split, ids) in [
        (Judged::Validation, &items.validation),
        (Judged::Test, &items.test),
    ] {
        if let Some(problem) = problem(dataset, ids) {
            return Err(RunError::NothingToFind {
                dataset: dataset.name().to_owned(),
                split,
                problem,
            });
        }
    }
    Ok(())
}

/// Why no query among `ids` has an answer, if that is so.
fn problem(dataset: &Dataset, ids: &[ItemId]) -> Option<&'static str> {
    if ids.is_empty() {
        return None;
    }
    let items = ids.iter().map(|&id| &dataset.items()[id]);
    let mut found: BTreeMap<u32, usize> = BTreeMap::new();
    for item in items.clone().filter(|item| item.role != Role::Query) {
        *found.entry(item.class).or_default() += 1;
    }
    let mut queries = items.filter(|item| item.role != Role::Gallery).peekable();
    if queries.peek().is_none() {
        return Some("none of them is a query");
    }
    if found.is_empty() {
        return Some("none of them can be found, all are queries");
    }
    let has_answer = queries.any(|query| {
        // An image that searches and is found is no answer to itself.
        let itself = usize::from(query.role == Role::Both);
        found.get(&query.class).is_some_and(|&count| count > itself)
    });
    (!has_answer).then_some("no query has another image of its class to find")
}

#[cfg(test)]
mod tests {
    use recall_data::{ImageSource, Item, Split};

    use super::*;

    #[test]
    fn one_query_with_one_answer_is_enough() {
        let (both, query, gallery) = (Role::Both, Role::Query, Role::Gallery);
        let nothing = Some("no query has another image of its class to find");
        for (images, expected) in [
            (&[][..], None),
            (&[(0, both), (0, both), (1, both)], None),
            (&[(0, both), (1, both)], nothing),
            (&[(0, query), (1, gallery), (1, gallery)], nothing),
            (&[(0, query), (0, query), (1, gallery)], nothing),
            (&[(0, query), (0, gallery)], None),
            (&[(0, query), (0, both)], None),
            (&[(0, both), (0, gallery)], None),
            (
                &[(0, gallery), (0, gallery)],
                Some("none of them is a query"),
            ),
            (
                &[(0, query), (0, query)],
                Some("none of them can be found, all are queries"),
            ),
        ] {
            let items = images.iter().map(|&(class, role)| Item {
                role,
                ..Item::new("x", ImageSource::Embedded(b""), class, Split::Test)
            });
            let mut items: Vec<Item> = items.collect();
            let ids: Vec<ItemId> = (0..items.len()).collect();
            // No data set is empty.
            items.push(Item::new("x", ImageSource::Embedded(b""), 9, Split::Train));
            let names = (0..10).map(|class| class.to_string()).collect();
            let dataset = Dataset::from_items("own", items, names).unwrap();
            assert_eq!(problem(&dataset, &ids), expected, "{images:?}");
        }
    }
}
