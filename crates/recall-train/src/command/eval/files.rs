//! Embeddings, labels and ground truth from files.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use recall_eval::refine::Whitening;
use recall_eval::{
    Embeddings, EmbeddingsFile, EvalError, GalleryFile, GroundTruth, IgnoreGroup, Metric,
    read_ground_truth, read_labels,
};

use super::super::classes::Classes;
use super::super::common::holds_labels;
use super::super::origin::Origin;
use super::file_args::{FileArgs, Ignore};
use super::{JudgeArgs, NamedBackend, ProtocolName, RankOn, RefineArgs, Terminal, of_lists};
use crate::judge::{
    FiledListedProblem, FiledSet, LabelledSet, ListedProblem, Problem, ProblemKind,
};

/// Values of a gallery that are read into memory: 256 MiB. Of more, the rows stay in their file.
const IN_MEMORY: usize = 1 << 26;

/// What a query is to find.
enum Wanted {
    Labels {
        of_rows: Vec<i64>,
        of_queries: Option<Vec<i64>>,
        groups: Option<(Vec<i64>, Vec<i64>)>,
    },
    Lists(GroundTruth),
}

/// What queries search.
enum Searched {
    InMemory {
        /// Those of --embeddings, and the distractors.
        rows: Embeddings,
        /// Rows and columns of --embeddings.
        shape: [usize; 2],
    },
    /// Of a gallery that is too large for memory.
    Filed {
        gallery: Box<GalleryFile>,
        shape: [usize; 2],
    },
}

impl Searched {
    fn shape(&self) -> [usize; 2] {
        match self {
            Self::InMemory { shape, .. } | Self::Filed { shape, .. } => *shape,
        }
    }
}

impl FileArgs {
    pub(super) fn judge(
        &self,
        args: &JudgeArgs,
        refining: &RefineArgs,
        backend: NamedBackend,
        terminal: &mut Terminal,
    ) -> anyhow::Result<()> {
        let embeddings = self
            .embeddings
            .as_deref()
            .context("there is nothing to judge: give --checkpoint DIR, or --embeddings FILE")?;
        // Where there are labels, the parser takes the ground truth for excused.
        ensure!(
            self.distractor_embeddings.is_none() || self.ground_truth.is_some(),
            "--distractor-embeddings goes with --ground-truth, which says what to find before them: give it instead of labels"
        );
        let wanted = self.wanted(embeddings)?;
        let usual = match &wanted {
            Wanted::Lists(truth) => of_lists(matches!(truth, GroundTruth::Graded(_))),
            Wanted::Labels { .. } => [1, 10, 100, 1000]
                .map(Metric::RecallAt)
                .into_iter()
                .chain([Metric::RPrecision, Metric::MapAtR])
                .collect(),
        };
        let mut config = args.config(usual);
        config.refinement = refining.refinement();
        let whitening = refining.whitening.of_file()?;
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
        ensure!(
            args.protocol.is_none() || queries.is_none(),
            "--protocol chooses among those of one set of items: leave it out where there are --query-embeddings"
        );
        let in_memory = match config.refinement.needs_gallery() {
            true => usize::MAX,
            false => self.in_memory(args, &wanted),
        };
        let problem = |rows, queries, terminal: &mut Terminal| {
            let whitening = whitening.as_ref();
            self.problem(
                (rows, queries),
                &wanted,
                whitening,
                args.protocol,
                in_memory,
                terminal,
            )
        };
        let first = problem(embeddings, queries, terminal)?;
        let Some(other) = &self.compare else {
            let problems = [first];
            let judgement = args.ranked(backend, &|ranking| config.judge_by(&problems, ranking))?;
            self.say_lengths_read(&problems, terminal);
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

    /// How many values of a gallery are read into memory: all, where one is judged in a way that is
    /// not for files.
    fn in_memory(&self, args: &JudgeArgs, wanted: &Wanted) -> usize {
        let of_queries = match wanted {
            Wanted::Labels { of_queries, .. } => of_queries.is_some(),
            Wanted::Lists(_) => true,
        };
        match of_queries && self.compare.is_none() && args.rank_on == RankOn::Cpu {
            true => IN_MEMORY,
            false => usize::MAX,
        }
    }

    /// `in_memory`: how many values of a gallery are read into memory.
    fn problem(
        &self,
        (rows, queries): (&Path, Option<&Path>),
        wanted: &Wanted,
        whitening: Option<&Whitening>,
        protocol: Option<ProtocolName>,
        in_memory: usize,
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
        let gallery = self.searched(rows, of_rows, whitening, in_memory, terminal)?;
        let searching = queries.map(|path| self.open(path, of_queries, terminal));
        let searching = searching.transpose()?;
        if let (Some(path), Some(queries)) = (queries, &searching) {
            let shape = [queries.rows(), queries.dim()];
            compare_models((path, shape), (rows, gallery.shape()), terminal)?;
        }
        let white = |rows: Embeddings| match whitening {
            None => Ok(rows),
            Some(whitening) => whitening.apply(&rows),
        };
        let searching = searching.map(white).transpose()?;
        let which = match self.ignore {
            Ignore::SameClass => IgnoreGroup::SameClass,
            Ignore::All => IgnoreGroup::All,
        };
        let (rows, queries) = match (gallery, wanted, searching) {
            (Searched::InMemory { rows, .. }, _, queries) => (white(rows)?, queries),
            (Searched::Filed { gallery, .. }, Wanted::Lists(truth), Some(queries)) => {
                let kind = ProblemKind::FiledLists(FiledListedProblem {
                    queries,
                    gallery: *gallery,
                    truth: truth.clone(),
                });
                let name = String::new();
                return Ok(Problem { name, kind });
            }
            (
                Searched::Filed { gallery: rows, .. },
                Wanted::Labels {
                    of_rows,
                    of_queries: Some(of_queries),
                    groups,
                },
                Some(queries),
            ) => {
                let (queries, gallery) = ((queries, of_queries.clone()), (*rows, of_rows.clone()));
                let set = FiledSet::new(queries, gallery);
                return Ok(Problem {
                    name: String::new(),
                    kind: ProblemKind::Filed(match groups {
                        None => set,
                        Some((of_queries, of_rows)) => {
                            set.ignoring(of_queries.clone(), of_rows.clone(), which)
                        }
                    }),
                });
            }
            (Searched::Filed { .. }, ..) => {
                bail!("a gallery that stays in its file needs queries")
            }
        };
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
                    Some((of_queries, of_rows)) => {
                        set.ignoring(of_queries.clone(), of_rows.clone(), which)
                    }
                })
            }
        };
        Ok(Problem {
            name: String::new(),
            kind,
        })
    }

    /// Opens what is searched: it stays in its file if it has more than `in_memory` values.
    fn searched(
        &self,
        path: &Path,
        labels: Option<&Vec<i64>>,
        whitening: Option<&Whitening>,
        in_memory: usize,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Searched> {
        let file = EmbeddingsFile::open(path)?;
        let distractors = self
            .distractor_embeddings
            .as_ref()
            .map(EmbeddingsFile::open);
        let distractors = distractors.transpose()?;
        let shape @ [rows, dim] = [file.rows(), file.dim()];
        if let Some(distractors) = &distractors {
            ensure!(
                distractors.dim() == dim,
                "the distractors in {} have {} dimensions, and the rows of {} have {dim}: they must agree",
                distractors.path().display(),
                distractors.dim(),
                path.display()
            );
        }
        let all = rows + distractors.as_ref().map_or(0, EmbeddingsFile::rows);
        if all.saturating_mul(dim) <= in_memory {
            let mut rows = self.read(file, labels, terminal)?;
            if let Some(distractors) = distractors {
                let distractors = self.read(distractors, None, terminal)?;
                rows = Embeddings::new([rows.as_slice(), distractors.as_slice()].concat(), dim)?;
            }
            return Ok(Searched::InMemory { rows, shape });
        }
        check_labels(&file, labels)?;
        for file in std::iter::once(&file).chain(&distractors) {
            terminal.say(&format!(
                "{} has {} rows of {dim} values: they stay in the file and are read a part at a time",
                file.path().display(),
                file.rows()
            ));
        }
        let mut gallery = match self.no_normalise {
            true => GalleryFile::new(file)?,
            // Their lengths are told at the end.
            false if labels.is_none() || whitening.is_some() => {
                GalleryFile::unread(file, whitening.cloned())?
            }
            false => GalleryFile::normalised(file)?,
        };
        if gallery.was_read() && !gallery.is_normalised() {
            self.say_lengths(path, gallery.length_range(), terminal);
        }
        if let Some(distractors) = distractors {
            gallery = gallery.followed_by(distractors)?;
        }
        let gallery = Box::new(gallery);
        Ok(Searched::Filed { gallery, shape })
    }

    fn open(
        &self,
        path: &Path,
        labels: Option<&Vec<i64>>,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Embeddings> {
        self.read(EmbeddingsFile::open(path)?, labels, terminal)
    }

    /// Reads embeddings and brings them to length 1: aloud, unless they have about that.
    fn read(
        &self,
        file: EmbeddingsFile,
        labels: Option<&Vec<i64>>,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Embeddings> {
        let path = file.path().to_owned();
        check_labels(&file, labels)?;
        let embeddings = file.into_memory()?;
        if !embeddings.is_normalised() {
            self.say_lengths(&path, embeddings.length_range(), terminal);
        }
        if self.no_normalise {
            return Ok(embeddings);
        }
        let at_fault = |source: EvalError| EvalError::Content {
            path,
            source: Box::new(source),
        };
        Ok(embeddings.normalised().map_err(at_fault)?)
    }

    /// Of galleries whose rows were read for the first time when they were ranked.
    fn say_lengths_read(&self, problems: &[Problem], terminal: &mut Terminal) {
        for problem in problems {
            let gallery = match &problem.kind {
                ProblemKind::Filed(set) => set.gallery(),
                ProblemKind::FiledLists(listed) => &listed.gallery,
                _ => continue,
            };
            if !gallery.was_read() && !gallery.is_normalised() {
                let path = gallery.file().path();
                self.say_lengths(path, gallery.length_range(), terminal);
            }
        }
    }

    fn say_lengths(&self, path: &Path, range: [f64; 2], terminal: &mut Terminal) {
        let [shortest, longest] = range.map(length_text);
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
}

fn check_labels(file: &EmbeddingsFile, labels: Option<&Vec<i64>>) -> anyhow::Result<()> {
    if let Some(labels) = labels {
        ensure!(
            labels.len() == file.rows(),
            "there are {} labels for the {} rows of {}: each row needs one",
            labels.len(),
            file.rows(),
            file.path().display()
        );
    }
    Ok(())
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

/// Says it where queries and gallery, files of these rows and columns, are known to come from
/// different models.
fn compare_models(
    queries: (&Path, [usize; 2]),
    gallery: (&Path, [usize; 2]),
    terminal: &mut Terminal,
) -> anyhow::Result<()> {
    let origin = |(path, shape): (&Path, [usize; 2])| Origin::beside(path, shape);
    if let (Some(first), Some(second)) = (origin(queries)?, origin(gallery)?)
        && (first.model.sha256 != second.model.sha256 || first.whitening != second.whitening)
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use recall_eval::save_labels;

    use super::super::EvalArgs;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: EvalArgs,
    }

    #[test]
    fn a_gallery_in_its_file_is_judged_as_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        // Values with many ties, in rows of different lengths.
        let rows = |count: usize, seed: usize| -> Embeddings {
            let value = |i: usize| ((i * 7919 + seed) % 97 % 5) as f32 - 1.5;
            Embeddings::new((0..count * 3).map(value).collect(), 3).unwrap()
        };
        let numbers = |count: i64, of: i64| -> Vec<i64> { (0..count).map(|i| i % of).collect() };
        rows(40, 1).save(at("q.npy")).unwrap();
        rows(300, 2).save(at("g.npy")).unwrap();
        save_labels(at("ql.npy"), &numbers(40, 6)).unwrap();
        save_labels(at("gl.npy"), &numbers(300, 7)).unwrap();
        save_labels(at("qc.npy"), &numbers(40, 4)).unwrap();
        save_labels(at("gc.npy"), &numbers(300, 5)).unwrap();

        let files = ["--embeddings", &at("g.npy"), "--labels", &at("gl.npy")].map(str::to_owned);
        let queries = [
            "--query-embeddings",
            &at("q.npy"),
            "--query-labels",
            &at("ql.npy"),
        ]
        .map(str::to_owned);
        let groups =
            ["--groups", &at("gc.npy"), "--query-groups", &at("qc.npy")].map(str::to_owned);
        let raw = ["--no-normalise".to_owned()];
        let cases: [&[&[String]]; 3] = [
            &[&files, &queries],
            &[&files, &queries, &raw],
            &[&files, &queries, &groups],
        ];
        for case in cases {
            let line = std::iter::once("eval".to_owned()).chain(case.concat());
            let EvalArgs {
                mut files,
                judging,
                common,
                ..
            } = Line::parse_from(line).args;
            files.labels = common.labels;
            let embeddings = files.embeddings.clone().unwrap();
            let wanted = files.wanted(&embeddings).unwrap();
            assert_eq!(files.in_memory(&judging, &wanted), IN_MEMORY);
            let judged = |in_memory: usize| {
                let terminal = &mut Terminal::new(true);
                let queries = files.query_embeddings.as_deref();
                let problem = files.problem(
                    (&embeddings, queries),
                    &wanted,
                    None,
                    None,
                    in_memory,
                    terminal,
                );
                let problem = problem.unwrap();
                let filed = matches!(problem.kind, ProblemKind::Filed(_));
                let config = judging.config(vec![Metric::RecallAt(1), Metric::MapAtR]);
                (filed, config.judge(&[problem]).unwrap())
            };
            let (in_file, in_memory) = (judged(899), judged(900));
            assert!(in_file.0 && !in_memory.0);
            assert_eq!(in_file.1, in_memory.1);
        }

        // What is not for files.
        for case in [
            &[&files[..], &queries, &["--compare".into(), at("g.npy")]].concat(),
            &[&files[..], &queries, &["--rank-on".into(), "device".into()]].concat(),
            &files.to_vec(),
        ] {
            let line = std::iter::once(&"eval".to_owned())
                .chain(case)
                .cloned()
                .collect::<Vec<_>>();
            let EvalArgs {
                mut files,
                judging,
                common,
                ..
            } = Line::parse_from(line).args;
            files.labels = common.labels;
            let wanted = files.wanted(Path::new(&at("g.npy"))).unwrap();
            assert_eq!(files.in_memory(&judging, &wanted), usize::MAX);
        }
    }
}
