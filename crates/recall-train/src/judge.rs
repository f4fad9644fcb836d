//! Judging embeddings by the protocols of the field.
//!
//! A [`Problem`] is what is to be found among which embeddings: made of a data set whose images were
//! embedded ([`Problem::of_dataset`]), or of files. A [`JudgeConfig`] says which metrics to take and
//! how, and gives a [`Judgement`] to print or to write as JSON, or the [`Contrast`] of two sets of
//! embeddings.

mod filed;
mod json;
mod labelled;
mod problem;
mod queries;
mod refinement;
mod text;

use recall_eval::{
    Bootstrap, Comparison, Draws, EvalError, Evaluation, Interval, Metric, Policy, PositiveRanks,
    RandomGallery, Retrieval, Scores, Units,
};

pub use filed::{FiledListedProblem, FiledSet};
pub use labelled::{Hit, LabelledSet, Similarities};
pub use problem::{ListedProblem, Problem, ProblemKind};
pub(crate) use queries::QUERIES;
pub use queries::QueryScores;
pub use refinement::Refinement;
pub(crate) use text::side_by_side;

/// Which metrics to take, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeConfig {
    /// The metrics, in the order of the table.
    pub metrics: Vec<Metric>,
    /// Queries without positives, items of equal similarity.
    pub policy: Policy,
    /// How intervals are found; `None` for none.
    pub bootstrap: Option<Bootstrap>,
    /// Whether intervals and comparisons draw whole classes instead of single queries.
    pub resample_classes: bool,
    /// Whether the means over classes are taken, too.
    pub by_class: bool,
    /// How galleries are drawn where they are random.
    pub random_gallery: RandomGallery,
    /// What is done to queries, gallery and rankings before.
    pub refinement: Refinement,
}

impl JudgeConfig {
    /// These metrics, with the defaults of `recall_eval` and no intervals.
    pub fn new(metrics: Vec<Metric>) -> Self {
        Self {
            metrics,
            policy: Policy::default(),
            bootstrap: None,
            resample_classes: false,
            by_class: false,
            random_gallery: RandomGallery::default(),
            refinement: Refinement::default(),
        }
    }
}

/// What came out for each problem.
///
/// `Serialize` writes one object whose keys are the names of the metrics, `queries`,
/// `without_positives` and `tied`, and where they were asked for `intervals` (`[low, high]` by
/// metric) and `by_class`; of several problems, an object with one of these by each name.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The problems in their order; lists with grades make three of one.
    pub parts: Vec<JudgedPart>,
}

/// What came out for a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedPart {
    /// Tells it from the others; empty if it is the only one.
    pub name: String,
    /// The figures.
    pub result: JudgedResult,
}

/// The figures of a problem.
#[derive(Debug, Clone, PartialEq)]
pub enum JudgedResult {
    /// Of one ranking for each query.
    Rankings {
        /// The means over queries.
        evaluation: Evaluation,
        /// Where they lie, in the order of the metrics, if it was asked for.
        intervals: Option<Vec<Interval>>,
        /// The means over classes, if they were asked for.
        by_class: Option<Evaluation>,
    },
    /// Of galleries drawn at random.
    Draws(Draws),
}

/// Two sets of embeddings, query by query.
///
/// `Serialize` writes by metric `first`, `second`, `difference`, `interval` and `p_value`; of several
/// problems by name before that.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// For each problem its name (empty if it is the only one) and the comparisons by each metric.
    pub parts: Vec<(String, Vec<Comparison>)>,
}

/// Where and how ranks are computed: [`Retrieval::ranks`], or [`Retrieval::ranks_on`] a device.
pub type Ranking<'a> = dyn Fn(&Retrieval<'_>) -> Result<PositiveRanks, EvalError> + 'a;

/// What is not for a gallery in a file, and what for none that is drawn.
const FILED: &str =
    "a gallery that stays in its file (augmentation of the database and re-ranking)";
const DRAWN: &str =
    "a random gallery (query expansion, augmentation of the database and re-ranking)";

/// A problem half way: the queries' values.
enum Scored {
    Rankings {
        scores: Scores,
        /// Classes of all queries, if there are such.
        labels: Option<Vec<i64>>,
    },
    Draws(Draws),
}

impl JudgeConfig {
    /// Judges embeddings by all problems.
    ///
    /// # Errors
    ///
    /// Problems that cannot be ranked, means over classes where there are none, and those of
    /// [`Scores::new`] and [`Bootstrap::intervals`]. With several problems, all must have a query
    /// that counts.
    pub fn judge(&self, problems: &[Problem]) -> Result<Judgement, EvalError> {
        self.judge_by(problems, &|retrieval| retrieval.ranks())
    }

    /// The same with ranks from elsewhere. (Random galleries are small, and those in files are for no
    /// device: they are ranked on the CPU.)
    ///
    /// # Errors
    ///
    /// Those of [`judge`](Self::judge) and of `ranking`.
    pub fn judge_by(
        &self,
        problems: &[Problem],
        ranking: &Ranking<'_>,
    ) -> Result<Judgement, EvalError> {
        let mut parts = Vec::new();
        for (name, scored) in self.scored(problems, ranking)? {
            let result = match scored {
                Scored::Draws(draws) => JudgedResult::Draws(draws),
                Scored::Rankings { scores, labels } => JudgedResult::Rankings {
                    evaluation: scores.evaluation(),
                    intervals: (self.bootstrap.as_ref())
                        .map(|bootstrap| {
                            bootstrap.intervals(&scores, self.units(labels.as_deref())?)
                        })
                        .transpose()?,
                    by_class: (self.by_class)
                        .then(|| scores.by_class(labels.as_deref().ok_or(EvalError::NoClasses)?))
                        .transpose()?,
                },
            };
            parts.push(JudgedPart { name, result });
        }
        Ok(Judgement { parts })
    }

    /// Compares a second set of embeddings with a first, problem by problem.
    ///
    /// # Errors
    ///
    /// Those of [`judge`](Self::judge), problems that are not the same, galleries drawn at random.
    pub fn compare(&self, first: &[Problem], second: &[Problem]) -> Result<Contrast, EvalError> {
        self.compare_by(first, second, &|retrieval| retrieval.ranks())
    }

    /// The same with ranks from elsewhere.
    ///
    /// # Errors
    ///
    /// Those of [`compare`](Self::compare) and of `ranking`.
    pub fn compare_by(
        &self,
        first: &[Problem],
        second: &[Problem],
        ranking: &Ranking<'_>,
    ) -> Result<Contrast, EvalError> {
        let bootstrap = self.bootstrap.unwrap_or_default();
        let mut parts = Vec::new();
        let first = self.scored(first, ranking)?;
        let sides = first.into_iter().zip(self.scored(second, ranking)?);
        for ((name, first), (_, second)) in sides {
            let (Scored::Rankings { scores, labels }, Scored::Rankings { scores: other, .. }) =
                (first, second)
            else {
                return Err(EvalError::NotPaired {
                    first: 0,
                    second: 0,
                });
            };
            let units = self.units(labels.as_deref())?;
            parts.push((name, bootstrap.compare(&scores, &other, units)?));
        }
        Ok(Contrast { parts })
    }

    fn units<'a>(&self, labels: Option<&'a [i64]>) -> Result<Units<'a>, EvalError> {
        match self.resample_classes {
            true => labels.map(Units::Classes).ok_or(EvalError::NoClasses),
            false => Ok(Units::Queries),
        }
    }

    fn scored(
        &self,
        problems: &[Problem],
        ranking: &Ranking<'_>,
    ) -> Result<Vec<(String, Scored)>, EvalError> {
        let mut parts = Vec::new();
        let scores = |ranks| Scores::new(&ranks, &self.metrics, self.policy);
        for Problem { name, kind } in problems {
            match kind {
                ProblemKind::Classes(set) => {
                    let scored = Scored::Rankings {
                        scores: scores(self.refinement.ranks(set.retrieval()?, ranking)?)?,
                        labels: Some(set.query_labels().to_vec()),
                    };
                    parts.push((name.clone(), scored));
                }
                ProblemKind::Filed(set) => {
                    let unfit = self.refinement.needs_gallery();
                    self.refinement.refuse(unfit, FILED)?;
                    let mut retrieval = set.retrieval()?;
                    if let Some(expansion) = &self.refinement.expansion {
                        retrieval = retrieval.expand_queries(expansion)?;
                    }
                    let scored = Scored::Rankings {
                        scores: scores(retrieval.ranks()?)?,
                        labels: Some(set.query_labels().to_vec()),
                    };
                    parts.push((name.clone(), scored));
                }
                ProblemKind::RandomGallery { embeddings, labels } => {
                    let unfit = self.refinement.is_some();
                    self.refinement.refuse(unfit, DRAWN)?;
                    let draws = self.random_gallery.evaluate(
                        embeddings,
                        labels,
                        &self.metrics,
                        self.policy,
                    )?;
                    parts.push((name.clone(), Scored::Draws(draws)));
                }
                ProblemKind::FiledLists(listed) => {
                    let unfit = self.refinement.needs_gallery();
                    self.refinement.refuse(unfit, FILED)?;
                    for (setup, ranks) in listed.ranks(self.refinement.expansion.as_ref())? {
                        let name = setup.map_or_else(|| name.clone(), |setup| setup.to_string());
                        let scores = scores(ranks)?;
                        let labels = None;
                        parts.push((name, Scored::Rankings { scores, labels }));
                    }
                }
                ProblemKind::Lists(listed) => {
                    for (setup, retrieval) in listed.retrievals()? {
                        let name = setup.map_or_else(|| name.clone(), |setup| setup.to_string());
                        let scores = scores(self.refinement.ranks(retrieval, ranking)?)?;
                        let labels = None;
                        parts.push((name, Scored::Rankings { scores, labels }));
                    }
                }
            }
        }
        if let [(name, _)] = &mut parts[..] {
            name.clear();
        }
        Ok(parts)
    }
}

/// The metrics that a run reports: recall at each k, then map@r.
pub fn metrics(ks: &[usize]) -> Vec<Metric> {
    ks.iter()
        .map(|&k| Metric::RecallAt(k))
        .chain([Metric::MapAtR])
        .collect()
}
