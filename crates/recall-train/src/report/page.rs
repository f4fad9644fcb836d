//! The page: what its template is given, in words.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior, Value, context};

use super::{GALLERY_FACT, GalleryRow, Metric, Neighbour, Picture, Report, chart, number};

/// Pictures up to this many pixels wide and high are enlarged pixel by pixel.
const SMALL: u32 = 64;

/// A fact with a longer value takes a line of its own.
const LONG_FACT: usize = 44;

/// More queries than these make a map too fine to point at.
const MAP: usize = 200;

pub(super) fn render(report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // Names that end in .html are escaped.
    environment.add_template("page.html", include_str!("page.html"))?;
    environment.get_template("page.html")?.render(context! {
        style => Value::from_safe_string(include_str!("page.css").to_owned()),
        script => Value::from_safe_string(include_str!("page.js").to_owned()),
        title => report.title.as_str(),
        facts => facts(report),
        metrics => report.metrics.iter().map(metric).collect::<Vec<_>>(),
        compared => report.metrics.iter().any(|metric| before(metric).is_some()),
        charts => report.curves.iter().map(chart::lay_out).collect::<Vec<_>>(),
        // Three in a line, unless that would leave one or two holes.
        in_pairs => matches!(report.curves.len(), 1 | 2 | 4),
        gallery => (!report.gallery.is_empty()).then(|| gallery(report)),
        config => config(&report.config),
    })
}

/// The sections, which a blank line sets apart: none is broken over two columns.
fn config(toml: &str) -> Vec<String> {
    let parts = toml.split("\n\n").map(|part| part.trim_matches('\n'));
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn facts(report: &Report) -> Vec<Value> {
    let shown = report.facts.iter().filter(|(name, _)| name != GALLERY_FACT);
    let fact = |(name, value): &(String, String)| {
        context! { name, value, long => value.chars().count() > LONG_FACT }
    };
    shown.map(fact).collect()
}

fn before(metric: &Metric) -> Option<f64> {
    metric.before.filter(|before| before.is_finite())
}

fn metric(metric: &Metric) -> Value {
    let share = |value: f64| format!("{:.2}", value.clamp(0.0, 1.0) * 100.0);
    let finite = metric.value.is_finite();
    let before = before(metric);
    context! {
        name => metric.name.as_str(),
        value => number::percent(metric.value),
        bar => finite.then(|| share(metric.value)),
        before => before.map(number::percent),
        tick => before.map(share),
        gain => before.filter(|_| finite).map(|before| number::points(metric.value - before)),
        trend => match before.map(|before| metric.value - before) {
            Some(gain) if gain > 0.0 => "up",
            Some(gain) if gain < 0.0 => "down",
            _ => "",
        },
    }
}

fn gallery(report: &Report) -> Value {
    let rows = &report.gallery;
    let depth = rows
        .iter()
        .map(|row| row.neighbours.len())
        .max()
        .unwrap_or(0);
    let at_first = rows.iter().filter(|row| first_hit(row) == Some(1)).count();
    let within = rows
        .iter()
        .filter(|row| first_hit(row).is_some_and(|rank| rank <= depth))
        .count();
    let pictures = rows.iter().flat_map(|row| {
        std::iter::once(&row.query).chain(row.neighbours.iter().map(|n| &n.picture))
    });
    let about = report.facts.iter().find(|(name, _)| name == GALLERY_FACT);
    context! {
        about => about.map(|(_, sentence)| sentence),
        heading => heading(rows.len(), depth),
        count => rows.len(),
        depth,
        at_first,
        missed => rows.len() - at_first,
        within,
        small => pictures.into_iter().all(is_small),
        map => (rows.len() <= MAP && depth > 0).then(|| map(rows, depth)),
        rows => rows.iter().map(row).collect::<Vec<_>>(),
    }
}

fn heading(queries: usize, depth: usize) -> String {
    let queries = match queries {
        1 => "One query".to_owned(),
        _ => format!("{queries} queries, each"),
    };
    match depth {
        1 => format!("{queries} with its nearest neighbour"),
        _ => format!("{queries} with its {depth} nearest neighbours"),
    }
}

fn is_small(picture: &Picture) -> bool {
    picture
        .size()
        .is_some_and(|(width, height)| width.max(height) <= SMALL)
}

/// The rank as given, or as the neighbours shown tell it.
fn first_hit(row: &GalleryRow) -> Option<usize> {
    let shown = row
        .neighbours
        .iter()
        .position(|neighbour| neighbour.relevant);
    row.first_hit_rank.or(shown.map(|at| at + 1))
}

fn row(row: &GalleryRow) -> Value {
    let rank = first_hit(row);
    context! {
        query => picture(&row.query),
        at_first => rank == Some(1),
        verdict => match rank {
            Some(1) => "right at rank 1".to_owned(),
            Some(rank) => format!("first right at rank {}", number::fixed(rank as f64, 0)),
            None => "none right".to_owned(),
        },
        neighbours => row.neighbours.iter().map(neighbour).collect::<Vec<_>>(),
    }
}

fn neighbour(neighbour: &Neighbour) -> Value {
    context! {
        picture => picture(&neighbour.picture),
        relevant => neighbour.relevant,
        similarity => if neighbour.similarity.is_finite() {
            number::fixed(f64::from(neighbour.similarity), 3)
        } else {
            "–".to_owned()
        },
    }
}

fn picture(picture: &Picture) -> Value {
    context! {
        caption => picture.caption.as_str(),
        src => picture.data_uri().map(Value::from_safe_string),
        crisp => is_small(picture),
    }
}

/// The gallery at a glance: a column a query, a cell a rank.
fn map(rows: &[GalleryRow], depth: usize) -> Value {
    let column = |(at, row): (usize, &GalleryRow)| {
        let cells: Vec<bool> = row.neighbours.iter().map(|n| n.relevant).collect();
        let right = cells.iter().filter(|&&right| right).count();
        context! {
            number => at + 1,
            words => format!("{}: {right} of {} right", row.query.caption, cells.len()),
            cells,
        }
    };
    context! { columns => rows.iter().enumerate().map(column).collect::<Vec<_>>(), depth }
}

#[cfg(test)]
mod tests {
    use super::super::{Curve, Series};
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x20\0\0\0\x20";

    fn shown(caption: &str) -> Picture {
        Picture {
            bytes: PNG.to_vec(),
            caption: caption.into(),
        }
    }

    fn found(caption: &str, relevant: bool) -> Neighbour {
        Neighbour {
            picture: shown(caption),
            similarity: 0.5,
            relevant,
        }
    }

    fn queries() -> Vec<GalleryRow> {
        let row = |neighbours, first_hit_rank| GalleryRow {
            query: shown("cup"),
            neighbours,
            first_hit_rank,
        };
        vec![
            row(vec![found("cup", true), found("hat", false)], Some(1)),
            row(vec![found("hat", false), found("cup", true)], None),
            row(vec![found("hat", false), found("key", false)], Some(1234)),
            row(vec![found("hat", false)], None),
        ]
    }

    fn page(change: impl FnOnce(&mut Report)) -> String {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)];
        let mut report = Report {
            title: "a run".into(),
            facts: vec![("seed".into(), "7".into())],
            metrics: vec![Metric {
                name: "recall@1".into(),
                value: 0.642,
                before: Some(0.451),
            }],
            curves: vec![Curve {
                title: "Loss".into(),
                x: "step".into(),
                y: String::new(),
                series: vec![Series {
                    name: "loss".into(),
                    points,
                }],
            }],
            gallery: queries(),
            config: "[data]\nspec = \"emoji\"\n".into(),
        };
        change(&mut report);
        report.render().unwrap()
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = page(|_| {});
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert!(!page.contains("//cdn") && !page.contains("@import") && !page.contains("url("));
        let sources = page.match_indices("src=\"").count();
        assert_eq!(
            sources,
            page.matches("src=\"data:image/png;base64,").count()
        );
        assert_eq!(sources, 11);
    }

    #[test]
    fn words_of_others_stay_words() {
        let evil = "\"><script>alert('x')</script>";
        let page = page(|report| {
            report.title = evil.into();
            report.facts.push((evil.into(), evil.into()));
            report.metrics[0].name = evil.into();
            report.curves[0].title = evil.into();
            report.curves[0].x = evil.into();
            report.curves[0].y = evil.into();
            report.curves[0].series[0].name = evil.into();
            let again = report.curves[0].series[0].clone();
            report.curves[0].series.push(again);
            report.gallery[0].query.caption = evil.into();
            report.gallery[0].neighbours[0].picture.caption = evil.into();
            report.config = evil.into();
        });
        assert_eq!(page.matches("<script>").count(), 1, "the page's own");
        assert!(!page.contains("\"><script") && !page.contains("alert('x')"));
        assert!(page.contains("&lt;script&gt;"));
    }

    #[test]
    fn verdicts_come_from_the_ranks() {
        let page = page(|_| {});
        assert!(page.contains("4 queries, each with its 2 nearest neighbours"));
        assert!(page.contains("1 of 4 have a right picture first, 2 among the first 2."));
        for verdict in [
            "right at rank 1<",
            "first right at rank 2<",
            "first right at rank 1234<",
            "none right<",
        ] {
            assert!(page.contains(verdict), "{verdict}");
        }
        assert_eq!(page.matches("aria-label=\"right\"").count(), 2);
        assert_eq!(page.matches("aria-label=\"wrong\"").count(), 5);
    }

    #[test]
    fn what_the_gallery_shows_is_said_above_it() {
        let sentence = "Queries from classes never seen in training.";
        let page = page(|report| report.facts.push((GALLERY_FACT.into(), sentence.into())));
        assert_eq!(page.matches(sentence).count(), 1);
        assert!(page.contains(&format!("<p class=\"about\">{sentence} 1 of 4")));
    }

    #[test]
    fn a_report_of_nothing_is_a_page() {
        let page = Report::default().render().unwrap();
        assert!(!page.contains("<section") && page.trim_end().ends_with("</html>"));
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        let page = page(|report| {
            report.metrics[0].value = f64::NAN;
            report.metrics[0].before = Some(f64::INFINITY);
            report.gallery[0].neighbours[0].similarity = f32::NAN;
        });
        assert!(!page.contains("NaN") && !page.contains("inf"));
        assert!(page.contains("<td class=\"value\">–</td>"));
    }

    #[test]
    fn odd_galleries() {
        let page = page(|report| {
            report.gallery.truncate(1);
            report.gallery[0].neighbours.clear();
            report.gallery[0].query.bytes = b"no picture".to_vec();
        });
        assert!(page.contains("One query with its 0 nearest neighbours"));
        assert!(page.contains("no preview"));
    }

    #[test]
    fn only_small_pictures_are_shown_pixel_by_pixel() {
        let mut large = PNG.to_vec();
        large[18] = 1;
        let page = page(|report| {
            report.gallery.truncate(1);
            report.gallery[0].query.bytes = large;
        });
        assert_eq!(page.matches("class=\"crisp\"").count(), 2);
    }
}
