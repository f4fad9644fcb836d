//! Runs that are one and the same: what was computed twice is no second seed.

use super::FinishedRun;

/// The runs that count, in their order, and what is to be said of others.
///
/// A run whose settings agree with those of an earlier one, and whose losses and metrics are the same bit
/// for bit, is a copy of it, or the same computation done twice: it counts once. Runs of one seed that differ in
/// their numbers, and runs of other settings that do not, count, and are named.
pub(super) fn distinct<'a>(
    runs: &'a [FinishedRun],
    notes: &mut Vec<String>,
) -> Vec<&'a FinishedRun> {
    let mut kept: Vec<&FinishedRun> = Vec::with_capacity(runs.len());
    for run in runs {
        let name = |run: &FinishedRun| run.folder.display().to_string();
        let agrees = |other: &&FinishedRun| other.agrees_but_for_seed(run);
        let same_seed = |other: &&FinishedRun| other.config.seed == run.config.seed;
        let same = kept.iter().copied().find(|other| other.has_numbers_of(run));
        let repeated = kept
            .iter()
            .copied()
            .find(|other| agrees(other) && same_seed(other));
        match same {
            Some(other) if agrees(&other) => {
                notes.push(format!(
                    "{} is identical with {}, all losses and metrics bit for bit: counted once",
                    name(run),
                    name(other)
                ));
                continue;
            }
            Some(other) => notes.push(format!(
                "{} and {} have the same losses and metrics bit for bit: what tells their settings apart \
                 changed nothing",
                name(other),
                name(run)
            )),
            None => {}
        }
        if let Some(other) = repeated {
            notes.push(format!(
                "{} and {} have one seed and different numbers, as two kinds of processor give: both count, \
                 though they are one seed",
                name(other),
                name(run)
            ));
        }
        kept.push(run);
    }
    kept
}
