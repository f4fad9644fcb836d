//! Scores of single or double precision.

/// A score: rows on the host are in single precision, scores of the caller and other backends' in double.
pub(super) trait Score: Copy {
    fn of(value: f64) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn above(&self, other: &Self) -> bool;
    fn order(&self, other: &Self) -> std::cmp::Ordering;
}

impl Score for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn minus(self, other: Self) -> Self {
        self - other
    }
    fn above(&self, other: &Self) -> bool {
        self > other
    }
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.total_cmp(other)
    }
}

impl Score for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn minus(self, other: Self) -> Self {
        self - other
    }
    fn above(&self, other: &Self) -> bool {
        self > other
    }
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.total_cmp(other)
    }
}
