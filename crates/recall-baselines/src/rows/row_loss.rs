//! What a loss is that is a sum over rows.

use super::places::{Place, Places};
use super::sides::{Found, Sides};

/// What a row has of each column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The dot product.
    Similarity,
    /// The squared distance.
    SquaredDistance,
}

/// A loss that is a sum over rows.
pub(crate) trait RowLoss: Sync + Sized {
    /// What a first look at a row notes; `()` for losses that do without.
    type Note: Send + Default;
    /// What follows from the notes of all rows, in their order.
    type Whole: Sync;

    /// What rows hold.
    const MEASURE: Measure;
    /// Whether there is a first look. It costs a matrix product where the whole matrix is not kept.
    const LOOKS: bool;

    /// Looks at a row; never called unless the loss [`LOOKS`](Self::LOOKS).
    #[inline(always)]
    fn look(&self, _index: usize, _place: &Place, _row: &[f32]) -> Self::Note {
        Self::Note::default()
    }

    /// Puts the notes together; there are none unless the loss [`LOOKS`](Self::LOOKS).
    fn whole(&self, notes: Vec<Self::Note>, places: &Places) -> Self::Whole;

    /// The term of a row, each of whose values becomes the derivative of the term with respect to it.
    fn term(&self, whole: &Self::Whole, index: usize, place: &Place, row: &mut [f32]) -> Term;

    /// The same for a loss that has chosen a few columns of the row: adds these and their derivatives to `chosen`, and
    /// leaves the row. None for all others, who are asked for the [`term`](Self::term).
    #[inline(always)]
    fn choice(&self, _place: &Place, _row: &[f32], _chosen: &mut Chosen) -> Option<Term> {
        None
    }

    /// What the sum of all terms is multiplied by, when `counted` is the sum of what they count.
    fn scale(&self, whole: &Self::Whole, counted: u64) -> f64;

    /// Visits all rows; a call of [`walk`](super::walk). It stands with each loss because a function without type
    /// parameters is compiled, and optimised, with this crate, whatever crate the backend comes from.
    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found;
}

/// Columns of a row and the derivatives with respect to their values.
pub(crate) type Chosen = Vec<(usize, f32)>;

/// The term of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Term {
    /// Its value.
    pub value: f64,
    /// What it counts, such as the comparisons that are not zero.
    pub counted: u64,
    /// Its derivative with respect to half the squared length of the row's query, where it depends on that beside
    /// the row.
    pub along: f32,
}

impl Term {
    /// A term that is nothing but a value.
    pub fn of(value: f64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    pub fn plus(self, other: &Self) -> Self {
        Self {
            value: self.value + other.value,
            counted: self.counted + other.counted,
            along: 0.0,
        }
    }
}
