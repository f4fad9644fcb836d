//! The figures of a claim.

use anyhow::Result;
use recall_report::{Curve, IntervalChart, IntervalRow, Series};

use super::declared::Claim;
use super::table::Summary;

/// The file, the title and the text of each figure.
pub fn of(claim: &Claim, summaries: &[Summary<'_>]) -> Result<Vec<(String, String, String)>> {
    let named = |name: String, title: &str, svg| Ok((format!("{name}.svg"), title.to_owned(), svg));
    let name = &claim.name;
    match (&claim.estimate, claim.points.is_empty()) {
        (Some(_), _) => (estimates(claim, summaries).iter().enumerate())
            .map(|(at, curve)| named(format!("{name}-{at}"), &curve.title, curve.to_svg()?))
            .collect(),
        (None, true) => {
            let chart = ranking(claim, summaries);
            Ok(vec![named(name.clone(), &chart.title, chart.to_svg()?)?])
        }
        (None, false) => {
            let curve = along(claim, summaries);
            Ok(vec![named(name.clone(), &claim.title, curve.to_svg()?)?])
        }
    }
}

/// Things side by side, the best on top.
fn ranking(claim: &Claim, summaries: &[Summary<'_>]) -> IntervalChart {
    let mut rows: Vec<(f64, IntervalRow)> = (summaries.iter().enumerate())
        .map(|(at, summary)| {
            let mean = summary.mean(claim.metric());
            let row = IntervalRow {
                name: summary.line().name.clone(),
                value: mean.map(|mean| {
                    let half = mean.half.unwrap_or(0.0);
                    [mean.mean, mean.mean - half, mean.mean + half]
                }),
                parts: summary.values(claim.metric()),
                note: match &summary.failed {
                    Some(_) => "failed".to_owned(),
                    None => "not run yet".to_owned(),
                },
                bold: at == 0,
            };
            (mean.map_or(-1.0, |mean| mean.mean), row)
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    IntervalChart {
        title: claim.title.clone(),
        unit: format!("{}, 95 % over seeds", claim.metric()),
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    }
}

/// Lines along an axis.
fn along(claim: &Claim, summaries: &[Summary<'_>]) -> Curve {
    let series = claim.lines.iter().map(|line| {
        let own = || {
            summaries
                .iter()
                .filter(|summary| summary.line().name == line.name)
        };
        let x = |summary: &Summary<'_>| summary.cell.point.map_or(0.0, |point| point.x);
        let seeds = own().map(|summary| summary.runs.len()).max().unwrap_or(0);
        let part = |seed: usize| -> Vec<(f64, f64)> {
            own()
                .filter_map(|summary| Some((x(summary), *summary.values("recall@1").get(seed)?)))
                .collect()
        };
        Series {
            name: line.name.clone(),
            points: own()
                .filter_map(|summary| Some((x(summary), summary.mean("recall@1")?.mean)))
                .collect(),
            parts: match seeds {
                0 | 1 => Vec::new(),
                many => (0..many).map(part).collect(),
            },
        }
    });
    Curve {
        title: format!("recall@1 by {}", claim.axis),
        x: claim.axis.clone(),
        y: String::new(),
        series: series.collect(),
        shares: true,
        marks: (claim.points.iter())
            .map(|point| (point.x, point.name.clone()))
            .collect(),
    }
}

/// Of each line, the estimates beside what they are of, by epoch.
fn estimates(claim: &Claim, summaries: &[Summary<'_>]) -> Vec<Curve> {
    let Some(asked) = &claim.estimate else {
        return Vec::new();
    };
    (summaries.iter())
        .filter(|summary| !summary.runs.is_empty())
        .map(|summary| {
            // Means over seeds, which look at the same epochs.
            let mean = |of: &dyn Fn(&super::results::Estimated) -> Option<f64>| {
                let mut points: Vec<(f64, f64, f64)> = Vec::new();
                for look in summary.runs.iter().flat_map(|run| &run.estimates) {
                    let Some(value) = of(look) else { continue };
                    let epoch = look.epoch as f64;
                    match points.iter_mut().find(|point| point.0 == epoch) {
                        Some(point) => {
                            point.1 += value;
                            point.2 += 1.0;
                        }
                        None => points.push((epoch, value, 1.0)),
                    }
                }
                (points.into_iter())
                    .map(|(epoch, sum, count)| (epoch, sum / count))
                    .collect()
            };
            let line = |name: String, points| Series {
                name,
                points,
                parts: Vec::new(),
            };
            let mut series = vec![
                line("test, exact".to_owned(), mean(&|look| Some(look.test))),
                line("batch, exact".to_owned(), mean(&|look| Some(look.exact))),
            ];
            series.extend(asked.tau_rank.iter().map(|&tau| {
                line(
                    format!("soft, τ {tau}"),
                    mean(&|look| (look.tau_rank == tau).then_some(look.soft)),
                )
            }));
            Curve {
                title: summary.line().name.clone(),
                x: "epoch".to_owned(),
                y: format!("recall@{}", asked.k),
                series,
                shares: true,
                marks: Vec::new(),
            }
        })
        .collect()
}
