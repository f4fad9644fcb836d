//! Lists of what each query should find, in JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::refusal::refuse;
use crate::refine::QueryExpansion;
use crate::revisited::{QueryTruth, Setup, check_truth};
use crate::{Embeddings, EvalError, FileRetrieval, GalleryFile, PositiveRanks, Retrieval};

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

/// Queries in memory, a gallery in its file, and a ground truth: [`GroundTruth::file_retrieval`].
#[derive(Clone, Debug)]
pub struct FileTruth<'a> {
    setups: Vec<Option<Setup>>,
    retrieval: FileRetrieval<'a>,
}

impl FileTruth<'_> {
    /// The ranks of each set-up, the same as those of [`GroundTruth::retrievals`] of the same rows in memory.
    ///
    /// # Errors
    ///
    /// Those of [`FileRetrieval::ranks`].
    pub fn ranks(&self) -> Result<Vec<(Option<Setup>, PositiveRanks)>, EvalError> {
        let ranks = self.retrieval.ranks()?.dealt(self.setups.len());
        Ok(self.setups.iter().copied().zip(ranks).collect())
    }

    /// Replaces the queries by their [`QueryExpansion`].
    ///
    /// # Errors
    ///
    /// Those of [`FileRetrieval::expand_queries`].
    pub fn expand_queries(self, how: &QueryExpansion) -> Result<Self, EvalError> {
        let retrieval = self.retrieval.expand_queries(how)?;
        Ok(Self { retrieval, ..self })
    }
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

    /// The same over a gallery that stays in its file. All set-ups are ranked in one walk through it.
    ///
    /// # Errors
    ///
    /// If there is not one entry for each query, an id that is not in the gallery, and those of
    /// [`FileRetrieval::query_against_gallery_with`].
    pub fn file_retrieval<'a>(
        &self,
        queries: &'a Embeddings,
        gallery: &'a GalleryFile,
    ) -> Result<FileTruth<'a>, EvalError> {
        if self.queries() != queries.rows() {
            return Err(EvalError::ListCount {
                what: "positives",
                lists: self.queries(),
                queries: queries.rows(),
            });
        }
        let (setups, (positives, junk)): (Vec<_>, (Vec<_>, Vec<_>)) = match self {
            Self::Lists { positives, junk } => (vec![None], (positives.clone(), junk.clone())),
            Self::Graded(truths) => {
                check_truth(truths)?;
                let split = |truth| Setup::ALL.map(|setup| setup.split(truth));
                let lists = truths.iter().flat_map(split).unzip();
                (Setup::ALL.map(Some).to_vec(), lists)
            }
        };
        let each = setups.len();
        let retrieval = FileRetrieval::of_several(queries, gallery, each, positives, junk)?;
        Ok(FileTruth { setups, retrieval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EmbeddingsFile;
    use crate::refine::{PcaWhitening, Whitening};

    /// Values with many ties.
    fn rows(count: usize, seed: usize) -> Embeddings {
        let value = |i: usize| ((i * 7919 + seed) % 97 % 5) as f32 - 1.5;
        Embeddings::new((0..count * 4).map(value).collect(), 4).unwrap()
    }

    fn graded(queries: usize, database: u32) -> GroundTruth {
        let truth = |q: usize| {
            let ids = |from: u32, step: usize| (from + q as u32 % 3..database).step_by(step);
            QueryTruth {
                easy: ids(0, 11 + q).filter(|id| id % 3 == 0).collect(),
                hard: ids(1, 7).filter(|id| id % 3 == 1 && q != 4).collect(),
                junk: ids(2, 5).filter(|id| id % 3 == 2).collect(),
            }
        };
        GroundTruth::Graded((0..queries).map(truth).collect())
    }

    #[test]
    fn all_set_ups_in_one_walk_as_each_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rows(150, 2).save(at("database.npy")).unwrap();
        rows(301, 3).save(at("distractors.npy")).unwrap();
        let queries = rows(90, 1).normalised().unwrap();
        let together = [rows(150, 2), rows(301, 3)].map(|rows| rows.as_slice().to_vec());
        let gallery = Embeddings::new(together.concat(), 4).unwrap();
        let gallery = gallery.normalised().unwrap();
        let whitening = PcaWhitening::default().learn(&gallery).unwrap();
        let lists = GroundTruth::Lists {
            positives: (0..90).map(|q| vec![q, q / 2, 149 - q]).collect(),
            junk: (0..90).map(|q| vec![(q + 1) % 90]).collect(),
        };
        let open = |name: &str| EmbeddingsFile::open(at(name)).unwrap();
        let unread = |whitening: Option<Whitening>| {
            let database = GalleryFile::unread(open("database.npy"), whitening).unwrap();
            database.followed_by(open("distractors.npy")).unwrap()
        };
        let surveyed = GalleryFile::normalised(open("database.npy")).unwrap();
        let surveyed = surveyed.followed_by(open("distractors.npy")).unwrap();
        assert_eq!((surveyed.rows(), surveyed.dim()), (451, 4));
        let whitened = |rows: &Embeddings| whitening.apply(rows).unwrap();
        let (white, white_gallery) = (whitened(&queries), whitened(&gallery));
        for truth in [graded(90, 150), lists] {
            for (queries, gallery, file) in [
                (&queries, &gallery, unread(None)),
                (&queries, &gallery, surveyed_again(&at)),
                (&white, &white_gallery, unread(Some(whitening.clone()))),
            ] {
                let wanted = truth.retrievals(queries, gallery).unwrap();
                let found = truth.file_retrieval(queries, &file).unwrap();
                let ranks = found.ranks().unwrap();
                assert_eq!(ranks.len(), wanted.len());
                for ((setup, ranks), (of, wanted)) in ranks.iter().zip(&wanted) {
                    assert_eq!(setup, of);
                    assert_eq!(ranks, &wanted.ranks().unwrap());
                }
                let how = QueryExpansion::average(3);
                let found = found.expand_queries(&how).unwrap().ranks().unwrap();
                for ((_, ranks), (_, wanted)) in found.into_iter().zip(wanted) {
                    assert_eq!(ranks, wanted.expand_queries(&how).unwrap().ranks().unwrap());
                }
                assert_eq!(file.length_range(), surveyed.length_range());
            }
        }
    }

    fn surveyed_again(at: &impl Fn(&str) -> std::path::PathBuf) -> GalleryFile {
        let open = |name: &str| EmbeddingsFile::open(at(name)).unwrap();
        let database = GalleryFile::normalised(open("database.npy")).unwrap();
        database.followed_by(open("distractors.npy")).unwrap()
    }

    #[test]
    fn what_cannot_be_ranked_is_named_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let open = |name: &str| EmbeddingsFile::open(at(name)).unwrap();
        rows(50, 2).save(at("database.npy")).unwrap();
        let mut zero = rows(60, 3).as_slice().to_vec();
        zero[4 * 37..][..4].fill(0.0);
        Embeddings::new(zero, 4)
            .unwrap()
            .save(at("zero.npy"))
            .unwrap();
        let queries = rows(3, 1).normalised().unwrap();
        let truth = graded(3, 50);
        let gallery = GalleryFile::unread(open("database.npy"), None).unwrap();
        let gallery = gallery.followed_by(open("zero.npy")).unwrap();
        let error = truth
            .file_retrieval(&queries, &gallery)
            .unwrap()
            .ranks()
            .unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("zero.npy: row 37 of the embeddings is zero"),
            "{error}"
        );
        let gallery = GalleryFile::normalised(open("database.npy")).unwrap();
        let error = gallery
            .followed_by(open("zero.npy"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("zero.npy: row 37 of the embeddings is zero"),
            "{error}"
        );

        Embeddings::new(vec![1.0; 6], 3)
            .unwrap()
            .save(at("three.npy"))
            .unwrap();
        let gallery = GalleryFile::unread(open("database.npy"), None).unwrap();
        assert!(gallery.followed_by(open("three.npy")).is_err());
        let gallery = GalleryFile::unread(open("database.npy"), None).unwrap();
        let other = graded(4, 50).file_retrieval(&queries, &gallery).map(|_| ());
        assert!(matches!(other, Err(EvalError::ListCount { .. })));
        let far = GroundTruth::Graded(vec![
            QueryTruth::default(),
            QueryTruth::default(),
            QueryTruth {
                easy: vec![50],
                ..Default::default()
            },
        ]);
        let error = far
            .file_retrieval(&queries, &gallery)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("query 2 name item 50, but the gallery ends at 49"),
            "{error}"
        );
        let white = PcaWhitening::default().learn(&rows(50, 2)).unwrap();
        let error = GalleryFile::unread(open("three.npy"), Some(white))
            .unwrap_err()
            .to_string();
        assert!(error.contains("takes rows of 4 dimensions"), "{error}");
    }
}
