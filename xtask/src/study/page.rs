//! `docs/study.md`, written from the results alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::declared::{Claim, Judge, Study};
use super::figures;
use super::results::{Outcome, Results};
use super::select::METRIC;
use super::statistics::Difference;
use super::table::Summary;

/// The page and the figures beside it.
pub struct Page {
    pub text: String,
    /// Names in the folder `study`, and what they hold.
    pub figures: Vec<(String, String)>,
}

impl Page {
    pub fn save(&self, out: &Path) -> Result<()> {
        let write = |path: &Path, text: &str| {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        fs::create_dir_all(out.join("study"))?;
        write(&out.join("study.md"), &self.text)?;
        for (name, figure) in &self.figures {
            write(&out.join("study").join(name), figure)?;
        }
        Ok(())
    }
}

/// Writes the page of a study.
pub fn write(study: &Study, results: &Results, quick: bool) -> Result<Page> {
    let mut page = Page {
        text: String::new(),
        figures: Vec::new(),
    };
    let mut text = String::new();
    text += "# The study\n\n";
    text += "<!-- written by `cargo xtask study` from study/results -->\n\n";
    if quick {
        text += "**A quick study, on stand-ins and with hardly any training: it shows that the road works, and its \
                 numbers say nothing about losses.**\n\n";
    }
    text += &protocol(study, results);
    for claim in &study.claims {
        text += &section(study, claim, results, quick, &mut page.figures)?;
    }
    text += &origin(results, quick);
    page.text = text;
    Ok(page)
}

/// How it was done.
fn protocol(study: &Study, results: &Results) -> String {
    let mut text = String::new();
    let draws = (study.claims.iter()).map(|claim| claim.draws).max();
    let _ = writeln!(
        text,
        "Is this loss better than others, and when? Each section asks one question, on data that everybody can have, and \
         answers with a figure, a sentence and a table. Losers and failures are in the tables.\n\n\
         Whatever is compared has the same data, network, embedding length, augmentation and number of images seen. Where a section \
         says so, each row had a random search of equal size over its own settings and the learning rate: the settings as \
         declared first, then draws, up to {} in all. A search trains on three quarters of the training classes, and the rest, its \
         validation classes, choose by {METRIC}; it never sees a test image. The best settings train with fresh seeds on all \
         training classes, and the test classes judge the model of the last epoch, once. ± is half of the 95 % interval of \
         Student's t over seeds. A difference is in points of recall@1, with a 95 % interval over 2,000 resamples of queries \
         and seeds at once; it is **bold** where the interval excludes 0. Seconds are those of one thread, \
         and other programs ran beside some of the runs. What was searched, over which ranges, is in \
         [study.toml](study/study.toml), every number in [results](study/results), a file for each data set.\n",
        draws.unwrap_or(0),
    );
    text += "The data:\n\n";
    for data in study.data.values() {
        let _ = writeln!(text, "- {}", data.title);
    }
    let failed = results.all().filter(|run| run.failed.is_some()).count();
    if failed > 0 {
        let _ = writeln!(
            text,
            "\n{failed} runs failed, most of them draws of a search."
        );
    }
    text + "\n"
}

fn section(
    study: &Study,
    claim: &Claim,
    results: &Results,
    quick: bool,
    drawn: &mut Vec<(String, String)>,
) -> Result<String> {
    let summaries = Summary::all(study, claim, results, quick)?;
    let mut text = format!("## {}\n\n{}\n\n", claim.title, claim.question);
    let there: usize = summaries.iter().map(|summary| summary.runs.len()).sum();
    if there == 0 {
        text += "*Not run yet.*\n\n";
        return Ok(text);
    }
    let missing: usize = summaries.iter().map(|summary| summary.missing).sum();
    if missing > 0 {
        let _ = writeln!(
            text,
            "*Not finished: {missing} of {} runs are missing.*\n",
            there + missing
        );
    }
    for (name, title, figure) in figures::of(claim, &summaries)? {
        let _ = writeln!(text, "![{title}](study/{name})\n");
        drawn.push((name, figure));
    }
    let of = match claim.judge {
        Judge::Test | Judge::Run => "test",
        Judge::Validation => "validation",
    };
    let seeds = claim.seeds.len();
    let searched = match claim.draws {
        0 => "settings as declared".to_owned(),
        draws => format!("best of {draws} draws each"),
    };
    match (&claim.estimate, claim.points.is_empty()) {
        (Some(_), _) => text += &estimate(&summaries),
        (None, true) => {
            let differences = (summaries.iter().enumerate())
                .map(|(at, summary)| match at {
                    0 => Ok(None),
                    _ => summary.against(&summaries[0]),
                })
                .collect::<Result<Vec<_>>>()?;
            // The first of those that are there says nothing of the others.
            if missing == 0 {
                text += &verdict(&summaries, &differences);
            }
            text += &ranking(claim, &summaries, &differences);
        }
        (None, false) => {
            text += &trend(&summaries)?;
            text += &grid(claim, &summaries)?;
        }
    }
    let _ = writeln!(text, "*{of} classes, {seeds} seeds, {searched}.*\n");
    Ok(text)
}

/// What was found, of things side by side.
fn verdict(summaries: &[Summary<'_>], differences: &[Option<Difference>]) -> String {
    let first = &summaries[0];
    let name = &first.line().name;
    let metric = first.cell.claim.metric();
    let Some(own) = first.mean(metric) else {
        return format!("**{name} has no result yet.**\n\n");
    };
    if summaries.len() == 1 {
        return format!(
            "**recall@1 {}, map@r {}.**\n\n",
            with_interval(first, "recall@1"),
            with_interval(first, "map@r")
        );
    }
    let ranked = summaries.iter().filter_map(|summary| summary.mean(metric));
    let place = 1 + ranked.clone().filter(|other| other.mean > own.mean).count();
    let count = ranked.count();
    let (mut ahead, mut behind, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for (other, found) in summaries.iter().zip(differences) {
        let Some(found) = found else {
            continue;
        };
        let named = other.line().name.as_str();
        match (found.is_clear(), found.difference > 0.0) {
            (true, true) => behind.push(named),
            (true, false) => ahead.push(named),
            (false, _) => open.push(named),
        }
    }
    let mut text = format!(
        "**{name} is {} of {count} by {metric}, {:.4}.**",
        ordinal(place),
        own.mean
    );
    for (names, what) in [
        (behind, "Clearly better than it"),
        (open, "Not told apart from it"),
        (ahead, "Clearly worse than it"),
    ] {
        if !names.is_empty() {
            let _ = write!(text, " {what}: {}.", names.join(", "));
        }
    }
    text + "\n\n"
}

fn ordinal(place: usize) -> String {
    match place {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        more => format!("number {more}"),
    }
}

/// A row for each line, the best first.
fn ranking(claim: &Claim, summaries: &[Summary<'_>], differences: &[Option<Difference>]) -> String {
    let mut order: Vec<_> = summaries.iter().zip(differences).collect();
    let value = |summary: &Summary<'_>| summary.mean(claim.metric()).map_or(-1.0, |mean| mean.mean);
    order.sort_by(|a, b| value(b.0).total_cmp(&value(a.0)));
    let compared = claim.judge != Judge::Validation && summaries.len() > 1;
    let mut columns = vec!["", "recall@1", "map@r"];
    let against = format!("against {}, points", summaries[0].line().name);
    if compared {
        columns.push(&against);
    }
    columns.extend(["seconds", "memory"]);
    if claim.draws > 0 {
        columns.push("settings that the search changed");
    }
    let mut text = format!(
        "| {} |\n|{}\n",
        columns.join(" | "),
        "---|".repeat(columns.len())
    );
    for (summary, found) in order {
        let name = match &summary.failed {
            Some(why) => format!("{} (failed: {})", summary.line().name, cell_text(why)),
            None => summary.line().name.clone(),
        };
        let mut cells = vec![
            name,
            with_interval(summary, "recall@1"),
            with_interval(summary, "map@r"),
        ];
        if compared {
            cells.push(found.map_or("–".into(), points));
        }
        cells.extend([seconds(summary), memory(summary)]);
        if claim.draws > 0 {
            cells.push(changed(&summary.changed));
        }
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text + "\n"
}

/// What was found, of lines along an axis.
fn trend(summaries: &[Summary<'_>]) -> Result<String> {
    let mut text = String::new();
    let mut at = 0;
    while at < summaries.len() {
        let name = &summaries[at].line().name;
        let line: Vec<&Summary<'_>> = (summaries[at..].iter())
            .take_while(|summary| summary.line().name == *name)
            .collect();
        at += line.len();
        let there = |summary: &&&Summary<'_>| !summary.runs.is_empty();
        let (Some(first), Some(last)) = (line.iter().find(there), line.iter().rfind(there)) else {
            continue;
        };
        let place = |summary: &Summary<'_>| {
            (summary.cell.point).map_or_else(String::new, |point| point.name.clone())
        };
        let mean =
            |summary: &Summary<'_>| summary.mean("recall@1").map_or(f64::NAN, |mean| mean.mean);
        let best = (line.iter().filter(there))
            .max_by(|a, b| mean(a).total_cmp(&mean(b)))
            .unwrap_or(last);
        let change = match last.against(first)? {
            Some(found) => points(found),
            None => format!("{:+.2}", 100.0 * (mean(last) - mean(first))).replace('-', "−"),
        };
        let _ = writeln!(
            text,
            "- **{name}**: {:.4} at {}, {:.4} at {} ({change} points); best at {}, {:.4}.",
            mean(first),
            place(first),
            mean(last),
            place(last),
            place(best),
            mean(best)
        );
    }
    Ok(text + "\n")
}

/// A row for each line, a column for each place.
fn grid(claim: &Claim, summaries: &[Summary<'_>]) -> Result<String> {
    let mut text = String::new();
    for (what, of) in [
        (
            "recall@1",
            &(|summary: &Summary<'_>| with_interval(summary, "recall@1"))
                as &dyn Fn(&Summary<'_>) -> String,
        ),
        ("map@r", &|summary| with_interval(summary, "map@r")),
        ("seconds of training", &seconds),
        ("peak memory", &memory),
    ] {
        let names: Vec<&str> = claim
            .points
            .iter()
            .map(|point| point.name.as_str())
            .collect();
        let _ = writeln!(
            text,
            "| {what}, by {} | {} |\n|---|{}",
            claim.axis,
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for line in &claim.lines {
            let cells = claim.points.iter().map(|point| {
                (summaries.iter())
                    .find(|summary| {
                        summary.line().name == line.name
                            && summary.cell.point.is_some_and(|own| own.name == point.name)
                    })
                    .map_or("–".to_owned(), of)
            });
            let cells: Vec<String> = cells.collect();
            let _ = writeln!(text, "| {} | {} |", line.name, cells.join(" | "));
        }
        text += "\n";
    }
    Ok(text)
}

/// What the loss is worth as an estimate.
fn estimate(summaries: &[Summary<'_>]) -> String {
    let mut text = String::new();
    for summary in summaries {
        let looks: Vec<_> = summary.runs.iter().flat_map(|run| &run.estimates).collect();
        let Some(asked) = &summary.cell.claim.estimate else {
            continue;
        };
        for &tau in &asked.tau_rank {
            let of_tau = || looks.iter().filter(move |look| look.tau_rank == tau);
            let count = of_tau().count();
            if count == 0 {
                continue;
            }
            let off: f64 = of_tau().map(|look| look.soft - look.exact).sum::<f64>() / count as f64;
            let soft: Vec<f64> = of_tau().map(|look| look.soft).collect();
            let correlation = |other: Vec<f64>| match correlation(&soft, &other) {
                Some(value) => format!("{value:.3}"),
                None => "–".to_owned(),
            };
            let _ = writeln!(
                text,
                "- {}, τ = {tau}: over {count} checkpoints the soft recall@{} is {} points {} the exact one of the same batches on \
                 average, and goes with it (correlation {}); its correlation with the recall of the test is {}.",
                summary.line().name,
                asked.k,
                format_args!("{:.2}", 100.0 * off.abs()),
                if off < 0.0 { "below" } else { "above" },
                correlation(of_tau().map(|look| look.exact).collect()),
                correlation(of_tau().map(|look| look.test).collect()),
            );
        }
    }
    text + "\n"
}

/// Pearson's; none where one side does not vary.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (of_a, of_b) = (mean(a), mean(b));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| of(x - of_a, y - of_b)).sum()
    };
    let lengths = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    (a.len() > 2 && lengths > 0.0).then(|| sum(&|x, y| x * y) / lengths)
}

/// Where the numbers come from.
fn origin(results: &Results, quick: bool) -> String {
    let runs: Vec<&Outcome> = results.all().collect();
    let hours: f64 = runs.iter().map(|run| run.seconds).sum::<f64>() / 3600.0;
    let set = |of: &dyn Fn(&Outcome) -> String| -> String {
        let all: BTreeSet<String> = runs.iter().map(|run| of(run)).collect();
        all.into_iter().collect::<Vec<_>>().join("; ")
    };
    let command = if quick {
        "cargo xtask study --quick"
    } else {
        "cargo xtask study --features emoji.safetensors --glyphs glyphs.csv"
    };
    format!(
        "## Where this comes from\n\n\
         `{command}` wrote this page: {} runs, {hours:.1} hours of training steps, {}; recall {}; {}. \
         `cargo xtask study --repeat 12` with the same files draws twelve of the runs from a processor of the same kind, and compares. Bits \
         do not depend on the number of threads, but on the instructions of the processor.\n",
        runs.len(),
        set(&|run| format!("{} at once on {}", run.made.jobs, threads(run.made.threads))),
        set(&|run| run.made.version.clone()),
        set(&|run| run.made.processor.clone()),
    )
}

fn threads(count: usize) -> String {
    match count {
        1 => "one thread each".to_owned(),
        count => format!("{count} threads each"),
    }
}

fn with_interval(summary: &Summary<'_>, metric: &str) -> String {
    match summary.mean(metric) {
        Some(mean) => match mean.half {
            Some(half) => format!("{:.4} ± {half:.4}", mean.mean),
            None => format!("{:.4}", mean.mean),
        },
        None if summary.failed.is_some() => "failed".to_owned(),
        None => "–".to_owned(),
    }
}

/// In points of a hundred.
fn points(found: Difference) -> String {
    let [difference, low, high] =
        [found.difference, found.low, found.high].map(|value| 100.0 * value);
    let text = format!("{difference:+.2} [{low:+.2}, {high:+.2}]").replace('-', "−");
    match found.is_clear() {
        true => format!("**{text}**"),
        false => text,
    }
}

fn seconds(summary: &Summary<'_>) -> String {
    summary
        .average(|run| run.seconds)
        .map_or("–".into(), |value| format!("{value:.1}"))
}

fn memory(summary: &Summary<'_>) -> String {
    let peak = summary.average(|run| run.peak_memory.map_or(f64::NAN, |bytes| bytes as f64 / 1e6));
    match peak {
        Some(value) if value.is_finite() => format!("{value:.0} MB"),
        _ => "–".to_owned(),
    }
}

fn changed(settings: &[String]) -> String {
    match settings.is_empty() {
        true => "none".to_owned(),
        false => (settings.iter())
            .map(|setting| format!("`{setting}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// In one cell of a table.
fn cell_text(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
