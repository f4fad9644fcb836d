//! A long line drawn with few points.

/// At most four points for each of `columns` stretches of x: where the line enters, its lowest and
/// highest point, and where it leaves, so that a drawing no wider than `columns` pixels looks the
/// same. `points` ascend in x and so does the result.
pub(super) fn thin(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    if points.len() <= 4 * columns.max(1) {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(4 * columns);
    for stretch in stretches(points, columns) {
        let last = stretch.len() - 1;
        let by_y = |&a: &usize, &b: &usize| stretch[a].1.total_cmp(&stretch[b].1);
        let lowest = (0..=last).min_by(by_y).unwrap_or(0);
        let highest = (0..=last).max_by(by_y).unwrap_or(0);
        let mut places = [0, lowest, highest, last];
        places.sort_unstable();
        for (at, &place) in places.iter().enumerate() {
            if at == 0 || places[at - 1] != place {
                kept.push(stretch[place]);
            }
        }
    }
    kept
}

/// The mean point of each of `columns` stretches of x: where a noisy line is heading.
pub(super) fn means(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    let mean = |stretch: &[(f64, f64)]| {
        let n = stretch.len() as f64;
        let (x, y) = stretch
            .iter()
            .fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / n, sum.1 + p.1 / n));
        (x, y)
    };
    stretches(points, columns).map(mean).collect()
}

/// `points` cut where x passes into the next of `columns` equal stretches; none is empty.
fn stretches(points: &[(f64, f64)], columns: usize) -> impl Iterator<Item = &[(f64, f64)]> {
    let first = points.first().map_or(0.0, |p| p.0);
    let span = points.last().map_or(0.0, |p| p.0) - first;
    let column = move |x: f64| {
        if span > 0.0 {
            ((x - first) / span * columns as f64) as usize
        } else {
            0
        }
    };
    let last = columns.saturating_sub(1);
    points.chunk_by(move |a, b| column(a.0).min(last) == column(b.0).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<(f64, f64)> {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64
        };
        (0..count).map(|x| (x as f64, next())).collect()
    }

    #[test]
    fn extremes_and_ends_survive() {
        let mut points = noise(20_000);
        points[12_345].1 = 1e12;
        points[777].1 = -1e12;
        let kept = thin(&points, 300);
        assert!(kept.len() <= 1200);
        assert!(kept.contains(&points[12_345]) && kept.contains(&points[777]));
        assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_short_line_stays_as_it_is() {
        for count in [0, 1, 2, 1200] {
            assert_eq!(thin(&noise(count), 300), noise(count));
        }
    }

    #[test]
    fn one_place_for_all_points() {
        let points: Vec<_> = (0..5000).map(|y| (3.0, f64::from(y))).collect();
        assert_eq!(thin(&points, 300), [(3.0, 0.0), (3.0, 4999.0)]);
        let mean = means(&points, 60);
        assert!(mean.len() == 1 && (mean[0].0 - 3.0).abs() + (mean[0].1 - 2499.5).abs() < 1e-6);
    }

    #[test]
    fn means_follow_the_line() {
        let points: Vec<_> = (0..1000)
            .map(|x| (f64::from(x), 2.0 * f64::from(x)))
            .collect();
        let means = means(&points, 10);
        assert_eq!(means.len(), 10);
        assert!(means.iter().all(|&(x, y)| (y - 2.0 * x).abs() < 1e-6));
    }
}
