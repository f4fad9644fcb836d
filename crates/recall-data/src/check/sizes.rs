//! How many images the classes have.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Dataset, Split};

/// The smallest, the middle and the largest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: usize,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub max: usize,
}

impl Spread {
    /// `None` of no numbers.
    pub(super) fn of(mut numbers: Vec<usize>) -> Option<Self> {
        numbers.sort_unstable();
        let half = numbers.len() / 2;
        let (&min, &max) = (numbers.first()?, numbers.last()?);
        let median = match numbers.len() % 2 {
            1 => numbers[half] as f64,
            _ => (numbers[half - 1] + numbers[half]) as f64 / 2.0,
        };
        Some(Self { min, median, max })
    }
}

/// The class sizes of a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassSizes {
    /// The split.
    pub split: Split,
    /// How many classes it has.
    pub classes: usize,
    /// Their sizes, in images.
    pub images: Spread,
    /// Classes with a single image.
    pub single: usize,
    /// Classes by size: bins without gaps, from the smallest class to the largest.
    pub histogram: Vec<SizeBin>,
}

/// The classes of `from` to `to` images, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SizeBin {
    /// The smallest size.
    pub from: usize,
    /// The largest size.
    pub to: usize,
    /// How many classes there are.
    pub classes: usize,
}

impl ClassSizes {
    /// `None` of a split without images, or where classes mean nothing.
    pub(super) fn of(dataset: &Dataset, split: Split) -> Option<Self> {
        if !dataset.goes_by_classes() {
            return None;
        }
        let mut by_class: BTreeMap<u32, usize> = BTreeMap::new();
        for label in dataset.labels(dataset.split(split)) {
            *by_class.entry(label).or_default() += 1;
        }
        let sizes: Vec<usize> = by_class.into_values().collect();
        Some(Self {
            split,
            classes: sizes.len(),
            images: Spread::of(sizes.clone())?,
            single: sizes.iter().filter(|&&size| size == 1).count(),
            histogram: histogram(&sizes),
        })
    }
}

/// Bins, at most.
const BINS: usize = 12;

fn histogram(sizes: &[usize]) -> Vec<SizeBin> {
    let (Some(&min), Some(&max)) = (sizes.iter().min(), sizes.iter().max()) else {
        return Vec::new();
    };
    let mut bins: Vec<SizeBin> = edges(min, max)
        .into_iter()
        .map(|(from, to)| SizeBin {
            from,
            to,
            classes: 0,
        })
        .collect();
    for &size in sizes {
        let place = bins.partition_point(|bin| bin.to < size);
        bins[place].classes += 1;
    }
    bins
}

/// Bins of one width for sizes that are much alike, as 41 to 60; otherwise each twice as wide as the
/// one before, so that 2 and 1000 stand out from their neighbours.
fn edges(min: usize, max: usize) -> Vec<(usize, usize)> {
    let alike = max - min < BINS || max / 4 < min;
    let mut edges = Vec::new();
    if alike {
        // 1, 2, 5, 10, 20, 50 ..., aligned to their multiples.
        let widths = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power)));
        let count = |width: usize| max / width - min / width + 1;
        let width = widths
            .take(50)
            .find(|&width| count(width) <= BINS)
            .unwrap_or(usize::MAX);
        let bins = min / width..=max / width;
        edges.extend(bins.map(|bin| (bin * width, bin * width + (width - 1))));
    } else {
        // 1, 2, 3 to 4, 5 to 8, 9 to 16 ...
        let (mut from, mut to) = (min.next_power_of_two() / 2 + 1, min.next_power_of_two());
        while from <= max {
            edges.push((from, to));
            (from, to) = (to + 1, to.saturating_mul(2));
        }
    }
    // The ends are sizes that there are.
    if let Some(first) = edges.first_mut() {
        first.0 = min;
    }
    if let Some(last) = edges.last_mut() {
        last.1 = max;
    }
    edges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_alike_have_bins_of_one_width() {
        assert_eq!(edges(4, 6), [(4, 4), (5, 5), (6, 6)]);
        assert_eq!(edges(2, 12).len(), 11);
        assert_eq!(edges(7, 7), [(7, 7)]);
        let cub = edges(41, 60);
        assert_eq!((cub[0], cub[1]), ((41, 41), (42, 43)));
        assert_eq!(cub.last(), Some(&(60, 60)));
    }

    #[test]
    fn sizes_apart_have_bins_that_double() {
        assert_eq!(
            edges(1, 100),
            [
                (1, 1),
                (2, 2),
                (3, 4),
                (5, 8),
                (9, 16),
                (17, 32),
                (33, 64),
                (65, 100)
            ]
        );
        assert_eq!(edges(3, 20), [(3, 4), (5, 8), (9, 16), (17, 20)]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = |numbers: &[usize]| Spread::of(numbers.to_vec()).map(|spread| spread.median);
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[5, 1, 2]), Some(2.0));
        assert_eq!(spread(&[5, 1, 2, 3]), Some(2.5));
    }

    proptest! {
        #[test]
        fn every_class_is_in_one_bin(sizes in prop::collection::vec(1_usize..5000, 1..60)) {
            let bins = histogram(&sizes);
            prop_assert_eq!(bins.iter().map(|bin| bin.classes).sum::<usize>(), sizes.len());
            prop_assert!(bins.iter().all(|bin| bin.from <= bin.to));
            prop_assert!(bins.windows(2).all(|pair| pair[0].to + 1 == pair[1].from));
            prop_assert!(bins.len() <= 14);
        }
    }
}
