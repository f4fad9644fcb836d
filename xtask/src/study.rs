//! `cargo xtask study`: the paper's claims measured again.
//!
//! `docs/study/study.toml` declares what is compared with what, on which data, over which ranges and seeds. Each run is known
//! by the hash of its settings and kept in `results/`, so a study is stopped, resumed and extended, and
//! nothing runs twice. The page and its figures are written from these results alone.
//!
//! # Protocol
//!
//! After Musgrave, Belongie and Lim, *A Metric Learning Reality Check* (ECCV 2020): for each thing that is compared a random search
//! of equal size over its own settings and the learning rate, judged by validation classes only. The best
//! settings train with fresh seeds on all training classes for the same number of epochs, and the test
//! classes judge the last epoch's model once.

mod declared;
mod draw;
mod estimate;
mod figures;
mod job;
mod page;
mod results;
mod select;
mod standin;
mod statistics;
mod table;
#[cfg(test)]
mod tests;
mod thin;
mod work;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::machine::{cores, processor};
use declared::{Claim, Source, Study};
use job::{Cell, Job};
use results::{Outcome, Results};
use work::Work;

#[derive(clap::Args)]
pub struct Args {
    /// Minutes instead of hours, on stand-ins for what is not at hand: shows that the road works, and nothing else
    #[arg(long)]
    quick: bool,
    /// Only these claims
    #[arg(long, value_name = "CLAIM", value_delimiter = ',')]
    only: Vec<String>,
    /// Features of the emoji by a pretrained network: rows with `labels` and `train` in a .safetensors file
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// The table that `cargo xtask glyphs` wrote
    #[arg(long, value_name = "FILE.csv")]
    glyphs: Option<PathBuf>,
    /// Runs at once; they share the cores
    #[arg(long, default_value_t = cores(), value_parser = at_least_one)]
    jobs: usize,
    /// Stop beginning runs after so many minutes; the same command goes on
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Say what would run and how long it would take
    #[arg(long)]
    plan: bool,
    /// Run nothing, write the page from the results there are
    #[arg(long, conflicts_with_all = ["plan", "repeat"])]
    page: bool,
    /// Draw so many runs from the results, run them again, and compare
    #[arg(long, value_name = "RUNS")]
    repeat: Option<usize>,
    /// What to study
    #[arg(long, value_name = "FILE.toml", default_value_os_t = docs().join("study/study.toml"))]
    study: PathBuf,
    /// Where study.md and study/ are written; with --quick `target/study`, otherwise `docs`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One run, as JSON: how the command starts itself
    #[arg(long, hide = true)]
    work: Option<String>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a number from 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// The folder of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new(""))
}

fn docs() -> PathBuf {
    workspace().join("docs")
}

pub fn run(args: &Args) -> Result<()> {
    if let Some(work) = &args.work {
        let work: Work = serde_json::from_str(work).context("this is no run")?;
        return work.print();
    }
    let study = Study::read(&args.study)?.only(&args.only)?;
    let study = if args.quick { study.quick() } else { study };
    let out = match (&args.out, args.quick) {
        (Some(out), _) => out.clone(),
        (None, true) => workspace().join("target/study"),
        (None, false) => docs(),
    };
    let mut results = Results::open(&out.join("study/results"))?;
    let here = Here::new(args, &study)?;
    if let Some(count) = args.repeat {
        return here.repeat(count, &study, &results);
    }
    if !args.page {
        here.announce(&study, &results)?;
    }
    if args.plan {
        return Ok(());
    }
    if !args.page {
        here.run(&study, &mut results)?;
    }
    let all = Study::read(&args.study)?;
    let all = if args.quick { all.quick() } else { all };
    let page = page::write(&all, &results, args.quick)?;
    page.save(&out)?;
    println!("page    {}", out.join("study.md").display());
    Ok(())
}

/// What this machine has for a study.
struct Here {
    features: Option<PathBuf>,
    glyphs: Option<PathBuf>,
    quick: bool,
    jobs: usize,
    minutes: Option<f64>,
    /// Runs that go on, each in a folder.
    scratch: PathBuf,
    /// Keeps stand-ins while the study runs.
    _standins: Option<tempfile::TempDir>,
}

/// A run that goes on.
struct Running {
    work: Work,
    child: Child,
    what: String,
    since: Instant,
}

impl Here {
    fn new(args: &Args, study: &Study) -> Result<Self> {
        for path in args.features.iter().chain(&args.glyphs) {
            ensure!(path.is_file(), "there is no file {}", path.display());
        }
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(fs::canonicalize).transpose();
        let mut here = Self {
            features: absolute(&args.features)?,
            glyphs: absolute(&args.glyphs)?,
            quick: args.quick,
            jobs: args.jobs,
            minutes: args.minutes,
            scratch: workspace().join("target/study-runs"),
            _standins: None,
        };
        if args.quick {
            let folder = tempfile::tempdir()?;
            let features = folder.path().join("pixels.safetensors");
            standin::features(&features)?;
            here.features = Some(features);
            here._standins = Some(folder);
        }
        for claim in &study.claims {
            if !args.page && !here.has(study, claim) {
                let glyphs = claim
                    .data()
                    .any(|data| study.data[data].source == Source::Glyphs);
                let wants = match glyphs {
                    true => "--glyphs FILE.csv",
                    false => "--features FILE",
                };
                eprintln!("skipped: {} needs {wants}", claim.name);
            }
        }
        Ok(here)
    }

    /// The file of a source, which glyphs go without in a quick study: emoji stand in for them.
    fn file(&self, source: Source) -> Option<PathBuf> {
        match source {
            Source::Emoji => None,
            Source::Features => self.features.clone(),
            Source::Glyphs => self.glyphs.clone(),
        }
    }

    fn source(&self, study: &Study, data: &str) -> Source {
        match study.data[data].source {
            Source::Glyphs if self.quick && self.glyphs.is_none() => Source::Emoji,
            source => source,
        }
    }

    fn has(&self, study: &Study, claim: &Claim) -> bool {
        claim.data().all(|data| self.has_data(study, data))
    }

    fn has_data(&self, study: &Study, data: &str) -> bool {
        let source = self.source(study, data);
        source == Source::Emoji || self.file(source).is_some()
    }

    /// The file of some data: a thinned one is written where it is not there yet.
    fn file_of(&self, study: &Study, data: &str) -> Result<Option<PathBuf>> {
        let file = self.file(self.source(study, data));
        let (Some(all), Some(thin)) = (&file, &study.data[data].thin) else {
            return Ok(file);
        };
        let thinned = self.scratch.join(format!("{data}.safetensors"));
        thin.write(all, &thinned)?;
        Ok(Some(thinned))
    }

    /// The runs that are missing, in order, and how many more follow once a search is over.
    fn pending(&self, study: &Study, results: &Results) -> Result<(Vec<(String, Job)>, f64)> {
        let mut pending = Vec::new();
        let mut minutes = 0.0;
        let mut seen = BTreeSet::new();
        for claim in study.claims.iter().filter(|claim| self.has(study, claim)) {
            for cell in study.cells(claim, self.quick) {
                let mut put = |jobs: Vec<Job>, kind: &str| {
                    let all = jobs.len();
                    for (at, job) in jobs.into_iter().enumerate() {
                        if results.get(&job.id).is_none() && seen.insert(job.id.clone()) {
                            minutes += claim.minutes;
                            let what = format!(
                                "{}: {}, {kind} {} of {all}",
                                claim.name,
                                cell.name(),
                                at + 1
                            );
                            pending.push((what, job));
                        }
                    }
                };
                match Stage::of(&cell, results)? {
                    Stage::Searching(draws) => {
                        put(draws, "draw");
                        minutes += claim.minutes * claim.seeds.len() as f64;
                    }
                    Stage::Found(finals) => put(finals, "seed"),
                    Stage::NothingFound => {}
                }
            }
        }
        Ok((pending, minutes / self.jobs as f64))
    }

    fn announce(&self, study: &Study, results: &Results) -> Result<()> {
        let (pending, minutes) = self.pending(study, results)?;
        for claim in &study.claims {
            let cells = study.cells(claim, self.quick).len();
            println!(
                "{:<24} {cells:>3} cells, {} draws and {} seeds each",
                claim.name,
                claim.draws,
                claim.seeds.len()
            );
        }
        println!(
            "{} runs are there, {} can begin; about {} with {} at once on {} cores",
            results.all().count(),
            pending.len(),
            in_words(minutes),
            self.jobs,
            cores()
        );
        Ok(())
    }

    /// Runs what is missing.
    fn run(&self, study: &Study, results: &mut Results) -> Result<()> {
        let start = Instant::now();
        let over = || {
            self.minutes
                .is_some_and(|most| start.elapsed().as_secs_f64() > 60.0 * most)
        };
        let mut running: Vec<Running> = Vec::new();
        loop {
            let (pending, minutes) = self.pending(study, results)?;
            for (what, job) in pending {
                if running.len() == self.jobs || over() {
                    break;
                }
                if running.iter().all(|other| other.work.job.id != job.id) {
                    running.push(self.start(study, what, job)?);
                }
            }
            if running.is_empty() {
                return Ok(());
            }
            let done = loop {
                let mut ended = None;
                for (at, run) in running.iter_mut().enumerate() {
                    if run.child.try_wait()?.is_some() {
                        ended = Some(at);
                    }
                }
                match ended {
                    Some(at) => break running.swap_remove(at),
                    None => thread::sleep(Duration::from_millis(50)),
                }
            };
            let outcome = done.work.outcome(done.child)?;
            println!(
                "{} {} ({:.0} s), about {} left",
                done.what,
                told(&outcome),
                done.since.elapsed().as_secs_f64(),
                in_words(minutes)
            );
            results.add(outcome)?;
            fs::remove_dir_all(&done.work.folder).ok();
        }
    }

    fn start(&self, study: &Study, what: String, job: Job) -> Result<Running> {
        fs::create_dir_all(&self.scratch)
            .with_context(|| format!("cannot create {}", self.scratch.display()))?;
        let work = Work {
            source: self.source(study, &job.data),
            file: self.file_of(study, &job.data)?,
            folder: self.scratch.join(&job.id),
            threads: (cores() / self.jobs).max(1),
            jobs: self.jobs,
            job,
        };
        Ok(Running {
            child: work.start()?,
            work,
            what,
            since: Instant::now(),
        })
    }

    /// Runs some of the results again.
    fn repeat(&self, count: usize, study: &Study, results: &Results) -> Result<()> {
        use rand::SeedableRng;
        use rand::seq::SliceRandom;
        let mut there: Vec<&Outcome> = (results.all())
            .filter(|outcome| study.data.contains_key(&outcome.job.data))
            // Others round differently.
            .filter(|outcome| outcome.made.processor == processor())
            .filter(|outcome| self.has_data(study, &outcome.job.data))
            .collect();
        ensure!(
            !there.is_empty(),
            "there are no results to repeat that are from {}",
            processor()
        );
        there.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(study.seed));
        let mut others = 0;
        for before in there.into_iter().take(count) {
            let what = format!("{} with seed {}", before.job.data, before.job.seed);
            let run = self.start(study, what, before.job.clone())?;
            let after = run.work.outcome(run.child)?;
            fs::remove_dir_all(&run.work.folder).ok();
            let same = after.metrics == before.metrics
                && after.hits == before.hits
                && after.estimates == before.estimates
                && after.failed.is_some() == before.failed.is_some();
            others += usize::from(!same);
            let verdict = if same { "equal" } else { "DIFFERENT" };
            println!(
                "{verdict}: {} {}: {}",
                before.job.id,
                run.what,
                told(&after)
            );
        }
        if others > 0 {
            bail!("{others} runs came to other numbers");
        }
        Ok(())
    }
}

/// How far a cell is.
enum Stage {
    /// These draws are to be run; some may be done.
    Searching(Vec<Job>),
    /// These are reported.
    Found(Vec<Job>),
    /// All draws failed.
    NothingFound,
}

impl Stage {
    fn of(cell: &Cell<'_>, results: &Results) -> Result<Self> {
        let draws = cell.draws();
        if draws.is_empty() {
            return Ok(Self::Found(cell.finals(None)));
        }
        let done: Vec<&Outcome> = draws
            .iter()
            .filter_map(|job| results.get(&job.id))
            .collect();
        if done.len() < draws.len() {
            return Ok(Self::Searching(draws));
        }
        Ok(match select::best(&done)? {
            Some(best) => Self::Found(cell.finals(Some(&best.job.settings))),
            None => Self::NothingFound,
        })
    }
}

/// A run in a few words.
fn told(outcome: &Outcome) -> String {
    match &outcome.failed {
        Some(why) => format!("failed: {why}"),
        None => {
            let value = |name: &str| outcome.metrics.get(name).copied().unwrap_or(f64::NAN);
            let of = if outcome.job.sees_test {
                "test"
            } else {
                "validation"
            };
            format!(
                "{of} recall@1 {:.4}, map@r {:.4}",
                value("recall@1"),
                value("map@r")
            )
        }
    }
}

fn in_words(minutes: f64) -> String {
    match minutes {
        few if few < 1.0 => "a minute".to_owned(),
        some if some < 100.0 => format!("{some:.0} minutes"),
        many => format!("{:.1} hours", many / 60.0),
    }
}
