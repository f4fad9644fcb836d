//! What happens to each row.

use pulp::{Arch, WithSimd};

use super::arithmetic::lanes;
use super::few::{self, Few};
use super::row_loss::{Chosen, Measure, RowLoss, Term};
use super::sides::{Sides, Squares};

/// Visits rows of products in vector instructions.
pub(super) struct Turn<'a, L: RowLoss> {
    loss: &'a L,
    sides: &'a Sides<'a>,
    squares: Option<Squares>,
    arch: Arch,
}

/// What a row came to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub term: Term,
    /// The sum of its derivatives, where distances need it.
    pub sum: f32,
    /// How many derivatives are not zero.
    pub count: usize,
    /// These few, if the loss has chosen them.
    pub chosen: Option<Chosen>,
}

impl<'a, L: RowLoss> Turn<'a, L> {
    pub fn new(loss: &'a L, sides: &'a Sides<'a>) -> Self {
        let squares = L::MEASURE == Measure::SquaredDistance;
        Self {
            loss,
            sides,
            squares: squares.then(|| Squares::new(sides)),
            arch: Arch::new(),
        }
    }

    /// Turns a row of products into what the loss wants of them, and has it looked at.
    pub fn look(&self, index: usize, row: &mut [f32]) -> L::Note {
        self.arch.dispatch(Look {
            turn: self,
            index,
            row,
        })
    }

    /// Turns a row into derivatives: one of products or, if it was [looked](Self::look) at, of what the loss wants.
    pub fn take(&self, whole: &L::Whole, index: usize, looked: bool, row: &mut [f32]) -> Outcome {
        self.arch.dispatch(Take {
            turn: self,
            whole,
            index,
            looked,
            row,
        })
    }

    #[inline(always)]
    fn measure(&self, index: usize, row: &mut [f32]) {
        if let Some(squares) = &self.squares {
            squares.distances(self.sides, index, &self.sides.places.rows[index], row);
        }
    }
}

struct Look<'a, L: RowLoss> {
    turn: &'a Turn<'a, L>,
    index: usize,
    row: &'a mut [f32],
}

impl<L: RowLoss> WithSimd for Look<'_, L> {
    type Output = L::Note;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> L::Note {
        let Self { turn, index, row } = self;
        turn.measure(index, row);
        turn.loss.look(index, &turn.sides.places.rows[index], row)
    }
}

struct Take<'a, L: RowLoss> {
    turn: &'a Turn<'a, L>,
    whole: &'a L::Whole,
    index: usize,
    looked: bool,
    row: &'a mut [f32],
}

impl<L: RowLoss> WithSimd for Take<'_, L> {
    type Output = Outcome;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Outcome {
        let (turn, index, row) = (self.turn, self.index, self.row);
        let place = &turn.sides.places.rows[index];
        if !self.looked {
            turn.measure(index, row);
        }
        let mut chosen = Chosen::new();
        if let Some(term) = turn.loss.choice(place, row, &mut chosen) {
            return Outcome {
                term,
                sum: chosen.iter().map(|&(_, x)| x).sum(),
                count: chosen.len(),
                chosen: Some(chosen),
            };
        }
        let term = turn.loss.term(self.whole, index, place, row);
        Outcome {
            term,
            sum: match L::MEASURE {
                Measure::Similarity => 0.0,
                Measure::SquaredDistance => lanes(row, |x| x) as f32,
            },
            count: few::count(row),
            chosen: None,
        }
    }
}

impl Outcome {
    /// The terms of all rows together.
    pub fn total(outcomes: &[Self]) -> Term {
        let terms = outcomes.iter().map(|outcome| &outcome.term);
        terms.fold(Term::default(), |sum, term| sum.plus(term))
    }

    /// Whether the derivatives that are not zero are few.
    pub fn are_few(outcomes: &[Self], columns: usize) -> bool {
        let counted = outcomes.iter().map(|of| of.count).sum::<usize>();
        outcomes.iter().all(|of| of.chosen.is_some()) || Few::are(counted, outcomes.len() * columns)
    }

    /// Takes the few derivatives out of rows, if they are few; none if they are many. What pulls by few derivatives needs no
    /// sum of them.
    pub fn few(outcomes: &mut [Self], rows: &[f32], columns: usize) -> Option<Few> {
        if !Self::are_few(outcomes, columns) {
            return None;
        }
        let rows = rows.chunks(columns.max(1));
        let of_row = |(outcome, row): (&mut Self, &[f32])| {
            outcome.sum = 0.0;
            let chosen = outcome.chosen.take();
            chosen.unwrap_or_else(|| Few::of_row(row))
        };
        Some(Few(outcomes.iter_mut().zip(rows).map(of_row).collect()))
    }
}
