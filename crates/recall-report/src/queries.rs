//! Queries and their nearest neighbours: what the template of them is given, in words.

use minijinja::{Value, context};
use serde::Serialize;

use super::shorten::shorten;
use super::thumbnail::SMALL;
use super::{Picture, Report, number};

/// Neighbours that a page shows of each query where nobody asks for another number: a row of it.
pub const NEIGHBOURS: usize = 10;

/// A query and the items ranked nearest to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct QueryRow {
    /// What was searched with.
    pub query: Picture,
    /// What was found, nearest first.
    pub neighbours: Vec<Neighbour>,
    /// Rank of the first relevant item, counted from 1, be it among `neighbours` or beyond them;
    /// `None` where none is known.
    pub first_hit_rank: Option<usize>,
}

/// An item of a ranking.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Neighbour {
    /// The item.
    pub picture: Picture,
    /// Its similarity to the query.
    pub similarity: f32,
    /// Whether it is a right answer; `None` where that is not known.
    pub relevant: Option<bool>,
}

/// Letters that there is room for below the picture of a neighbour.
const CAPTION: usize = 36;

/// Letters that there is room for below the picture of a query.
const QUERY_CAPTION: usize = 60;

/// More queries than these make a map too fine to point at.
const MAP: usize = 200;

/// What the page needs to show queries and their neighbours.
pub(super) fn lay_out(report: &Report) -> Value {
    let rows = &report.queries;
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
    let judged = rows.iter().any(is_judged);
    let pictures = rows.iter().flat_map(|row| {
        std::iter::once(&row.query).chain(row.neighbours.iter().map(|n| &n.picture))
    });
    let shown: Vec<&Picture> = pictures.filter(|of| of.mime().is_some()).collect();
    context! {
        about => report.about_queries.as_str(),
        heading => heading(rows.len(), depth),
        count => rows.len(),
        depth,
        columns => depth.clamp(1, NEIGHBOURS),
        few_columns => few(depth.clamp(1, NEIGHBOURS)),
        judged,
        at_first,
        missed => rows.len() - at_first,
        within,
        small => !shown.is_empty() && shown.into_iter().all(is_small),
        map => (judged && rows.len() <= MAP && depth > 0).then(|| map(rows, depth)),
        rows => rows.iter().map(row).collect::<Vec<_>>(),
    }
}

/// Columns where there is no room for all of them: two rows alike.
fn few(columns: usize) -> usize {
    match columns {
        ..=5 => columns,
        more => more.div_ceil(2),
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

/// Whether a picture is enlarged pixel by pixel.
fn is_small(picture: &Picture) -> bool {
    picture
        .size()
        .is_some_and(|(width, height)| width.max(height) <= SMALL)
}

/// The rank as given, or as the neighbours shown tell it.
fn first_hit(row: &QueryRow) -> Option<usize> {
    let shown = row
        .neighbours
        .iter()
        .position(|neighbour| neighbour.relevant == Some(true));
    row.first_hit_rank.or(shown.map(|at| at + 1))
}

/// Whether it is known what is right.
fn is_judged(row: &QueryRow) -> bool {
    row.first_hit_rank.is_some() || row.neighbours.iter().any(|n| n.relevant.is_some())
}

fn row(row: &QueryRow) -> Value {
    let rank = first_hit(row);
    context! {
        query => picture(&row.query, QUERY_CAPTION),
        at_first => rank == Some(1),
        verdict => match rank {
            _ if !is_judged(row) => String::new(),
            Some(1) => "right at rank 1".to_owned(),
            Some(rank) => format!("first right at rank {}", number::fixed(rank as f64, 0)),
            None => "none right".to_owned(),
        },
        neighbours => row.neighbours.iter().map(neighbour).collect::<Vec<_>>(),
    }
}

fn neighbour(neighbour: &Neighbour) -> Value {
    context! {
        picture => picture(&neighbour.picture, CAPTION),
        kind => neighbour.relevant.map(kind),
        similarity => if neighbour.similarity.is_finite() {
            number::fixed(f64::from(neighbour.similarity), 3)
        } else {
            "–".to_owned()
        },
    }
}

fn kind(relevant: bool) -> &'static str {
    match relevant {
        true => "right",
        false => "wrong",
    }
}

/// `room` is that for its caption.
fn picture(picture: &Picture, room: usize) -> Value {
    context! {
        caption => picture.caption.as_str(),
        short => shorten(&picture.caption, room),
        src => picture.data_uri().map(Value::from_safe_string),
        crisp => is_small(picture),
    }
}

/// All rows at a glance: a column a query, a cell a rank.
fn map(rows: &[QueryRow], depth: usize) -> Value {
    let column = |(at, row): (usize, &QueryRow)| {
        let cells: Vec<Option<bool>> = row.neighbours.iter().map(|n| n.relevant).collect();
        let right = cells.iter().filter(|&&right| right == Some(true)).count();
        context! {
            number => at + 1,
            words => format!("{}: {right} of {} right", row.query.caption, cells.len()),
            cells => cells.iter().map(|right| right.map(kind)).collect::<Vec<_>>(),
        }
    };
    context! { columns => rows.iter().enumerate().map(column).collect::<Vec<_>>(), depth }
}
