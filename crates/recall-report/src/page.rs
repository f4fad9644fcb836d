//! The page: what its template is given, in words.

use minijinja::{Error, Value, context};

use super::{Column, Metric, MetricTable, Report, chart, distribution, number, queries, templates};

/// Stands for what is not known.
const DASH: &str = "–";

/// A fact with a longer value takes a line of its own.
const LONG_FACT: usize = 44;

pub(super) fn render(report: &Report) -> Result<String, Error> {
    let similarities = report.similarities.as_ref().and_then(distribution::lay_out);
    let charts = report.curves.len() + usize::from(similarities.is_some());
    let of = context! {
        title => report.title.as_str(),
        facts => facts(report),
        metrics => report.metrics.iter().map(metric).collect::<Vec<_>>(),
        compared => report.metrics.iter().any(|metric| before(metric).is_some()),
        with_intervals => report.metrics.iter().any(|metric| interval(metric).is_some()),
        columns => columns(&report.columns, report.metrics.len()),
        about_before => report.about_before.as_str(),
        judged => &report.judged,
        other_table => report.other_table.as_ref().map(|table| other_table(table, report.metrics.len())),
        charts => report.curves.iter().map(chart::lay_out).collect::<Vec<_>>(),
        similarities,
        // Three in a line, unless that would leave one or two holes.
        in_pairs => matches!(charts, 1 | 2 | 4),
        queries => (!report.queries.is_empty()).then(|| queries::lay_out(report)),
        config => config(&report.config),
    };
    templates::render("page.html", of)
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
    let fact = |(name, value): &(String, String)| {
        context! { name, value, long => value.chars().count() > LONG_FACT }
    };
    report.facts.iter().map(fact).collect()
}

fn other_table(table: &MetricTable, metrics: usize) -> Value {
    context! {
        title => table.title.as_str(),
        columns => columns(&table.columns, metrics),
        about => table.about.as_str(),
    }
}

/// The columns with anything in them, a cell for each of the metrics.
fn columns(columns: &[Column], metrics: usize) -> Vec<Value> {
    let has_any = |column: &&Column| column.shares.iter().take(metrics).any(Option::is_some);
    let column = |column: &Column| {
        let share = |at: usize| column.shares.get(at).copied().flatten();
        let shown = |share: Option<f64>| share.map_or_else(|| DASH.to_owned(), number::percent);
        context! {
            name => column.name.as_str(),
            class => class(&column.name),
            shares => (0..metrics).map(|at| shown(share(at))).collect::<Vec<_>>(),
        }
    };
    columns.iter().filter(has_any).map(column).collect()
}

/// A name as a class of the style sheet.
fn class(name: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_lowercase(),
        false => '-',
    };
    name.chars().map(letter).collect()
}

fn before(metric: &Metric) -> Option<f64> {
    metric.before.filter(|before| before.is_finite())
}

fn interval(metric: &Metric) -> Option<String> {
    let (low, high) = metric.interval?;
    (low.is_finite() && high.is_finite()).then(|| number::percents(low, high))
}

fn metric(metric: &Metric) -> Value {
    let share = |value: f64| format!("{:.2}", value.clamp(0.0, 1.0) * 100.0);
    let finite = metric.value.is_finite();
    let before = before(metric);
    context! {
        name => metric.name.as_str(),
        value => number::percent(metric.value),
        interval => interval(metric),
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

#[cfg(test)]
mod tests {
    use super::super::{Curve, Distribution, Neighbour, Picture, QueryRow, Series};
    use super::*;

    /// A picture of `side` × `side` pixels.
    fn png(side: u32) -> Vec<u8> {
        let mut file = std::io::Cursor::new(Vec::new());
        let pixels = image::RgbImage::new(side, side);
        pixels.write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    }

    fn shown(caption: &str) -> Picture {
        Picture {
            bytes: png(32),
            caption: caption.into(),
        }
    }

    fn found(caption: &str, relevant: bool) -> Neighbour {
        Neighbour {
            picture: shown(caption),
            similarity: 0.5,
            relevant: Some(relevant),
        }
    }

    fn queries() -> Vec<QueryRow> {
        let row = |neighbours, first_hit_rank| QueryRow {
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

    fn column(name: &str, share: f64) -> Column {
        Column {
            name: name.into(),
            shares: vec![Some(share)],
        }
    }

    fn page(change: impl FnOnce(&mut Report)) -> String {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)];
        let mut report = Report {
            title: "a run".into(),
            facts: vec![("seed".into(), "7".into())],
            about_before: "the network before its first step".into(),
            judged: vec!["It was the best.".into()],
            metrics: vec![Metric {
                name: "recall@1".into(),
                value: 0.642,
                interval: Some((0.6204, 0.6618)),
                before: Some(0.451),
            }],
            columns: vec![column("validation", 0.703)],
            other_table: Some(MetricTable {
                title: "Among as many classes".into(),
                columns: vec![column("validation", 0.703), column("test", 0.688)],
                about: "In groups of 8 classes.".into(),
            }),
            curves: vec![Curve {
                title: "Loss".into(),
                x: "step".into(),
                y: String::new(),
                series: vec![Series {
                    name: "loss".into(),
                    points,
                    parts: Vec::new(),
                }],
                shares: false,
                marks: Vec::new(),
            }],
            similarities: Some(Distribution {
                low: 0.0,
                high: 1.0,
                positive: vec![0.0, 1.0, 3.0, 0.0],
                negative: vec![3.0, 1.0, 0.0, 0.0],
                positive_mean: 0.61,
                negative_mean: 0.21,
            }),
            queries: queries(),
            about_queries: String::new(),
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
            report.columns[0].name = evil.into();
            let table = report.other_table.as_mut().unwrap();
            (table.title, table.about) = (evil.into(), evil.into());
            table.columns[0].name = evil.into();
            report.about_queries = evil.into();
            report.facts.push((evil.into(), evil.into()));
            report.metrics[0].name = evil.into();
            report.curves[0].title = evil.into();
            report.curves[0].x = evil.into();
            report.curves[0].y = evil.into();
            report.curves[0].series[0].name = evil.into();
            let again = report.curves[0].series[0].clone();
            report.curves[0].series.push(again);
            report.queries[0].query.caption = evil.into();
            report.queries[0].neighbours[0].picture.caption = evil.into();
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
        assert!(
            page.contains(
                "Of those shown, 1 of 4 have a right picture first, 2 among the first 2."
            )
        );
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
    fn what_the_queries_are_is_said_above_them() {
        let sentence = "Queries from classes never seen in training.";
        let page = page(|report| report.about_queries = sentence.into());
        assert_eq!(page.matches(sentence).count(), 1);
        assert!(page.contains(&format!(
            "<p class=\"about\">{sentence} Of those shown, 1 of 4"
        )));
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
            report.metrics[0].interval = Some((f64::NAN, f64::NAN));
            report.columns = vec![column("validation", f64::NAN)];
            report.other_table.as_mut().unwrap().columns[1] = column("test", f64::NAN);
            report.queries[0].neighbours[0].similarity = f32::NAN;
        });
        assert!(!page.contains("NaN") && !page.contains("inf"));
        assert!(page.contains("<td class=\"value\">–</td>"));
    }

    #[test]
    fn odd_galleries() {
        let page = page(|report| {
            report.queries.truncate(1);
            report.queries[0].neighbours.clear();
            report.queries[0].query.bytes = b"no picture".to_vec();
        });
        assert!(page.contains("One query with its 0 nearest neighbours"));
        assert!(page.contains("<span class=\"blank\">cup</span>"));
    }

    #[test]
    fn columns_are_there_where_they_have_something_to_say() {
        let all = page(|_| {});
        for words in [
            "62.0–66.2",
            "70.3",
            "68.8",
            "interval</th>",
            "It was the best.",
            "groups of 8",
        ] {
            assert!(all.contains(words), "{words}");
        }
        let cells = |page: &str| page.matches("</td>").count();
        assert_eq!(all.matches(">validation</th>").count(), 2);
        assert!(all.find("groups of 8") > all.find(">95"));
        let alone = page(|report| report.other_table = None);
        assert_eq!(alone.matches(">validation</th>").count(), 1);
        assert!(alone.contains("<td class=\"validation\">70.3"));
        // The corner, and the two columns.
        assert_eq!(cells(&all), cells(&alone) + 3);
        let bare = page(|report| {
            report.metrics[0].interval = None;
            // Nothing in it, or nothing of these metrics.
            report.columns = vec![Column::default(), column("validation", 0.5)];
            report.columns[1].shares.insert(0, None);
            report.other_table = None;
        });
        assert!(!bare.contains("interval</th>") && !bare.contains(">validation</th>"));
        assert_eq!(cells(&alone), cells(&bare) + 2);
    }

    #[test]
    fn similarities_are_a_chart_with_means_and_overlap() {
        let all = page(|_| {});
        assert_eq!(all.matches("<path class=\"area").count(), 2);
        for words in [
            "same class, mean 0.61",
            "other classes, mean 0.21",
            "overlap 25.0",
        ] {
            assert!(all.contains(words), "{words}");
        }
        let alone = page(|report| report.curves.clear());
        assert!(alone.contains("<h2 id=\"curves\">Similarities</h2>"));
        assert!(!page(|report| report.similarities = None).contains("<path class=\"area"));
    }

    #[test]
    fn where_nothing_is_known_to_be_right_nothing_is_marked() {
        let page = page(|report| {
            report.queries.truncate(2);
            for row in &mut report.queries {
                row.first_hit_rank = None;
                for neighbour in &mut row.neighbours {
                    neighbour.relevant = None;
                }
            }
        });
        assert!(page.contains("2 queries, each with its 2 nearest neighbours"));
        assert_eq!(page.matches("<li ").count(), 4);
        for words in [
            "Of those shown",
            "class=\"legend\"><span><svg",
            "class=\"map\"",
            "class=\"filter\"",
            "none right",
            "aria-label=\"right\"",
            "aria-label=\"wrong\"",
        ] {
            assert!(!page.contains(words), "{words}");
        }
    }

    #[test]
    fn only_small_pictures_are_shown_pixel_by_pixel() {
        let large = png(288);
        let page = page(|report| {
            report.queries.truncate(1);
            report.queries[0].query.bytes = large;
        });
        assert_eq!(page.matches("class=\"crisp\"").count(), 2);
    }
}
