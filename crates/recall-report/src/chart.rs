//! A chart: where its lines, marks and words go. `page.html` draws what is laid out here.

use minijinja::{Value, context};

use super::axis::Axis;
use super::thin::{means, thin};
use super::{Curve, Series, number};

pub(super) const WIDTH: f64 = 400.0;
pub(super) const HEIGHT: f64 = 230.0;
pub(super) const TOP: f64 = 10.0;
pub(super) const BOTTOM: f64 = HEIGHT - 26.0;
/// About the width of a character of the charts' type.
pub(super) const CHARACTER: f64 = 6.3;
/// The least distance between the base lines of two labels.
const LINE: f64 = 14.0;
/// Where a name is longer, names stand below the chart instead of beside its lines.
const NAME: usize = 16;
/// Colours that the page has for lines.
const COLOURS: usize = 6;
/// A longer line that goes up and down is drawn faint, with its means on top.
const LONG: usize = 400;
/// Stretches that the means are taken over.
const MEANS: usize = 60;
/// Places along x that can be read out.
const SLOTS: usize = 80;

/// Largest magnitude drawn: differences of two such numbers are still finite.
const LIMIT: f64 = 1e300;

/// What the page needs to draw a curve.
pub(super) fn lay_out(curve: &Curve) -> Value {
    let lines: Vec<Line<'_>> = curve.series.iter().enumerate().map(Line::new).collect();
    let all = || lines.iter().flat_map(Line::drawn);
    let whole = all().all(|p| p.0.fract() == 0.0);
    let left_out: usize = lines
        .iter()
        .map(|line| line.series.points.len() - line.points.len())
        .sum();
    let (Some(x), Some(y)) = (
        Axis::over(all().map(|p| p.0), 5),
        Axis::over(all().map(|p| p.1), 4),
    ) else {
        return context! { title => curve.title.as_str(), y => curve.y.as_str(), left_out, empty => true };
    };
    let x = if whole { x.whole() } else { x };
    let y = match curve.shares {
        true => y.rounded().within(0.0, 1.0),
        false => y.rounded(),
    };

    // One line needs no name: the title says what it is.
    let named: Vec<&Line<'_>> = lines
        .iter()
        .filter(|line| lines.len() > 1 && !line.points.is_empty())
        .collect();
    let length = |line: &&Line<'_>| line.series.name.chars().count();
    let longest_name = named.iter().map(length).max().unwrap_or(0);
    let (beside, below) = match longest_name > NAME {
        true => (Vec::new(), named),
        false => (named, Vec::new()),
    };
    let ticks = y.ticks();
    let longest_tick = ticks
        .iter()
        .map(|&t| y.label(t).chars().count())
        .max()
        .unwrap_or(0);
    let frame = Frame {
        left: 10.0 + CHARACTER * longest_tick as f64,
        right: WIDTH
            - if beside.is_empty() {
                12.0
            } else {
                20.0 + 1.08 * CHARACTER * longest_name as f64
            },
        x,
        y,
        whole,
    };

    let drawn: Vec<Value> = lines.iter().map(|line| line.draw(&frame)).collect();
    context! {
        title => curve.title.as_str(),
        x => curve.x.as_str(),
        y => curve.y.as_str(),
        width => WIDTH,
        height => HEIGHT,
        top => TOP,
        bottom => BOTTOM,
        left => pixels(frame.left),
        right => pixels(frame.right),
        y_ticks => ticks.iter().map(|&t| tick(frame.place_y(t), y.label(t))).collect::<Vec<_>>(),
        x_ticks => x_ticks(curve, &frame),
        lines => drawn,
        labels => labels(&beside, &frame),
        legend => below.iter().map(|line| line.key()).collect::<Vec<_>>(),
        several => lines.len() > 1,
        slots => slots(curve, &lines, &frame),
        summary => summary(curve, &lines),
        noisy => lines.iter().any(|line| line.means.is_some()),
        averaged => lines.iter().any(|line| !line.parts.is_empty()),
        left_out,
    }
}

/// What stands along x: the marks of the curve, or round numbers.
fn x_ticks(curve: &Curve, frame: &Frame) -> Vec<Value> {
    let place = |x| frame.place_x(x);
    match curve.marks.is_empty() {
        true => (frame.x.ticks().into_iter())
            .map(|x| tick(place(x), frame.x.label(x)))
            .collect(),
        false => (curve.marks.iter())
            .map(|(x, name)| tick(place(*x), name.clone()))
            .collect(),
    }
}

/// Where the plot lies on the drawing and what it covers.
struct Frame {
    left: f64,
    right: f64,
    x: Axis,
    y: Axis,
    /// Whether x counts something.
    whole: bool,
}

impl Frame {
    fn place_x(&self, x: f64) -> f64 {
        self.left + self.x.share(x) * (self.right - self.left)
    }

    fn place_y(&self, y: f64) -> f64 {
        BOTTOM - self.y.share(y) * (BOTTOM - TOP)
    }

    fn name_x(&self, curve: &Curve, x: f64) -> String {
        if let Some((_, name)) = curve.marks.iter().find(|(place, _)| *place == x) {
            return name.clone();
        }
        // A mean of epochs may lie between two.
        number::significant(if self.whole { x.round() } else { x }, 7)
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let place = |(at, &(x, y)): (usize, &(f64, f64))| {
            let command = if at == 0 { "M" } else { "L" };
            format!(
                "{command}{} {}",
                pixels(self.place_x(x)),
                pixels(self.place_y(y))
            )
        };
        points.iter().enumerate().map(place).collect()
    }
}

/// A series with the points that can be drawn, in order.
struct Line<'a> {
    series: &'a Series,
    colour: usize,
    /// Beyond the last colour they begin again, broken.
    broken: bool,
    points: Vec<(f64, f64)>,
    /// The lines that it is the mean of.
    parts: Vec<Vec<(f64, f64)>>,
    /// Of a noisy line, where it is heading.
    means: Option<Vec<(f64, f64)>>,
}

/// The colour of the line at this place among others, and whether it is broken: beyond the last colour
/// they begin again.
pub(super) fn colour(place: usize) -> (usize, bool) {
    (place % COLOURS, place / COLOURS % 2 == 1)
}

/// The points that can be drawn, in order.
fn drawable(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let drawable = |p: &&(f64, f64)| p.0.abs() <= LIMIT && p.1.abs() <= LIMIT;
    let mut points: Vec<_> = points.iter().filter(drawable).copied().collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

impl<'a> Line<'a> {
    fn new((place, series): (usize, &'a Series)) -> Self {
        let points = drawable(&series.points);
        let noisy = points.len() > LONG && turns(&points) > points.len() / 5;
        let (colour, broken) = colour(place);
        let parts = series.parts.iter().map(|part| drawable(part));
        Self {
            series,
            colour,
            broken,
            // Noise upon noise shows nothing.
            parts: parts.filter(|_| !noisy).collect(),
            means: noisy.then(|| means(&points, MEANS)),
            points,
        }
    }

    fn draw(&self, frame: &Frame) -> Value {
        let columns = (frame.right - frame.left).max(1.0) as usize;
        let path = frame.path(&thin(&self.points, columns));
        let dot = match self.points.as_slice() {
            // A path of one point is invisible.
            &[(x, y)] => Some((frame.place_x(x), frame.place_y(y))),
            _ => None,
        };
        context! {
            colour => self.colour,
            broken => self.broken,
            path => path,
            parts => self.parts.iter().map(|part| frame.path(&thin(part, columns))).collect::<Vec<_>>(),
            mean => self.means.as_ref().map(|means| frame.path(means)),
            dot => dot.map(|(x, y)| context! { x => pixels(x), y => pixels(y) }),
        }
    }

    /// All points that are drawn.
    fn drawn(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.points.iter().chain(self.parts.iter().flatten())
    }

    /// Its name below the chart.
    fn key(&self) -> Value {
        context! { name => self.series.name.as_str(), colour => self.colour, broken => self.broken }
    }

    /// The points that are read out: those of the bold line.
    fn read(&self) -> &[(f64, f64)] {
        self.means.as_ref().unwrap_or(&self.points)
    }

    /// The height that the line ends at.
    fn end(&self) -> f64 {
        self.read().last().map_or(0.0, |p| p.1)
    }

    /// The value at the point nearest to `x`, unless that is further than `reach`.
    fn value_at(&self, x: f64, reach: f64) -> Option<f64> {
        let after = self.read().partition_point(|p| p.0 < x);
        let around = [after.checked_sub(1), Some(after)];
        let points = around
            .into_iter()
            .flatten()
            .filter_map(|at| self.read().get(at));
        points
            .map(|p| ((p.0 - x).abs(), p.1))
            .filter(|p| p.0 <= reach)
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|p| p.1)
    }
}

/// How often the line turns from up to down or back.
fn turns(points: &[(f64, f64)]) -> usize {
    let turn = |p: &&[(f64, f64)]| (p[1].1 - p[0].1) * (p[2].1 - p[1].1) < 0.0;
    points.windows(3).filter(turn).count()
}

/// The names beside the ends of the lines, moved apart where they would overlap.
fn labels(lines: &[&Line<'_>], frame: &Frame) -> Vec<Value> {
    let mut ends: Vec<(f64, &Line<'_>)> = lines
        .iter()
        .map(|line| (frame.place_y(line.end()), *line))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let heights: Vec<f64> = ends.iter().map(|end| end.0).collect();
    let places = spread(&heights, TOP, BOTTOM, LINE);
    let label = |(&(end, line), place): (&(f64, &Line<'_>), f64)| {
        context! {
            name => line.series.name.as_str(),
            colour => line.colour,
            end => pixels(end),
            shift => pixels(place - end),
            y => pixels(place),
        }
    };
    ends.iter().zip(places).map(label).collect()
}

/// The ascending `heights`, moved as little as need be to lie `distance` apart between `top` and
/// `bottom`; closer together where there is no room for that.
fn spread(heights: &[f64], top: f64, bottom: f64, distance: f64) -> Vec<f64> {
    let gaps = heights.len().saturating_sub(1) as f64;
    let distance = if gaps > 0.0 {
        distance.min((bottom - top) / gaps)
    } else {
        distance
    };
    let mut places = heights.to_vec();
    let mut least = top;
    for place in &mut places {
        *place = place.max(least);
        least = *place + distance;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - distance;
    }
    places
}

/// Stretches of x and what is read out over each.
fn slots(curve: &Curve, lines: &[Line<'_>], frame: &Frame) -> Vec<Value> {
    let mut places: Vec<f64> = lines
        .iter()
        .flat_map(|line| line.read())
        .map(|p| p.0)
        .collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    if places.len() > SLOTS {
        let last = places.len() - 1;
        places = (0..SLOTS)
            .map(|slot| places[slot * last / (SLOTS - 1)])
            .collect();
    }
    let edges: Vec<f64> = std::iter::once(frame.left)
        .chain(
            places
                .windows(2)
                .map(|p| (frame.place_x(p[0]) + frame.place_x(p[1])) / 2.0),
        )
        .chain([frame.right])
        .collect();
    let reach = match (places.first(), places.last()) {
        (Some(first), Some(last)) => (last - first) / (2.0 * places.len() as f64),
        _ => 0.0,
    };
    let slot = |(&x, edge): (&f64, &[f64])| {
        let values: Vec<(&Line<'_>, f64)> = lines
            .iter()
            .filter_map(|line| Some((line, line.value_at(x, reach)?)))
            .collect();
        let words: Vec<String> = values
            .iter()
            .map(|(line, value)| match lines.len() {
                1 => number::significant(*value, 4),
                _ => format!("{} {}", line.series.name, number::significant(*value, 4)),
            })
            .collect();
        let dot = |(line, value): &(&Line<'_>, f64)| {
            context! { colour => line.colour, y => pixels(frame.place_y(*value)) }
        };
        context! {
            x => pixels(frame.place_x(x)),
            left => pixels(edge[0]),
            width => pixels(edge[1] - edge[0]),
            words => format!("{} {}: {}", curve.x, frame.name_x(curve, x), words.join(", ")),
            dots => values.iter().map(dot).collect::<Vec<_>>(),
        }
    };
    places.iter().zip(edges.windows(2)).map(slot).collect()
}

/// The chart in words, for those who do not see it.
fn summary(curve: &Curve, lines: &[Line<'_>]) -> String {
    let mut words = format!("{} by {}.", curve.title, curve.x);
    for line in lines {
        let (Some(first), Some(last)) = (line.points.first(), line.points.last()) else {
            continue;
        };
        let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let lowest = line.points.iter().min_by(by_y).unwrap_or(first);
        let highest = line.points.iter().max_by(by_y).unwrap_or(first);
        let [first, last, lowest, highest] =
            [first, last, lowest, highest].map(|p| number::significant(p.1, 3));
        words += &format!(
            " {}: from {first} to {last}, lowest {lowest}, highest {highest}.",
            line.series.name
        );
    }
    words
}

pub(super) fn tick(place: f64, label: String) -> Value {
    context! { place => pixels(place), label }
}

/// A tenth of a pixel is as fine as anyone sees.
pub(super) fn pixels(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(series: Vec<(&str, Vec<(f64, f64)>)>) -> Curve {
        let series = series
            .into_iter()
            .map(|(name, points)| Series {
                name: name.into(),
                points,
                parts: Vec::new(),
            })
            .collect();
        Curve {
            title: "Loss".into(),
            x: "step".into(),
            y: String::new(),
            series,
            shares: false,
            marks: Vec::new(),
        }
    }

    fn get(value: &Value, key: &str) -> Value {
        value.get_attr(key).unwrap()
    }

    #[test]
    fn nothing_to_draw() {
        let bad = vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)];
        for series in [vec![], vec![("a", vec![])], vec![("a", bad)]] {
            assert!(get(&lay_out(&curve(series)), "empty").is_true());
        }
    }

    #[test]
    fn one_point_is_a_dot_in_the_middle() {
        let chart = lay_out(&curve(vec![("a", vec![(3.0, 0.5)])]));
        let line = get(&chart, "lines").get_item_by_index(0).unwrap();
        let dot = get(&line, "dot");
        assert_eq!(get(&dot, "y").to_string(), pixels((TOP + BOTTOM) / 2.0));
        assert_eq!(get(&chart, "slots").len(), Some(1));
    }

    #[test]
    fn what_is_no_number_is_counted() {
        let points = vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)];
        let chart = lay_out(&curve(vec![("a", points)]));
        assert_eq!(get(&chart, "left_out").to_string(), "1");
        let line = get(&chart, "lines").get_item_by_index(0).unwrap();
        let path = get(&line, "path").to_string();
        assert!(
            !path.contains("NaN") && path.matches('L').count() == 1,
            "{path}"
        );
    }

    #[test]
    fn a_long_line_stays_small() {
        let wave = |x: u32| (f64::from(x), f64::from(x * 31 % 97));
        let chart = lay_out(&curve(vec![("a", (0..20_000).map(wave).collect())]));
        let line = get(&chart, "lines").get_item_by_index(0).unwrap();
        assert!(get(&line, "path").to_string().len() < 25_000);
        assert!(get(&chart, "noisy").is_true());
        assert_eq!(get(&chart, "slots").len(), Some(MEANS));
    }

    #[test]
    fn a_smooth_line_has_no_mean() {
        let ramp = |x: u32| (f64::from(x), f64::from(x.min(7000)));
        let chart = lay_out(&curve(vec![("a", (0..20_000).map(ramp).collect())]));
        assert!(!get(&chart, "noisy").is_true());
        assert_eq!(get(&chart, "slots").len(), Some(SLOTS));
    }

    #[test]
    fn labels_move_apart_and_stay_inside() {
        assert_eq!(spread(&[50.0, 52.0], 0.0, 100.0, 10.0), [50.0, 60.0]);
        assert_eq!(spread(&[95.0, 99.0], 0.0, 100.0, 10.0), [90.0, 100.0]);
        assert_eq!(spread(&[0.0, 0.0, 0.0], 0.0, 10.0, 10.0), [0.0, 5.0, 10.0]);
        assert!(spread(&[], 0.0, 10.0, 10.0).is_empty());
    }

    #[test]
    fn a_place_is_read_out_with_all_its_values() {
        let chart = lay_out(&curve(vec![
            ("a", vec![(1.0, 0.25), (2.0, 0.5)]),
            ("b", vec![(2.0, 0.125)]),
        ]));
        let slot = get(&chart, "slots").get_item_by_index(1).unwrap();
        assert_eq!(get(&slot, "words").to_string(), "step 2: a 0.5, b 0.125");
    }

    #[test]
    fn long_names_stand_whole_below_the_chart() {
        let long = "mixup=true, clip_norm=false";
        let points = vec![(1.0, 0.25), (2.0, 0.5)];
        let chart = lay_out(&curve(vec![(long, points.clone()), ("b", points.clone())]));
        assert_eq!(get(&chart, "labels").len(), Some(0));
        let first = get(&chart, "legend").get_item_by_index(0).unwrap();
        assert_eq!(get(&first, "name").to_string(), long);

        let chart = lay_out(&curve(vec![("a", points.clone()), ("b", points)]));
        assert_eq!(get(&chart, "labels").len(), Some(2));
        assert_eq!(get(&chart, "legend").len(), Some(0));
    }

    #[test]
    fn what_a_line_is_the_mean_of_is_drawn_within_the_frame() {
        let mut curve = curve(vec![("a", vec![(1.0, 0.5), (2.0, 0.5)])]);
        let parts = [0.0, 1.0].map(|y| vec![(1.0, y), (2.0, y)]);
        curve.series[0].parts = parts.to_vec();
        let chart = lay_out(&curve);
        let line = get(&chart, "lines").get_item_by_index(0).unwrap();
        let paths = get(&line, "parts");
        for (at, height) in [BOTTOM, TOP].into_iter().enumerate() {
            let path = paths.get_item_by_index(at).unwrap().to_string();
            assert!(path.ends_with(&format!(" {}", pixels(height))), "{path}");
        }
        assert!(get(&chart, "averaged").is_true());
    }
}
