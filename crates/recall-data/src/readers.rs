//! One small reader for each layout.

pub(crate) mod cars196;
pub(crate) mod csv;
pub(crate) mod cub;
pub(crate) mod emoji;
pub(crate) mod folder;
pub(crate) mod inat2018;
pub(crate) mod inshop;
mod lines;
mod named;
pub(crate) mod revisited;
pub(crate) mod sop;
pub(crate) mod vehicle_id;

use std::collections::BTreeSet;

use crate::Split;

/// Splits classes in half when a data set does not say: `names` ordered by a hash of the name, the
/// first half, rounded up, trains and the others test. Returns the split of each name, in the order
/// of `names`; equal names get the same one.
///
/// The rule has no seed and sees nothing but the names, so a data set has the same split on every
/// machine and wherever it lies. The hash is FNV-1a over the UTF-8 bytes followed by the finaliser
/// of SplitMix64; it scatters names that follow one another, such as the makes of `audi-a4`,
/// `audi-a6`.
pub fn split_classes_in_half<S: AsRef<str>>(names: &[S]) -> Vec<Split> {
    let ordered: BTreeSet<(u64, &str)> = names
        .iter()
        .map(|name| (name_hash(name.as_ref()), name.as_ref()))
        .collect();
    let half = ordered.len().div_ceil(2);
    let Some(first_of_test) = ordered.iter().nth(half) else {
        return vec![Split::Train; names.len()];
    };
    let split = |name: &str| match (name_hash(name), name) < *first_of_test {
        true => Split::Train,
        false => Split::Test,
    };
    names.iter().map(|name| split(name.as_ref())).collect()
}

pub(crate) fn name_hash(name: &str) -> u64 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Text of a file as a message can show it: in one line, and not all of a long one.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}

/// `1 file is`, `2 files are`.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_halves_stay_what_they_were() {
        // A split that changed with a version would make old numbers incomparable.
        let names: Vec<String> = (0..12).map(|name| format!("class-{name}")).collect();
        let train: Vec<usize> = split_classes_in_half(&names)
            .iter()
            .enumerate()
            .filter_map(|(place, split)| (*split == Split::Train).then_some(place))
            .collect();
        assert_eq!(train, [0, 1, 3, 5, 7, 11]);
    }

    #[test]
    fn few_names_can_be_split() {
        assert!(split_classes_in_half::<&str>(&[]).is_empty());
        assert_eq!(split_classes_in_half(&["a"]), [Split::Train]);
        assert_eq!(
            split_classes_in_half(&["a", "a"]),
            [Split::Train, Split::Train]
        );
    }

    proptest! {
        #[test]
        fn half_of_the_names_train_whatever_their_order(
            names in prop::collection::btree_set("[a-z]{0,6}", 0..40),
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let splits = split_classes_in_half(&names);
            let train = splits.iter().filter(|split| **split == Split::Train).count();
            prop_assert_eq!(train, names.len().div_ceil(2));

            let reversed: Vec<&String> = names.iter().rev().collect();
            let of_reversed = split_classes_in_half(&reversed);
            prop_assert!(of_reversed.iter().eq(splits.iter().rev()));
        }
    }
}
