//! Similarity and id in one number that orders as rankings do.

/// An item and its similarity to a query, as a number that is smaller the earlier the item comes in
/// the ranking: by descending similarity, then by ascending id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    /// `similarity` must not be NaN. Minus zero becomes zero, so that the two are equal.
    #[inline(always)]
    pub(crate) fn new(similarity: f32, id: u32) -> Self {
        let bits = (similarity + 0.0).to_bits();
        // The bits of positive floats ascend with their values, and those of negative floats
        // descend.
        let descending = if similarity < 0.0 {
            bits
        } else {
            !bits & !SIGN
        };
        Self(u64::from(descending) << 32 | u64::from(id))
    }

    #[inline(always)]
    pub(crate) fn similarity(self) -> f32 {
        let descending = (self.0 >> 32) as u32;
        f32::from_bits(if descending & SIGN == 0 {
            !descending & !SIGN
        } else {
            descending
        })
    }

    #[inline(always)]
    pub(crate) fn id(self) -> u32 {
        self.0 as u32
    }
}

const SIGN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_order_as_rankings_do(a: f32, b: f32, i: u32, j: u32) {
            prop_assume!(a.is_finite() && b.is_finite());
            prop_assert_eq!(Key::new(a, i).similarity(), a);
            prop_assert_eq!(Key::new(a, i).id(), i);
            prop_assert_eq!(Key::new(a, i) < Key::new(b, j), a > b || a == b && i < j);
            prop_assert_eq!(Key::new(a, i) < Key::new(a, j), i < j);
            prop_assert!(Key::new(f32::NEG_INFINITY, 0) > Key::new(a, i));
        }
    }

    #[test]
    fn keys_of_the_zeros() {
        assert_eq!(Key::new(0.0, 3), Key::new(-0.0, 3));
        assert!(Key::new(f32::MIN_POSITIVE, 9) < Key::new(-0.0, 3));
        assert!(Key::new(-f32::MIN_POSITIVE, 0) > Key::new(-0.0, 3));
    }
}
