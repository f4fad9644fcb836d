//! The report as a person reads it.

use std::fmt::{self, Display, Formatter};

use super::sizes::{ClassSizes, Spread};
use super::truth::TruthSizes;
use super::words::{Noun, classes, counted, number, size};
use super::{CheckReport, Sampling, Severity};
use crate::{ClassCount, SmallClasses};

/// Characters of the longest bar.
const BAR: usize = 40;

impl Display for CheckReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_parts(f)?;
        for sizes in &self.class_sizes {
            write_sizes(f, sizes, self.noun)?;
        }
        if let Some(truth) = &self.ground_truth {
            write_truth(f, truth)?;
        }
        if let Some(sampling) = &self.sampling {
            write_sampling(f, sampling, self.noun)?;
        }
        if !self.findings.is_empty() {
            writeln!(f)?;
        }
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            writeln!(f, "{severity:<7}  {}", finding.message)?;
        }
        let errors = match self.errors {
            0 => "no errors".to_owned(),
            some => counted(some, "error", "errors"),
        };
        match self.warnings {
            0 => write!(f, "\n{errors}"),
            some => write!(f, "\n{errors}, {}", counted(some, "warning", "warnings")),
        }
    }
}

impl CheckReport {
    fn write_head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.dataset, self.noun.counted(self.images))?;
        if let Some(number) = self.classes {
            write!(f, " of {}", classes(number))?;
        }
        if self.super_classes > 0 {
            let above = counted(self.super_classes, "super-class", "super-classes");
            write!(f, " in {above}")?;
        }
        let (done, what) = match self.files.decoded {
            Some(sound) if self.noun == Noun::ROW => (sound, "finite"),
            Some(decoded) => (decoded, "decoded"),
            None => (self.files.read, "read, not decoded"),
        };
        let done = if done == self.images {
            "all".to_owned()
        } else {
            number(done)
        };
        writeln!(f, "; {done} {what}, {}", size(self.files.bytes))
    }

    fn write_parts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let has_published = self.parts.iter().any(|part| part.published.is_some());
        let mut rows = vec![["part", self.noun.many, "classes", "published"].map(str::to_owned)];
        for part in &self.parts {
            let published = match part.published {
                None => String::new(),
                Some(_) if part.is_as_published() => "the same".to_owned(),
                Some(other) => match other.classes {
                    Some(of) => format!("{} of {}", self.noun.counted(other.images), classes(of)),
                    None => self.noun.counted(other.images),
                },
            };
            rows.push([
                part.part.clone(),
                number(part.images),
                part.classes.map_or_else(String::new, number),
                published,
            ]);
        }
        let [part, images, of_classes, _] = widths(&rows);
        writeln!(f)?;
        for [name, count, of, published] in rows {
            let mut line = format!("{name:<part$}  {count:>images$}");
            if self.classes.is_some() {
                line += &format!("  {of:>of_classes$}");
            }
            if has_published {
                line += &format!("  {published}");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn write_sizes(f: &mut Formatter<'_>, sizes: &ClassSizes, noun: Noun) -> fmt::Result {
    let Spread { min, median, max } = sizes.images;
    write!(f, "\n{} in a {} class: ", noun.many, sizes.split)?;
    match min == max {
        true => writeln!(f, "{} in each", number(min))?,
        false => writeln!(f, "{} to {}, median {median}", number(min), number(max))?,
    }
    let rows: Vec<[String; 2]> = sizes
        .histogram
        .iter()
        .map(|bin| {
            let range = match bin.from == bin.to {
                true => number(bin.from),
                false => format!("{}–{}", number(bin.from), number(bin.to)),
            };
            [range, number(bin.classes)]
        })
        .collect();
    let [range_width, count_width] = widths(&rows);
    let most = sizes.histogram.iter().map(|bin| bin.classes).max();
    for ([range, count], bin) in rows.iter().zip(&sizes.histogram) {
        let bar = bar(bin.classes, most.unwrap_or(1));
        let line = format!("  {range:>range_width$}  {count:>count_width$}  {bar}");
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// In eighths of a character; a class more than none can be seen.
fn bar(value: usize, most: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if value == 0 {
        return String::new();
    }
    let eighths = (value as f64 / most.max(1) as f64 * (8 * BAR) as f64).round();
    let eighths = (eighths as usize).max(1);
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

fn write_truth(f: &mut Formatter<'_>, truth: &TruthSizes) -> fmt::Result {
    let of = counted(truth.queries, "query", "queries");
    writeln!(f, "\nground truth of {of}, images of each")?;
    let mut rows = vec![["", "min", "median", "max"].map(str::to_owned)];
    for (name, spread) in [
        ("easy", truth.easy),
        ("hard", truth.hard),
        ("junk", truth.junk),
    ] {
        rows.push([
            name.to_owned(),
            number(spread.min),
            spread.median.to_string(),
            number(spread.max),
        ]);
    }
    let [a, b, c, d] = widths(&rows);
    for [name, min, median, max] in rows {
        writeln!(f, "  {name:<a$}  {min:>b$}  {median:>c$}  {max:>d$}")?;
    }
    let without = truth.without_positives;
    writeln!(
        f,
        "without anything to find: {} in the easy setup, {} in the medium, {} in the hard",
        number(without.easy),
        number(without.medium),
        number(without.hard)
    )
}

fn write_sampling(f: &mut Formatter<'_>, sampling: &Sampling, noun: Noun) -> fmt::Result {
    match sampling.whole {
        true => write!(
            f,
            "\none batch of all {}: ",
            noun.counted(sampling.of.images)
        )?,
        false => write!(
            f,
            "\nbatches of {}, {} of each class: ",
            noun.counted(sampling.config.batch_size),
            number(sampling.config.samples_per_class)
        )?,
    }
    match sampling.steps_per_epoch {
        Some(steps) => writeln!(f, "{} an epoch", counted(steps, "step", "steps"))?,
        None => writeln!(f, "not one can be drawn")?,
    }
    if sampling.held_out.classes > 0 {
        let ClassCount {
            classes: of,
            images: with,
        } = sampling.held_out;
        let (of, with) = (classes(of), noun.counted(with));
        writeln!(f, "held out for validation: {of} with {with}")?;
    }
    if sampling.steps_per_epoch.is_none() {
        return Ok(());
    }
    if let Some(small) = sampling.small.filter(|small| small.classes > 0) {
        let policy = match sampling.config.small_classes {
            SmallClasses::Repeat => "filled up with copies",
            _ => "taken whole",
        };
        let (of, images) = (classes(small.classes), noun.counted(small.images));
        writeln!(f, "smaller classes are {policy}: {of} with {images}")?;
    }
    match sampling.left_out.filter(|left_out| left_out.classes > 0) {
        None => writeln!(f, "no class is left out"),
        Some(left_out) => writeln!(
            f,
            "left out: {} of {} with {} of {} never drawn",
            number(left_out.classes),
            classes(sampling.of.classes),
            number(left_out.images),
            noun.said(sampling.of.images, "is", "are"),
        ),
    }
}

fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_never_empty_for_something() {
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(1, 100_000), "▏");
        assert_eq!(bar(7, 7), "█".repeat(BAR));
        assert_eq!(bar(1, 2).chars().count(), BAR / 2);
    }
}
