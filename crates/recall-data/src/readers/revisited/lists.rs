//! The lists, out of either file.

use std::path::Path;

use crate::DataError;
use crate::formats::mat::{self, Value};
use crate::formats::pickle::{self, Pickle};

/// What the files say.
pub(super) struct Lists {
    pub(super) images: Vec<String>,
    pub(super) queries: Vec<Query>,
}

/// A query, its box and what it should find.
pub(super) struct Query {
    pub(super) name: String,
    pub(super) bbx: Vec<f64>,
    pub(super) easy: Vec<f64>,
    pub(super) hard: Vec<f64>,
    pub(super) junk: Vec<f64>,
}

impl Query {
    /// Asks `numbers` for the fields of `name`.
    fn of(
        name: String,
        mut numbers: impl FnMut(&str) -> Result<Vec<f64>, String>,
    ) -> Result<Self, String> {
        let mut numbers = |field: &str| {
            numbers(field).map_err(|problem| format!("has a query {name}: its `{field}` {problem}"))
        };
        let (bbx, easy) = (numbers("bbx")?, numbers("easy")?);
        let (hard, junk) = (numbers("hard")?, numbers("junk")?);
        Ok(Self {
            name,
            bbx,
            easy,
            hard,
            junk,
        })
    }
}

pub(super) fn of_matlab(file: &Path, bytes: &[u8], expected: &str) -> Result<Lists, DataError> {
    let variables = mat::read(file, bytes, &["imlist", "qimlist", "gnd"])?;
    let refuse = |problem: String| DataError::layout(file, format!("{problem}: {expected}"));
    let variable = |name: &str| {
        let missing = || refuse(format!("has no variable `{name}`"));
        variables.get(name).ok_or_else(missing)
    };
    let names = |name: &str| {
        let list = variable(name)?;
        let names = list.cell().and_then(|cell| {
            let names = cell.iter().map(|name| name.text().map(str::to_owned));
            names.collect::<Option<Vec<_>>>()
        });
        names.ok_or_else(|| {
            refuse(format!(
                "has {} as `{name}`, not a cell array of text",
                list.kind()
            ))
        })
    };
    let (images, names) = (names("imlist")?, names("qimlist")?);
    let gnd = variable("gnd")?;
    let bbx = gnd.field("bbx").map_or(0, <[Value]>::len);
    check_count(bbx, names.len()).map_err(refuse)?;

    let mut queries = Vec::new();
    for (place, name) in names.into_iter().enumerate() {
        let query = Query::of(name, |field| {
            let values = gnd.field(field).ok_or("is not there")?;
            let numbers = values[place].numbers();
            numbers.map(<[f64]>::to_vec).ok_or_else(|| {
                let kind = values[place].kind();
                format!("is {kind}, not an array of numbers")
            })
        });
        queries.push(query.map_err(refuse)?);
    }
    Ok(Lists { images, queries })
}

/// How many values are looked at in all, and how many bytes of names. In a pickle every query may
/// have the same long list or name: what is small in a file need not be small here.
const MAX_VALUES: usize = 4_000_000;

pub(super) fn of_pickle(file: &Path, bytes: &[u8], expected: &str) -> Result<Lists, DataError> {
    let pickle = Pickle::read(file, bytes)?;
    lists(pickle.root())
        .map_err(|problem| DataError::layout(file, format!("{problem}: {expected}")))
}

fn lists(root: pickle::Value<'_>) -> Result<Lists, String> {
    let entry = |name: &str| {
        root.get(name)
            .ok_or_else(|| format!("has {} without `{name}`", root.kind()))
    };
    let names = |name: &str| {
        let list = entry(name)?;
        let names = list.texts().ok_or_else(|| {
            let kind = list.kind();
            format!("has {kind} as `{name}`, not a list of names")
        })?;
        match names.iter().map(|name| name.len()).sum::<usize>() {
            0..=MAX_VALUES => Ok(names),
            _ => Err(format!("makes the names in `{name}` too long")),
        }
    };
    let (images, names) = (names("imlist")?, names("qimlist")?);
    let gnd = entry("gnd")?;
    let of_queries: Vec<_> = gnd.items().into_iter().flatten().collect();
    check_count(of_queries.len(), names.len())?;

    let mut budget = MAX_VALUES;
    let mut spend = |value: pickle::Value<'_>| {
        budget = budget
            .checked_sub(value.len())
            .ok_or("makes the lists of all queries too long")?;
        Ok::<_, String>(())
    };
    let mut queries = Vec::new();
    for (name, of_query) in names.into_iter().zip(of_queries) {
        let query = Query::of(name.into_owned(), |field| {
            spend(of_query)?;
            let list = of_query.get(field).ok_or("is not there")?;
            spend(list)?;
            list.numbers()
                .ok_or_else(|| format!("is {}, not a list of numbers", list.kind()))
        });
        queries.push(query?);
    }
    let images = images.into_iter().map(|name| name.into_owned()).collect();
    Ok(Lists { images, queries })
}

fn check_count(of_queries: usize, queries: usize) -> Result<(), String> {
    if of_queries == queries {
        return Ok(());
    }
    Err(format!(
        "has `gnd` of {of_queries} queries, but {queries} names in `qimlist`"
    ))
}
