//! A look at a data set before it is trained on: is everything there, is it what was published, is
//! anything trained on and tested, and what will the sampler make of it.
//!
//! [`CheckConfig::run`] reads every image once and keeps a hash of it, so memory grows with the number
//! of images and not with their size.

mod counts;
mod duplicates;
mod files;
mod finding;
mod sampling;
mod sizes;
#[cfg(test)]
mod tests;
mod text;
mod truth;
mod words;

use rayon::ThreadPoolBuilder;
use serde::Serialize;

use crate::{BatchSamplerConfig, DataError, Dataset, Split};

pub use counts::PartCount;
pub use files::FilesRead;
pub use finding::{Case, Finding, FindingKind, Severity};
pub use sampling::Sampling;
pub use sizes::{ClassSizes, SizeBin, Spread};
pub use truth::{SetupCounts, TruthSizes};
use words::Noun;

/// In the order in which they are reported.
const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// How a data set is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckConfig {
    /// Whether every image is decoded. Otherwise images are only read, which finds duplicates and
    /// empty files, but no damage.
    pub decode: bool,
    /// Threads that read and decode; 0 takes one for each core.
    pub threads: usize,
    /// The sampler that training will have.
    pub sampler: BatchSamplerConfig,
    /// Whether training will take all items as one batch instead, see [`BatchSampler::whole`](crate::BatchSampler::whole).
    pub whole: bool,
    /// The share of the training classes that training holds out for validation, see
    /// [`training_and_validation`](crate::training_and_validation).
    pub validation: f64,
}

impl CheckConfig {
    /// Decodes every image on all cores; training would hold nothing out.
    pub fn new(sampler: BatchSamplerConfig) -> Self {
        Self {
            decode: true,
            threads: 0,
            sampler,
            whole: false,
            validation: 0.0,
        }
    }

    /// Looks at `dataset`, best as [`DataSpec::index`](crate::DataSpec::index) reads it: that does not
    /// stop at images that are not there. Tells `progress` the number of images done so far.
    ///
    /// # Errors
    ///
    /// Sampler settings that suit no data set, threads that the system refuses. What is wrong with the
    /// data set is in the report.
    pub fn run(
        &self,
        dataset: &Dataset,
        progress: impl FnMut(usize) + Send,
    ) -> Result<CheckReport, DataError> {
        // First, because it is quick and may refuse.
        let (sampling, no_batch) =
            sampling::sampling(dataset, self.sampler, self.whole, self.validation)?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|number| format!("recall-check-{number}"))
            .build()
            .map_err(|error| DataError::Loader {
                problem: format!("threads is {}, and the system says: {error}", self.threads),
            })?;
        let looked = pool.install(|| files::look_at_all(dataset, self.decode, progress));

        let parts = counts::parts(dataset);
        let mut findings = Vec::new();
        findings.extend(counts::wrong_counts(&parts));
        for judged in [Split::Test, Split::Validation] {
            findings.extend(counts::shared_classes(dataset, judged));
        }
        findings.extend(files::faults(dataset, &looked));
        findings.extend(duplicates::duplicates(dataset, &looked));
        for split in SPLITS {
            findings.extend(counts::single_images(dataset, split));
        }
        findings.extend(counts::lonely_queries(dataset));
        findings.extend(truth::queries_without_positives(dataset));
        findings.extend(no_batch);
        findings.extend(dataset.notes().iter().map(Finding::of_note));
        if !dataset.is_labelled() {
            findings.push(Finding::plain(
                Severity::Note,
                FindingKind::Unlabelled,
                "nothing says which images belong together: they can be embedded and searched, for \
                 training and judging they need class folders",
            ));
        }
        // Stable: within a severity the order stays.
        findings.sort_by_key(|finding| finding.severity);
        let of = |severity| {
            let found = findings.iter();
            found.filter(|finding| finding.severity == severity).count()
        };
        Ok(CheckReport {
            dataset: dataset.name().to_owned(),
            images: dataset.items().len(),
            noun: Noun::of(dataset),
            classes: counts::all_classes(dataset),
            super_classes: dataset.super_class_names().len(),
            files: files::summary(&looked, self.decode),
            parts,
            class_sizes: SPLITS
                .into_iter()
                .filter_map(|split| ClassSizes::of(dataset, split))
                .collect(),
            ground_truth: TruthSizes::of(dataset),
            sampling,
            errors: of(Severity::Error),
            warnings: of(Severity::Warning),
            findings,
        })
    }
}

/// What there is to know about a data set. `Display` is for people, `Serialize` for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// Its name.
    pub dataset: String,
    /// All images that it lists, or rows of features.
    pub images: usize,
    #[serde(skip)]
    noun: Noun,
    /// Classes that have images; `None` where classes mean nothing.
    pub classes: Option<usize>,
    /// Classes above the classes; 0 where the data set has none.
    pub super_classes: usize,
    /// What became of the images.
    pub files: FilesRead,
    /// Its parts, beside what was published of them.
    pub parts: Vec<PartCount>,
    /// The class sizes of each split that has images; none where classes mean nothing.
    pub class_sizes: Vec<ClassSizes>,
    /// What queries have to find, where lists say it.
    pub ground_truth: Option<TruthSizes>,
    /// What the sampler takes and leaves; `None` without training images.
    pub sampling: Option<Sampling>,
    /// How many findings are errors.
    pub errors: usize,
    /// How many findings are warnings.
    pub warnings: usize,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
}
