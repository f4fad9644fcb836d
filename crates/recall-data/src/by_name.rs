//! Which part a class is in where nothing says so: by a hash of its name against a threshold.
//!
//! A class is on its side whatever other classes there are, so a data set that grows moves none of them
//! from training to testing: what a model has trained on stays apart from what it is judged by. Only
//! in very small sets does the place of the threshold give way, so that no side is left empty.

use crate::Split;

/// The fewest classes on either side, where there are enough for both: with a single class there is
/// nothing to tell apart.
const FEWEST: usize = 2;

/// Splits classes where a data set does not say: those whose hash is in its lower half train, the
/// others test. Returns the split of each name, in the order of `names`.
///
/// A class's split depends on its own name alone: without seed, the same on every machine, and the same
/// when classes are added or taken away. The exception are sets so small that a side has fewer than two
/// classes (or fewer than one, of two or three classes): there those nearest to the threshold move over.
/// A single class trains.
///
/// ```
/// use recall_data::split_by_name;
///
/// let few = ["chair", "lamp", "table", "vase", "clock", "bed", "desk", "shelf"];
/// let more = [&few[..], &["rug", "stool", "mirror", "sofa"]].concat();
/// assert_eq!(split_by_name(&few), split_by_name(&more)[..few.len()]);
/// ```
pub fn split_by_name<S: AsRef<str>>(names: &[S]) -> Vec<Split> {
    let ordered = Ordered::new(names.iter().map(AsRef::as_ref), name_hash);
    let count = ordered.names.len();
    let fewest = FEWEST.min(count / 2);
    let train = ordered
        .below(1 << 63)
        .clamp(fewest.max(count.min(1)), count - fewest);
    let split = |name: &str| match ordered.place(name, name_hash) < train {
        true => Split::Train,
        false => Split::Test,
    };
    names.iter().map(|name| split(name.as_ref())).collect()
}

/// Of `names` those that are held out, about the share `share` of them, by another hash than that of
/// [`split_by_name`]; `has_pair` says of which classes two images are there.
///
/// None where that share comes to fewer than two, or where no class has a pair.
pub(crate) fn held_out<'a>(
    names: &[&'a str],
    share: f64,
    has_pair: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let ordered = Ordered::new(names.iter().copied(), held_out_hash);
    let count = ordered.names.len();
    if (share * count as f64).round() < FEWEST as f64 || count <= FEWEST {
        return Vec::new();
    }
    // Casts saturate: what is 1 or more lets nothing through.
    let threshold = ((1.0 - share) * 2_f64.powi(64)) as u64;
    let mut kept = ordered.below(threshold).clamp(1, count - FEWEST);
    while !ordered.names[kept..]
        .iter()
        .any(|&(_, name)| has_pair(name))
    {
        kept -= 1;
        if kept == 0 {
            return Vec::new();
        }
    }
    let held_out = &ordered.names[kept..];
    held_out.iter().map(|&(_, name)| name).collect()
}

/// Different names in the order of their hashes.
struct Ordered<'a> {
    names: Vec<(u64, &'a str)>,
}

impl<'a> Ordered<'a> {
    fn new(names: impl Iterator<Item = &'a str>, hash: fn(&str) -> u64) -> Self {
        let mut names: Vec<(u64, &str)> = names.map(|name| (hash(name), name)).collect();
        names.sort_unstable();
        names.dedup();
        Self { names }
    }

    /// How many hashes are less.
    fn below(&self, threshold: u64) -> usize {
        self.names.partition_point(|&(hash, _)| hash < threshold)
    }

    fn place(&self, name: &str, hash: fn(&str) -> u64) -> usize {
        let wanted = (hash(name), name);
        self.names.partition_point(|&of| of < wanted)
    }
}

/// The hash that [`split_by_name`] goes by: FNV-1a over the UTF-8 bytes followed by the finaliser of
/// SplitMix64. It scatters names that follow one another, such as the makes of `audi-a4`, `audi-a6`.
pub fn name_hash(name: &str) -> u64 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    finalise(fnv)
}

/// Says nothing about [`name_hash`]: what is held out of training is a fair sample of it.
fn held_out_hash(name: &str) -> u64 {
    finalise(name_hash(name).wrapping_add(0x9e37_79b9_7f4a_7c15))
}

fn finalise(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbered(count: usize) -> Vec<String> {
        (0..count).map(|name| format!("class-{name}")).collect()
    }

    fn of_split(names: &[String], wanted: Split) -> BTreeSet<&str> {
        let splits = split_by_name(names);
        let chosen = names
            .iter()
            .zip(splits)
            .filter(|(_, split)| *split == wanted);
        chosen.map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn the_split_of_a_class_stays_what_it_was() {
        // A split that changed with a version would make old numbers incomparable.
        let names = numbered(12);
        let train = of_split(&names, Split::Train);
        assert_eq!(
            train,
            BTreeSet::from(["class-1", "class-3", "class-5", "class-11"])
        );
    }

    #[test]
    fn few_names_can_be_split() {
        assert!(split_by_name::<&str>(&[]).is_empty());
        assert_eq!(split_by_name(&["a"]), [Split::Train]);
        assert_eq!(split_by_name(&["a", "a"]), [Split::Train, Split::Train]);
        // The hashes of all four are in the lower half; those of c and d are the highest.
        let halves = [Split::Train, Split::Train, Split::Test, Split::Test];
        assert_eq!(split_by_name(&["a", "b", "c", "d"]), halves);
        let two = split_by_name(&["a", "b"]);
        assert_eq!(two, [Split::Train, Split::Test]);
    }

    #[test]
    fn about_as_many_as_asked_for_are_held_out() {
        let names = numbered(5_000);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let held = held_out(&names, 0.1, |_| true).len();
        assert!((450..550).contains(&held), "{held}");
        let train = split_by_name(&names);
        let train = train.iter().filter(|split| **split == Split::Train).count();
        assert!((2_400..2_600).contains(&train), "{train}");
        // Held out of training classes as of all: the hashes are independent.
        let train: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| name_hash(name) < 1 << 63)
            .collect();
        let of_train = held_out(&train, 0.1, |_| true).len();
        assert!((200..300).contains(&of_train), "{of_train}");
    }

    proptest! {
        #[test]
        fn a_class_does_not_move_when_others_come(
            names in prop::collection::btree_set("[a-z]{1,6}", 40..80),
            more in prop::collection::btree_set("[a-z]{1,6}", 0..40),
        ) {
            let few: Vec<String> = names.iter().cloned().collect();
            let all: Vec<String> = names.union(&more).cloned().collect();
            let (train, of_all) = (of_split(&few, Split::Train), of_split(&all, Split::Train));
            prop_assert!(train.is_subset(&of_all));
            let is_old = |name: &&&str| names.contains(**name);
            prop_assert_eq!(of_all.iter().filter(is_old).count(), train.len());

            let held = |names: &[String]| -> BTreeSet<String> {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                held_out(&names, 0.5, |_| true).into_iter().map(str::to_owned).collect()
            };
            let (few, all) = (held(&few), held(&all));
            prop_assert!(all.iter().filter(|name| names.contains(*name)).eq(few.iter()));
        }

        #[test]
        fn no_side_is_empty(names in prop::collection::btree_set("[a-z]{0,6}", 2..12)) {
            let names: Vec<String> = names.into_iter().collect();
            let train = of_split(&names, Split::Train).len();
            let fewest = 2.min(names.len() / 2);
            prop_assert!((fewest..=names.len() - fewest).contains(&train));
        }
    }
}
