//! The job of several processes that the command may be one of: how it joins, and how it ends.

use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::bail;

use super::print::say;
use crate::Ranks;

/// By what a launcher tells a process how many it has started, and which of them it is.
const LAUNCHERS: [[&str; 2]; 4] = [
    ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
    ["PMI_SIZE", "PMI_RANK"],
    ["MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"],
    ["SLURM_STEP_NUM_TASKS", "PMIX_RANK"],
];

/// How long the others let rank 0 speak for all: what is wrong with all is said once.
const AFTER_YOU: Duration = Duration::from_secs(2);
/// How long each rank then waits for the one before it, and the last ones at most: the first that speaks ends all.
const NEXT: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(4);

/// The processes that this one trains with.
pub(super) struct Job {
    pub ranks: Ranks,
    /// The number of this process among those on its machine, from 0.
    pub local_rank: usize,
}

/// How many processes were launched together with this one, it included, and its number.
fn launched() -> Option<(usize, usize)> {
    let number = |name: &str| -> Option<usize> { env::var(name).ok()?.parse().ok() };
    let launchers = LAUNCHERS.iter();
    let mut launched = launchers.filter_map(|[size, rank]| Some((number(size)?, number(rank)?)));
    launched.find(|(size, _)| *size > 1)
}

/// Joins the job that this process was launched in, if it was. A rank that does not answer for `timeout` is
/// given up.
pub(super) fn join(timeout: Duration) -> anyhow::Result<Job> {
    match launched() {
        None => Ok(Job {
            ranks: Ranks::default(),
            local_rank: 0,
        }),
        Some((size, _)) => open(size, timeout),
    }
}

/// Refuses to be one of several processes.
pub(super) fn refuse(what: &str) -> anyhow::Result<()> {
    match launched() {
        None => Ok(()),
        Some((size, _)) => bail!(
            "{what} is work for one process, and mpirun started {size}: start it without mpirun"
        ),
    }
}

/// Says why this process ends, and ends all others.
pub(super) fn end(sentence: &str, code: u8) -> ExitCode {
    let several = launched();
    if let Some((_, rank @ 1..)) = several {
        let turn = NEXT.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX));
        thread::sleep(AFTER_YOU + turn.min(LAST));
    }
    match several {
        Some((_, rank)) => say(&sentence.replacen("error: ", &format!("error: rank {rank}: "), 1)),
        None => say(sentence),
    }
    #[cfg(feature = "mpi")]
    if let Some(world) = WORLD.get() {
        world.abort(code.into());
    }
    ExitCode::from(code)
}

/// Leaves the job, together with all others.
pub(super) fn leave() {
    #[cfg(feature = "mpi")]
    if let Some(world) = WORLD.get() {
        world.close();
    }
}

/// A process is in one job at most, which MPI holds for the whole process as well.
#[cfg(feature = "mpi")]
static WORLD: std::sync::OnceLock<std::sync::Arc<recall_mpi::World>> = std::sync::OnceLock::new();

#[cfg(feature = "mpi")]
fn open(size: usize, timeout: Duration) -> anyhow::Result<Job> {
    use std::sync::Arc;

    use recall_step::Collective;

    let world = Arc::new(recall_mpi::World::open(timeout)?);
    let world = Arc::clone(WORLD.get_or_init(|| world));
    if world.size() != size {
        bail!(
            "the launcher started {size} processes, and the MPI of this build sees {}: build it with the MPI \
             that launches it",
            world.size()
        );
    }
    let local_rank = world.local_rank();
    let ranks: Arc<dyn Collective> = world;
    Ok(Job {
        ranks: ranks.into(),
        local_rank,
    })
}

#[cfg(not(feature = "mpi"))]
fn open(size: usize, _timeout: Duration) -> anyhow::Result<Job> {
    bail!(
        "mpirun started {size} processes, and this build knows nothing of ranks: build it with `--features mpi`, \
         or start it without mpirun"
    )
}
