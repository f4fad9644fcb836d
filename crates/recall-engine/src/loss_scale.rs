//! What gradients are multiplied by on their way back through a backbone in `f16`.

use crate::{LossScaling, Precision};

/// The scale of the first step, what it is multiplied by, and after how many steps without an overflow it grows:
/// those of PyTorch's `GradScaler`.
const FIRST: f32 = 65_536.0;
const GROWTH: f32 = 2.0;
const BACKOFF: f32 = 0.5;
const INTERVAL: u64 = 2000;

/// Where it stops to grow: gradients that vanish even so are zero, and would let it grow to infinity.
const MOST: f32 = (1_u32 << 30) as f32;

/// Gradients of activations are small, and `f16` ends at 6·10⁻⁸: they are computed as those of a loss that is so
/// many times as large. The scale is a power of two, so no bit changes but where numbers would have been too small.
///
/// Where one of them comes out too large, the step is not taken and the scale is halved; after 2,000 steps without
/// that it is doubled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LossScale {
    pub factor: f32,
    /// Steps since it was changed.
    pub good: u64,
    /// Steps that were not taken.
    pub overflows: u64,
}

impl LossScale {
    /// That of a run in this precision, if it has one: `bf16` has the range of `f32`.
    pub fn of(precision: Precision) -> Option<Self> {
        (precision == Precision::F16).then_some(Self {
            factor: FIRST,
            good: 0,
            overflows: 0,
        })
    }

    /// Takes note of a step that was computed with it, and whether a gradient came out too large. None if it
    /// cannot be lowered any more: then it is not the scale that is at fault.
    pub fn after_step(&mut self, overflowed: bool) -> Option<LossScaling> {
        let used = self.factor;
        if overflowed {
            if used * BACKOFF < 1.0 {
                return None;
            }
            self.factor *= BACKOFF;
            self.good = 0;
            self.overflows += 1;
        } else {
            self.good += 1;
            if self.good == INTERVAL {
                self.factor = (used * GROWTH).min(MOST);
                self.good = 0;
            }
        }
        Some(LossScaling {
            scale: f64::from(used),
            overflowed,
            overflows: self.overflows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_at_once_and_rises_slowly() {
        let mut scale = LossScale::of(Precision::F16).unwrap();
        assert_eq!(scale.factor, 65_536.0);
        assert!(scale.after_step(true).unwrap().overflowed);
        assert_eq!((scale.factor, scale.overflows), (32_768.0, 1));
        for _ in 0..1999 {
            assert_eq!(scale.after_step(false).unwrap().scale, 32_768.0);
        }
        assert_eq!(scale.factor, 32_768.0);
        scale.after_step(false);
        assert_eq!((scale.factor, scale.good), (65_536.0, 0));
        // An overflow begins the count anew.
        for _ in 0..1999 {
            scale.after_step(false);
        }
        scale.after_step(true);
        scale.after_step(false);
        assert_eq!((scale.factor, scale.good), (32_768.0, 1));
    }

    #[test]
    fn it_ends_at_one_and_does_not_grow_for_ever() {
        let mut scale = LossScale::of(Precision::F16).unwrap();
        for _ in 0..16 {
            assert!(scale.after_step(true).is_some());
        }
        assert_eq!(scale.factor, 1.0);
        let before = scale.clone();
        assert_eq!(scale.after_step(true), None);
        assert_eq!(scale, before);
        for _ in 0..100 * INTERVAL {
            scale.after_step(false);
        }
        assert_eq!(scale.factor, MOST);
    }

    #[test]
    fn it_is_of_f16_alone() {
        assert!(LossScale::of(Precision::F32).is_none());
        assert!(LossScale::of(Precision::Bf16).is_none());
    }
}
