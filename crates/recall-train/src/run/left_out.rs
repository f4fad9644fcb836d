//! Files that could not be read and were left out, each counted once however often it was drawn.

use std::collections::{BTreeSet, HashSet};

use recall_data::{Dataset, ItemId};

/// Files that a sentence names.
const NAMED: usize = 3;

/// The files of those of `asked` that are not among `kept`, in their order.
pub(crate) fn missing(dataset: &Dataset, asked: &[ItemId], kept: &[ItemId]) -> Vec<String> {
    if asked.len() == kept.len() {
        return Vec::new();
    }
    let kept: HashSet<ItemId> = kept.iter().copied().collect();
    asked
        .iter()
        .filter(|id| !kept.contains(id))
        .map(|&id| dataset.items()[id].location())
        .collect()
}

/// One sentence about them; none if there are none.
pub(crate) fn sentence(files: impl IntoIterator<Item = impl Into<String>>) -> Option<String> {
    let (count, named) = count(files)?;
    Some(match count {
        1 => format!("1 image could not be read and is left out: {named}"),
        many => format!("{many} images could not be read and are left out: {named}"),
    })
}

/// How many they are, and the names of the first; none if there are none.
pub(super) fn count(files: impl IntoIterator<Item = impl Into<String>>) -> Option<(usize, String)> {
    let files: BTreeSet<String> = files.into_iter().map(Into::into).collect();
    let mut named: Vec<String> = files.iter().take(NAMED).cloned().collect();
    if files.len() > NAMED {
        named.push(format!("{} more", files.len() - NAMED));
    }
    let last = named.pop()?;
    Some((
        files.len(),
        match &named[..] {
            [] => last,
            before => format!("{} and {last}", before.join(", ")),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_once_and_the_first_are_named() {
        let told = |files: &[&str]| sentence(files.iter().copied());
        assert_eq!(told(&[]), None);
        let one = "1 image could not be read and is left out: a";
        assert_eq!(told(&["a", "a", "a"]).as_deref(), Some(one));
        let many = "images could not be read and are left out: ";
        for (files, expected) in [
            (&["b", "a", "b"][..], format!("2 {many}a and b")),
            (&["c", "a", "b"], format!("3 {many}a, b and c")),
            (
                &["e", "d", "c", "b", "a"],
                format!("5 {many}a, b, c and 2 more"),
            ),
        ] {
            assert_eq!(told(files), Some(expected));
        }
    }
}
