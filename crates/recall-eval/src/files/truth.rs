//! Lists of what each query should find, in JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::refusal::refuse;
use crate::revisited::{QueryTruth, Setup};
use crate::{Embeddings, EvalError, Retrieval};

/// What each query should find, where a file says it and not labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroundTruth {
    /// For each query, the gallery ids that are positives and those that are junk.
    Lists {
        /// `[queries]`
        positives: Vec<Vec<u32>>,
        /// `[queries]`
        junk: Vec<Vec<u32>>,
    },
    /// Graded as in revisited Oxford and Paris, to be judged in three set-ups
    /// ([`revisited`](crate::revisited)).
    Graded(Vec<QueryTruth>),
}

#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "ok")]
    positives: Option<Vec<u32>>,
    easy: Option<Vec<u32>>,
    hard: Option<Vec<u32>>,
    #[serde(default)]
    junk: Vec<u32>,
}

impl Entry {
    /// An item that is in two lists, and their names.
    fn listed_twice(&self) -> Option<(u32, &'static str, &'static str)> {
        let lists = [
            ("positives", self.positives.as_deref()),
            ("easy", self.easy.as_deref()),
            ("hard", self.hard.as_deref()),
            ("junk", Some(self.junk.as_slice())),
        ];
        let mut seen = BTreeMap::new();
        for (name, list) in lists {
            for &item in list.unwrap_or_default() {
                match seen.insert(item, name) {
                    Some(before) if before != name => return Some((item, before, name)),
                    _ => {}
                }
            }
        }
        None
    }
}

/// Reads a ground truth from a JSON file: a list with one object for each query, or an object that
/// has this list as `gnd`. An object has either `positives` (or `ok`) or `easy` and `hard`, and
/// `junk` if there is any: lists of gallery ids, from 0 on. Other keys are ignored.
///
/// # Errors
///
/// If the file cannot be read, is no JSON, is not of this form, or has an item in two lists of a query. Every message names the file, and
/// the query where there is one.
pub fn read_ground_truth(path: impl AsRef<Path>) -> Result<GroundTruth, EvalError> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|source| EvalError::Io {
        path: path.into(),
        source,
    })?;
    let form = "write [{\"positives\": [3, 5], \"junk\": [1]}, ...], an object for each query, or \
                easy and hard instead of positives";
    // Windows programs begin UTF-8 with a mark of the byte order.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut json: serde_json::Value = serde_json::from_slice(text)
        .map_err(|error| refuse(path, format!("this is no JSON ({error})"), form))?;
    // As the benchmark's own file has it, beside the names of the images.
    if let Some(list) = json.get_mut("gnd") {
        json = list.take();
    }
    let Some(list) = json.as_array() else {
        return Err(refuse(path, "this is no ground truth", form));
    };
    let entries: Vec<Entry> = (list.iter().enumerate())
        .map(|(query, value)| {
            // Serde takes the values of an object without its keys, too.
            let entry = value.is_object().then(|| Entry::deserialize(value));
            match entry {
                Some(Ok(entry)) => Ok(entry),
                Some(Err(error)) => {
                    let problem =
                        format!("query {query} has something else than lists of ids ({error})");
                    Err(refuse(path, problem, form))
                }
                None => {
                    let problem = format!("query {query} is no object with named lists");
                    Err(refuse(path, problem, form))
                }
            }
        })
        .collect::<Result<_, _>>()?;
    let Some(first) = entries.first() else {
        return Err(refuse(path, "it has no query", form));
    };
    let graded = first.positives.is_none();
    if graded && first.easy.is_none() && first.hard.is_none() {
        let problem = "query 0 has neither positives nor easy and hard";
        return Err(refuse(path, problem, form));
    }
    for (query, entry) in entries.iter().enumerate() {
        if let Some((item, first, second)) = entry.listed_twice() {
            return Err(refuse(
                path,
                format!("item {item} is both in {first} and in {second} of query {query}"),
                "an item is in one list of a query",
            ));
        }
    }
    let mut lists = (Vec::new(), Vec::new());
    let mut grades = Vec::new();
    for (query, entry) in entries.into_iter().enumerate() {
        match (entry.positives, entry.easy, entry.hard) {
            (Some(positives), None, None) if !graded => {
                lists.0.push(positives);
                lists.1.push(entry.junk);
            }
            (None, Some(easy), Some(hard)) if graded => grades.push(QueryTruth {
                easy,
                hard,
                junk: entry.junk,
            }),
            _ => {
                let expected = if graded { "easy and hard" } else { "positives" };
                return Err(refuse(
                    path,
                    format!("query {query} does not have {expected}, as the first one has"),
                    "all queries need the same lists",
                ));
            }
        }
    }
    Ok(match graded {
        true => GroundTruth::Graded(grades),
        false => GroundTruth::Lists {
            positives: lists.0,
            junk: lists.1,
        },
    })
}

impl GroundTruth {
    /// Number of queries.
    pub fn queries(&self) -> usize {
        match self {
            Self::Lists { positives, .. } => positives.len(),
            Self::Graded(truths) => truths.len(),
        }
    }

    /// The retrieval that the lists make of queries and gallery, or three of them named `easy`,
    /// `medium` and `hard`.
    ///
    /// # Errors
    ///
    /// If there is not one entry for each query, an id that is not in the gallery, and those of
    /// [`Retrieval::query_against_gallery`].
    pub fn retrievals<'a>(
        &self,
        queries: &'a Embeddings,
        gallery: &'a Embeddings,
    ) -> Result<Vec<(Option<Setup>, Retrieval<'a>)>, EvalError> {
        match self {
            Self::Lists { positives, junk } => {
                let positives = positives.clone();
                let retrieval = Retrieval::query_against_gallery_with(queries, gallery, positives)?;
                Ok(vec![(None, retrieval.junk(junk.clone())?)])
            }
            Self::Graded(truths) => (Setup::ALL.into_iter())
                .map(|setup| Ok((Some(setup), setup.retrieval(queries, gallery, truths)?)))
                .collect(),
        }
    }
}
