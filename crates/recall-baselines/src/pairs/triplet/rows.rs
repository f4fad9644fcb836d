//! Triplets row by row: the positives of a row are sorted, and each negative looked up among them.

use std::ops::Range;

use super::{Triplet, TripletMining};
use crate::Places;
use crate::rows::{
    Chosen, Found, LANES, Measure, Place, RowLoss, Sides, Term, greatest, log1p_exp, walk,
};

/// Up to as many positives each negative is compared with all of them, in vector instructions.
const FEW: usize = 16;

impl RowLoss for Triplet {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::SquaredDistance;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        self.mined(places)
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        if place.positive_count() == 0 || place.negative_count(row.len()) == 0 {
            row.fill(0.0);
            return Term::default();
        }
        if !self.0.squared {
            for square in row.iter_mut() {
                *square = square.sqrt();
            }
        }
        self.windows(place, row)
    }

    #[inline(always)]
    fn choice(&self, place: &Place, squares: &[f32], chosen: &mut Chosen) -> Option<Term> {
        let chooses = self.0.chooses();
        chooses.then(|| self.choose(place, squares, chosen))
    }

    fn scale(&self, mined: &f64, counted: u64) -> f64 {
        match self.counts() {
            true => 1.0 / counted.max(1) as f64,
            false => 1.0 / mined,
        }
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

impl Triplet {
    /// What the derivative with respect to a distance is with respect to its square, if the loss is of distances.
    #[inline(always)]
    fn slope(&self, weight: f32, distance: f32) -> f32 {
        let halved = 0.5 * weight / distance;
        if self.0.squared {
            weight
        } else if distance > 0.0 {
            halved
        } else {
            0.0
        }
    }

    /// The term of the chosen triplets of a row of squared distances, whose order is that of distances.
    #[inline(always)]
    fn choose(&self, place: &Place, squares: &[f32], chosen: &mut Chosen) -> Term {
        let mut term = Term::default();
        for [positive, negative] in self.chosen(place, squares) {
            let [near, far] = [positive, negative].map(|column| match self.0.squared {
                true => squares[column],
                false => squares[column].sqrt(),
            });
            let gap = f64::from(near) - f64::from(far);
            let (value, weight) = match self.0.soft {
                true => (log1p_exp(gap), (1.0 / (1.0 + (-gap).exp())) as f32),
                false => {
                    let value = (gap + self.0.margin).max(0.0);
                    (value, f32::from(value > 0.0))
                }
            };
            term.value += value;
            term.counted += u64::from(value > 0.0);
            if weight > 0.0 {
                chosen.push((positive, self.slope(weight, near)));
                chosen.push((negative, -self.slope(weight, far)));
            }
        }
        term
    }

    /// The columns of the chosen positives and their negatives in a row of distances, or of
    /// their squares.
    #[inline(always)]
    pub(super) fn chosen(&self, place: &Place, row: &[f32]) -> Vec<[usize; 2]> {
        let negatives = place.negatives(row.len());
        if place.positive_count() == 0 || place.negative_count(row.len()) == 0 {
            return Vec::new();
        }
        if self.0.mining == TripletMining::BatchHard {
            let positives = place.positives();
            let farthest = positives.max_by(|&a, &b| row[a].total_cmp(&row[b]));
            let nearest = greatest_column(&negatives, row, |x| -x);
            return farthest.zip(nearest).map(Into::into).into_iter().collect();
        }
        let Some(farthest) = greatest_column(&negatives, row, |x| x) else {
            return Vec::new();
        };
        if place.positive_count() > FEW {
            return nearest_of_many(place, row, farthest);
        }
        let nearest = |positive: usize| {
            let distance = row[positive];
            let farther = |x: f32| if x > distance { -x } else { f32::MIN };
            greatest_column(&negatives, row, farther).unwrap_or(farthest)
        };
        let positives = place.positives();
        positives
            .map(|positive| [positive, nearest(positive)])
            .collect()
    }

    /// The distances of negatives that make a triplet with a positive of a distance: from one up to another.
    fn window(&self, positive: f32) -> [f32; 2] {
        let short = positive + self.0.margin as f32;
        match self.0.mining {
            TripletMining::SemihardWindow => {
                let start = positive.next_up();
                [start, short.max(start)]
            }
            TripletMining::HardWindow => [f32::MIN, positive.next_up().min(short)],
            _ => [f32::MIN, short],
        }
    }

    #[inline(always)]
    fn windows(&self, place: &Place, row: &mut [f32]) -> Term {
        let mut positives: Vec<usize> = place.positives().collect();
        positives.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]));
        let windows = positives.iter().map(|&column| self.window(row[column]));
        let windows: Vec<[f32; 2]> = windows.collect();
        let mut counts = vec![0.0; positives.len()];
        let mut taken = 0.0;
        for range in place.negatives(row.len()) {
            taken += match windows.len() <= FEW {
                true => self.few(&mut row[range], &windows, &mut counts),
                false => self.many(&mut row[range], &windows, &mut counts),
            };
        }
        let mut term = Term::of(-taken);
        if let Some(own) = place.own {
            row[own] = 0.0;
        }
        for (&column, count) in positives.iter().zip(counts) {
            let distance = row[column];
            term.value += count * (f64::from(distance) + self.0.margin);
            term.counted += count as u64;
            row[column] = self.slope(count as f32, distance);
        }
        term
    }

    /// Turns distances of negatives into derivatives: each is in as many triplets as windows hold it. Adds to
    /// the counts of the windows and returns the sum of all their distances.
    #[inline(always)]
    fn few(&self, negatives: &mut [f32], windows: &[[f32; 2]], counts: &mut [f64]) -> f64 {
        let mut held = [[0.0f32; LANES]; FEW];
        let mut sums = [0.0f64; LANES];
        let (whole, rest) = negatives.as_chunks_mut::<LANES>();
        for lane in whole {
            self.turn(lane, windows, &mut held, &mut sums);
        }
        // What fills the last lanes is beyond all windows.
        let mut last = [f32::MAX; LANES];
        last[..rest.len()].copy_from_slice(rest);
        self.turn(&mut last, windows, &mut held, &mut sums);
        rest.copy_from_slice(&last[..rest.len()]);
        for (count, held) in counts.iter_mut().zip(held) {
            *count += held.iter().map(|&count| f64::from(count)).sum::<f64>();
        }
        sums.iter().sum()
    }

    /// One step of this: a lane of distances becomes derivatives.
    #[inline(always)]
    fn turn(
        &self,
        lane: &mut [f32; LANES],
        windows: &[[f32; 2]],
        held: &mut [[f32; LANES]; FEW],
        sums: &mut [f64; LANES],
    ) {
        let mut weights = [0.0f32; LANES];
        for (&[start, end], held) in windows.iter().zip(held) {
            for at in 0..LANES {
                let inside = f32::from((lane[at] >= start) & (lane[at] < end));
                weights[at] += inside;
                held[at] += inside;
            }
        }
        for at in 0..LANES {
            sums[at] += f64::from(weights[at]) * f64::from(lane[at]);
            lane[at] = self.slope(-weights[at], lane[at]);
        }
    }

    /// The same for windows in the order of their starts, which is that of their ends: those that hold a number
    /// are neighbours, so two searches find them.
    #[inline(always)]
    fn many(&self, negatives: &mut [f32], windows: &[[f32; 2]], counts: &mut [f64]) -> f64 {
        let mut steps = vec![0.0; windows.len() + 1];
        let mut sum = 0.0;
        for x in negatives {
            let first = windows.partition_point(|window| window[1] <= *x);
            let end = windows.partition_point(|window| window[0] <= *x);
            steps[first] += 1.0;
            steps[end] -= 1.0;
            let weight = (end - first) as f32;
            sum += f64::from(weight) * f64::from(*x);
            *x = self.slope(-weight, *x);
        }
        let mut held = 0.0;
        for (count, step) in counts.iter_mut().zip(steps) {
            held += step;
            *count += held;
        }
        sum
    }
}

/// The column within the ranges whose `of(x)` is the greatest, if that is above the least number.
#[inline(always)]
fn greatest_column(
    ranges: &[Range<usize>; 2],
    row: &[f32],
    of: impl Fn(f32) -> f32,
) -> Option<usize> {
    let values = ranges.clone().map(|range| greatest(&row[range], &of));
    let (range, value) = match values[0] >= values[1] {
        true => (ranges[0].clone(), values[0]),
        false => (ranges[1].clone(), values[1]),
    };
    let start = range.start;
    // A search that may end at each value is no vector instruction: first the part, then the place in it.
    const PART: usize = 128;
    let found = |x: f32| of(x) == value;
    let has = |part: &[f32]| part.iter().fold(false, |any, &x| any | found(x));
    let mut parts = row[range].chunks(PART).enumerate();
    let (part, values) = parts.find(|(_, values)| has(values))?;
    let at = values.iter().position(|&x| found(x))?;
    (value > f32::MIN).then_some(start + part * PART + at)
}

/// The nearest farther negative of each positive, else the farthest one. Each negative is looked up once among
/// the positives, however many these are.
fn nearest_of_many(place: &Place, row: &[f32], farthest: usize) -> Vec<[usize; 2]> {
    let mut positives: Vec<usize> = place.positives().collect();
    positives.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]));
    // The nearest of those that are farther than so many positives.
    let mut nearest: Vec<Option<usize>> = vec![None; positives.len() + 1];
    let nearer = |a: Option<usize>, b: Option<usize>| match (a, b) {
        (Some(a), Some(b)) => Some(if row[b] < row[a] { b } else { a }),
        _ => a.or(b),
    };
    for column in place.negatives(row.len()).into_iter().flatten() {
        let passed = positives.partition_point(|&positive| row[positive] < row[column]);
        nearest[passed] = nearer(nearest[passed], Some(column));
    }
    let mut best = None;
    let pairs = positives.iter().zip(&nearest[1..]).rev();
    pairs
        .map(|(&positive, &negative)| {
            best = nearer(best, negative);
            [positive, best.unwrap_or(farthest)]
        })
        .collect()
}
