//! Embeddings, labels and ground truth from files.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use recall_eval::{
    Embeddings, EvalError, GroundTruth, IgnoreGroup, Metric, read_ground_truth, read_labels,
};

use super::super::classes::Classes;
use super::super::common::holds_labels;
use super::super::origin::Origin;
use super::{JudgeArgs, NamedBackend, ProtocolName, Terminal, of_lists};
use crate::judge::{LabelledSet, ListedProblem, Problem, ProblemKind};

/// What to judge, made by whatever program.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// Embeddings, a row for each item: .npy (f16, f32, f64) or .safetensors. With
    /// --query-embeddings they are the gallery, otherwise each item is searched for among the rest.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "skip_corrupt"])]
    embeddings: Option<PathBuf>,
    /// The class of each row, whole numbers: .npy or .safetensors. Without it: the labels in the
    /// file of the embeddings.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    labels: Option<PathBuf>,
    /// Embeddings of the queries, if these are a set of their own.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    query_embeddings: Option<PathBuf>,
    /// The class of each query.
    #[arg(long, value_name = "FILE", requires = "query_embeddings")]
    query_labels: Option<PathBuf>,
    /// Lists of what each query should find, in JSON, instead of labels:
    /// [{"positives": [3, 5], "junk": [1]}, ...], or easy and hard instead of positives.
    #[arg(long, value_name = "FILE", requires = "query_embeddings",
          conflicts_with_all = ["labels", "query_labels", "groups"])]
    ground_truth: Option<PathBuf>,
    /// A whole number for each row, such as its camera or sequence: items of the query's group
    /// leave its ranking, see --ignore.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    groups: Option<PathBuf>,
    /// The groups of the queries.
    #[arg(
        long,
        value_name = "FILE",
        requires = "groups",
        requires = "query_embeddings"
    )]
    query_groups: Option<PathBuf>,
    /// Which items of a query's group leave its ranking: same-class (camera) or all (sequence).
    #[arg(long, value_name = "WHICH", value_enum, requires = "groups",
          default_value_t = Ignore::SameClass, hide_possible_values = true)]
    ignore: Ignore,
    /// Take dot products of rows as they are. Otherwise rows are brought to length 1, so that the
    /// similarity is the cosine.
    #[arg(long, requires = "embeddings")]
    no_normalise: bool,
    /// Other embeddings of the same rows, to be compared query by query with the first.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    compare: Option<PathBuf>,
    /// Other embeddings of the same queries.
    #[arg(
        long,
        value_name = "FILE",
        requires = "compare",
        requires = "query_embeddings"
    )]
    compare_query_embeddings: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ignore {
    SameClass,
    All,
}

/// What a query is to find.
enum Wanted {
    Labels {
        of_rows: Vec<i64>,
        of_queries: Option<Vec<i64>>,
        groups: Option<(Vec<i64>, Vec<i64>)>,
    },
    Lists(GroundTruth),
}

impl FileArgs {
    pub(super) fn judge(
        &self,
        args: &JudgeArgs,
        backend: NamedBackend,
        terminal: &mut Terminal,
    ) -> anyhow::Result<()> {
        let embeddings = self
            .embeddings
            .as_deref()
            .context("no embeddings were given")?;
        let wanted = self.wanted(embeddings)?;
        let usual = match &wanted {
            Wanted::Lists(truth) => of_lists(matches!(truth, GroundTruth::Graded(_))),
            Wanted::Labels { .. } => [1, 10, 100, 1000]
                .map(Metric::RecallAt)
                .into_iter()
                .chain([Metric::RPrecision, Metric::MapAtR])
                .collect(),
        };
        let config = args.config(usual);
        let queries = self.query_embeddings.as_deref();
        if let (Some(queries), Wanted::Labels { .. }) = (queries, &wanted) {
            self.compare_names(queries, embeddings, terminal)?;
            if same_file(queries, embeddings) {
                terminal.warn(&format!(
                    "queries and gallery are the same file, {}, and so each query finds itself first: without \
                     --query-embeddings each item is searched for among the others",
                    queries.display()
                ));
            }
        }
        let problem = |rows, queries, terminal: &mut Terminal| {
            self.problem(rows, queries, &wanted, args.protocol, terminal)
        };
        let first = problem(embeddings, queries, terminal)?;
        let Some(other) = &self.compare else {
            let problems = [first];
            let judgement = args.ranked(backend, &|ranking| config.judge_by(&problems, ranking))?;
            return args.print(&judgement);
        };
        ensure!(
            !matches!(first.kind, ProblemKind::RandomGallery { .. }),
            "--compare goes query by query, and a random gallery has other queries in each draw: \
             leave --protocol random-gallery out"
        );
        let other_queries = self.compare_query_embeddings.as_deref();
        ensure!(
            queries.is_some() == other_queries.is_some(),
            "--compare needs --compare-query-embeddings where there are --query-embeddings"
        );
        let second = problem(other, other_queries, terminal)?;
        let (first, second) = ([first], [second]);
        let contrast = args.ranked(backend, &|ranking| {
            config.compare_by(&first, &second, ranking)
        })?;
        args.print(&contrast)
    }

    fn wanted(&self, embeddings: &Path) -> anyhow::Result<Wanted> {
        if let Some(path) = &self.ground_truth {
            return Ok(Wanted::Lists(read_ground_truth(path)?));
        }
        let labels = |given: &Option<PathBuf>, embeddings: &Path, flag| match given {
            Some(path) => Ok(read_labels(path)?),
            None if holds_labels(embeddings) => Ok(read_labels(embeddings)?),
            None => bail!("{} holds no labels: give {flag}", embeddings.display()),
        };
        let queries = self.query_embeddings.as_deref();
        let groups = match (&self.groups, &self.query_groups) {
            (None, _) => None,
            (Some(path), None) => {
                ensure!(
                    queries.is_none(),
                    "the queries need groups, too: give --query-groups"
                );
                let groups = read_labels(path)?;
                Some((groups.clone(), groups))
            }
            (Some(path), Some(of_queries)) => Some((read_labels(of_queries)?, read_labels(path)?)),
        };
        Ok(Wanted::Labels {
            of_rows: labels(&self.labels, embeddings, "--labels")?,
            of_queries: queries
                .map(|queries| labels(&self.query_labels, queries, "--query-labels"))
                .transpose()?,
            groups,
        })
    }

    /// Says how far queries and gallery have the same classes, where their names are known.
    fn compare_names(
        &self,
        queries: &Path,
        gallery: &Path,
        terminal: &mut Terminal,
    ) -> anyhow::Result<()> {
        let of_queries = Classes::beside(self.query_labels.as_deref().unwrap_or(queries))?;
        let of_gallery = Classes::beside(self.labels.as_deref().unwrap_or(gallery))?;
        if let (Some(of_queries), Some(of_gallery)) = (of_queries, of_gallery) {
            terminal.say(&of_queries.agreement(&of_gallery)?);
        }
        Ok(())
    }

    fn problem(
        &self,
        rows: &Path,
        queries: Option<&Path>,
        wanted: &Wanted,
        protocol: Option<ProtocolName>,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Problem> {
        let (of_rows, of_queries) = match wanted {
            Wanted::Labels {
                of_rows,
                of_queries,
                ..
            } => (Some(of_rows), of_queries.as_ref()),
            Wanted::Lists(_) => (None, None),
        };
        let gallery = self.open(rows, of_rows, terminal)?;
        let searching = queries.map(|path| self.open(path, of_queries, terminal));
        let searching = searching.transpose()?;
        if let (Some(path), Some(queries)) = (queries, &searching) {
            compare_models((path, queries), (rows, &gallery), terminal)?;
        }
        let (rows, queries) = (gallery, searching);
        if protocol.is_some() && queries.is_some() {
            bail!(
                "--protocol chooses among those of one set of items: leave it out where there are --query-embeddings"
            );
        }
        let kind = match (wanted, queries) {
            (Wanted::Lists(truth), Some(queries)) => ProblemKind::Lists(ListedProblem {
                queries,
                gallery: rows,
                truth: truth.clone(),
            }),
            (Wanted::Lists(_), None) => bail!("--ground-truth needs --query-embeddings"),
            (
                Wanted::Labels {
                    of_rows,
                    groups: None,
                    ..
                },
                None,
            ) if protocol == Some(ProtocolName::RandomGallery) => ProblemKind::RandomGallery {
                embeddings: rows,
                labels: of_rows.clone(),
            },
            (Wanted::Labels { .. }, None) if protocol == Some(ProtocolName::RandomGallery) => {
                bail!("a random gallery knows no groups: leave --groups or --protocol out")
            }
            (
                Wanted::Labels {
                    of_rows,
                    of_queries,
                    groups,
                },
                queries,
            ) => {
                let rows = (rows, of_rows.clone());
                let set = match queries {
                    None => LabelledSet::from_parts(rows, None),
                    Some(queries) => {
                        let labels = of_queries.clone().unwrap_or_default();
                        LabelledSet::from_parts((queries, labels), Some(rows))
                    }
                };
                ProblemKind::Classes(match groups {
                    None => set,
                    Some((of_queries, of_rows)) => set.ignoring(
                        of_queries.clone(),
                        of_rows.clone(),
                        match self.ignore {
                            Ignore::SameClass => IgnoreGroup::SameClass,
                            Ignore::All => IgnoreGroup::All,
                        },
                    ),
                })
            }
        };
        Ok(Problem {
            name: String::new(),
            kind,
        })
    }

    /// Reads embeddings and brings them to length 1: aloud, unless they have about that.
    fn open(
        &self,
        path: &Path,
        labels: Option<&Vec<i64>>,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Embeddings> {
        let embeddings = Embeddings::open(path)?;
        if let Some(labels) = labels {
            ensure!(
                labels.len() == embeddings.rows(),
                "there are {} labels for the {} rows of {}: each row needs one",
                labels.len(),
                embeddings.rows(),
                path.display()
            );
        }
        if !embeddings.is_normalised() {
            let [shortest, longest] = embeddings.length_range().map(length_text);
            let found = format!(
                "the rows of {} have lengths between {shortest} and {longest}",
                path.display()
            );
            terminal.say(&match self.no_normalise {
                true => format!("{found} and are taken as they are: similarity is the dot product"),
                false => format!(
                    "{found} and are brought to length 1 (--no-normalise takes them as they are)"
                ),
            });
        }
        if self.no_normalise {
            return Ok(embeddings);
        }
        let at_fault = |source: EvalError| EvalError::Content {
            path: path.into(),
            source: Box::new(source),
        };
        Ok(embeddings.normalised().map_err(at_fault)?)
    }
}

fn same_file(first: &Path, second: &Path) -> bool {
    match (first.canonicalize(), second.canonicalize()) {
        (Ok(first), Ok(second)) => first == second,
        _ => false,
    }
}

/// Four decimals, or as many digits of what is much smaller or larger.
fn length_text(length: f64) -> String {
    match length == 0.0 || (1e-3..1e6).contains(&length) {
        true => format!("{length:.4}"),
        false => format!("{length:.3e}"),
    }
}

/// Says it where queries and gallery are known to come from different models.
fn compare_models(
    queries: (&Path, &Embeddings),
    gallery: (&Path, &Embeddings),
    terminal: &mut Terminal,
) -> anyhow::Result<()> {
    let origin = |(path, embeddings): (&Path, &Embeddings)| {
        Origin::beside(path, [embeddings.rows(), embeddings.dim()])
    };
    if let (Some(first), Some(second)) = (origin(queries)?, origin(gallery)?)
        && first.model.sha256 != second.model.sha256
    {
        terminal.warn(&format!(
            "{} and {} were embedded by different models: unless these were trained to be compared, the \
             figures mean nothing",
            queries.0.display(),
            gallery.0.display()
        ));
    }
    Ok(())
}
