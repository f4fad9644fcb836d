//! What a data set asks to be found.

use std::collections::HashMap;

use recall_data::{Dataset, ItemId, Protocol, Role};
use recall_eval::revisited::{QueryTruth, Setup};
use recall_eval::{Embeddings, EvalError, GroundTruth, Retrieval};

use super::{FiledListedProblem, FiledSet, LabelledSet};

/// Embeddings, and what is to be found among them.
#[derive(Debug)]
pub struct Problem {
    /// Tells it from the others of a data set; empty if there is one only.
    pub name: String,
    /// What is to be found.
    pub kind: ProblemKind,
}

/// What is to be found.
#[derive(Debug)]
pub enum ProblemKind {
    /// Items of the query's class.
    Classes(LabelledSet),
    /// Items of the query's class, in a gallery that stays in its file.
    Filed(FiledSet),
    /// The one item of its class in a gallery that is drawn at random.
    RandomGallery {
        /// Of all items.
        embeddings: Embeddings,
        /// Their classes.
        labels: Vec<i64>,
    },
    /// What lists say.
    Lists(ListedProblem),
    /// What lists say, in a gallery that stays in its file.
    FiledLists(FiledListedProblem),
}

/// Queries and gallery, and lists of what each query should find.
#[derive(Debug)]
pub struct ListedProblem {
    /// The queries.
    pub queries: Embeddings,
    /// What they are compared with.
    pub gallery: Embeddings,
    /// The lists, one entry for each query; ids are rows of the gallery.
    pub truth: GroundTruth,
}

impl ListedProblem {
    /// One retrieval, or three with the names of their set-ups.
    ///
    /// # Errors
    ///
    /// Those of [`GroundTruth::retrievals`].
    pub fn retrievals(&self) -> Result<Vec<(Option<Setup>, Retrieval<'_>)>, EvalError> {
        self.truth.retrievals(&self.queries, &self.gallery)
    }
}

impl Problem {
    /// The problems of a data set's test images: by `protocol`, or by those that publications judge
    /// it with ([`Dataset::protocols`]). Where it has [subsets](Dataset::subsets), each is judged on
    /// its own.
    ///
    /// Row `i` of `embeddings` belongs to the `i`-th of `ids`. Images that are not among them (as
    /// they could not be read) are taken out of queries, gallery and lists.
    ///
    /// # Errors
    ///
    /// A part without any image.
    pub fn of_dataset(
        dataset: &Dataset,
        embeddings: Embeddings,
        ids: &[ItemId],
        protocol: Option<Protocol>,
    ) -> Result<Vec<Self>, EvalError> {
        let protocols = protocol.map_or_else(|| dataset.protocols(), |protocol| vec![protocol]);
        if protocols == [Protocol::Lists] {
            let kind = ProblemKind::Lists(listed(dataset, &embeddings, ids)?);
            return Ok(vec![Self {
                name: String::new(),
                kind,
            }]);
        }
        if let ([], &[protocol]) = (dataset.subsets(), &protocols[..]) {
            return Ok(vec![Self {
                name: String::new(),
                kind: ProblemKind::of_classes(dataset, embeddings, ids.to_vec(), protocol)?,
            }]);
        }
        let parts: Vec<(Option<&str>, Vec<usize>)> = match dataset.subsets() {
            [] => vec![(None, (0..ids.len()).collect())],
            subsets => subsets
                .iter()
                .map(|subset| {
                    let is_in = |&row: &usize| subset.ids.binary_search(&ids[row]).is_ok();
                    let rows = (0..ids.len()).filter(is_in).collect();
                    (Some(subset.name.as_str()), rows)
                })
                .collect(),
        };
        let mut problems = Vec::new();
        for (part, rows) in parts {
            let of_part: Vec<ItemId> = rows.iter().map(|&row| ids[row]).collect();
            for &protocol in &protocols {
                let embeddings = embeddings.select(&rows)?;
                let way = match protocol {
                    Protocol::RandomGallery => "random-gallery",
                    Protocol::EachAgainstRest => "each-against-rest",
                    Protocol::QueryGallery | Protocol::Lists => "query-gallery",
                };
                problems.push(Self {
                    name: match part {
                        Some(part) if protocols.len() == 1 => part.to_owned(),
                        Some(part) => format!("{part}/{way}"),
                        None => way.to_owned(),
                    },
                    kind: ProblemKind::of_classes(dataset, embeddings, of_part.clone(), protocol)?,
                });
            }
        }
        Ok(problems)
    }
}

impl Problem {
    /// The one problem of images of another split: by `protocol`, or by their roles. Lists and subsets
    /// are of test images. For the rows of `embeddings` see [`of_dataset`](Self::of_dataset).
    ///
    /// # Errors
    ///
    /// Roles that leave nobody to search or nothing to be found.
    pub fn of_split(
        dataset: &Dataset,
        embeddings: Embeddings,
        ids: &[ItemId],
        protocol: Option<Protocol>,
    ) -> Result<Self, EvalError> {
        let protocol = protocol.unwrap_or(Protocol::QueryGallery);
        Ok(Self {
            name: String::new(),
            kind: ProblemKind::of_classes(dataset, embeddings, ids.to_vec(), protocol)?,
        })
    }
}

impl ProblemKind {
    fn of_classes(
        dataset: &Dataset,
        embeddings: Embeddings,
        ids: Vec<ItemId>,
        protocol: Protocol,
    ) -> Result<Self, EvalError> {
        Ok(match protocol {
            Protocol::RandomGallery => Self::RandomGallery {
                labels: dataset.labels(&ids).into_iter().map(i64::from).collect(),
                embeddings,
            },
            Protocol::EachAgainstRest => {
                Self::Classes(LabelledSet::each_against_rest(dataset, embeddings, ids))
            }
            Protocol::QueryGallery | Protocol::Lists => {
                Self::Classes(LabelledSet::new(dataset, embeddings, ids)?)
            }
        })
    }
}

/// Queries and database of a data set with a ground truth, renumbered to rows.
fn listed(
    dataset: &Dataset,
    embeddings: &Embeddings,
    ids: &[ItemId],
) -> Result<ListedProblem, EvalError> {
    let row_of: HashMap<ItemId, usize> = ids.iter().copied().zip(0..).collect();
    let is_found = |&row: &usize| dataset.items()[ids[row]].role != Role::Query;
    let database: Vec<usize> = (0..ids.len()).filter(is_found).collect();
    let place: HashMap<ItemId, u32> = database.iter().map(|&row| ids[row]).zip(0..).collect();
    let places = |ids: &[ItemId]| -> Vec<u32> {
        ids.iter().filter_map(|id| place.get(id).copied()).collect()
    };
    let (mut queries, mut truths) = (Vec::new(), Vec::new());
    for truth in dataset.ground_truth() {
        if let Some(&row) = row_of.get(&truth.query) {
            queries.push(row);
            let mut junk = places(&truth.junk);
            // A query that is in the database is no answer to itself.
            junk.extend(place.get(&truth.query));
            truths.push(QueryTruth {
                easy: places(&truth.easy),
                hard: places(&truth.hard),
                junk,
            });
        }
    }
    Ok(ListedProblem {
        queries: embeddings.select(&queries)?,
        gallery: embeddings.select(&database)?,
        truth: match dataset.is_graded() {
            true => GroundTruth::Graded(truths),
            // Nothing is hard.
            false => {
                let lists = truths.into_iter().map(|truth| (truth.easy, truth.junk));
                let (positives, junk) = lists.unzip();
                GroundTruth::Lists { positives, junk }
            }
        },
    })
}
