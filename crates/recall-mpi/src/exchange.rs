//! Messages from each rank to each, with a time-out.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mpi::request::{LocalScope, Request, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Source};
use recall_step::CollectiveError;

/// Bytes of a message: MPI counts them in 31 bits.
const PIECE: usize = 1 << 26;

/// What kind of message it is.
const LENGTH: i32 = 1;
const BODY: i32 = 2;

/// How long a rank sleeps before it looks again, at first and at most: ranks that wait should not take the
/// processor from those that compute.
const NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_micros(500);

/// Why an exchange cannot be completed. MPI still holds its buffers then, so it does not return.
pub(crate) type Stranded<'a> = &'a mut dyn FnMut(CollectiveError) -> Never;

/// What never is.
pub(crate) enum Never {}

/// Sends `parts[r]` to rank `r` and returns what came from each. First all tell each other how much will
/// come: that also says that they are there.
pub(crate) fn exchange(
    world: &SimpleCommunicator,
    parts: &[Arc<[u8]>],
    timeout: Duration,
    stranded: Stranded<'_>,
) -> Vec<Vec<u8>> {
    let own = usize::try_from(world.rank()).unwrap_or_default();
    let lengths: Vec<u64> = parts.iter().map(|part| part.len() as u64).collect();
    let mut coming = vec![0; parts.len()];
    scope(|scope| {
        let mut open = Vec::with_capacity(2 * lengths.len());
        for (rank, length) in others(own, &mut coming) {
            let process = world.process_at_rank(rank as i32);
            let receive = process.immediate_receive_into_with_tag(scope, length, LENGTH);
            open.push((rank, receive));
        }
        for (rank, length) in others(own, &lengths) {
            let process = world.process_at_rank(rank as i32);
            open.push((rank, process.immediate_send_with_tag(scope, length, LENGTH)));
        }
        complete(open, timeout, stranded);
    });

    let mut received: Vec<Vec<u8>> = coming
        .iter()
        .map(|&bytes| vec![0; bytes as usize])
        .collect();
    received[own] = parts[own].to_vec();
    scope(|scope| {
        let mut open = Vec::new();
        for (rank, part) in others(own, &mut received) {
            let process = world.process_at_rank(rank as i32);
            for piece in part.chunks_mut(PIECE) {
                let receive = process.immediate_receive_into_with_tag(scope, piece, BODY);
                open.push((rank, receive));
            }
        }
        for (rank, part) in others(own, parts) {
            let process = world.process_at_rank(rank as i32);
            for piece in part.chunks(PIECE) {
                open.push((rank, process.immediate_send_with_tag(scope, piece, BODY)));
            }
        }
        complete(open, timeout, stranded);
    });
    received
}

/// What belongs to each rank but this one, with its rank.
fn others<T>(own: usize, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = (usize, T)> {
    let all = all.into_iter().enumerate();
    all.filter(move |(rank, _)| *rank != own)
}

/// Waits until all these messages, each from or to a rank, have passed. The time-out begins anew with each
/// that does.
#[expect(
    unreachable_code,
    reason = "its type says that nothing comes back from being stranded"
)]
fn complete<'a, D: ?Sized>(
    mut open: Vec<(usize, Request<'a, D, &LocalScope<'a>>)>,
    timeout: Duration,
    stranded: Stranded<'_>,
) {
    let (mut last, mut nap) = (Instant::now(), NAP);
    loop {
        let before = open.len();
        let mut left = Vec::with_capacity(before);
        for (rank, request) in open {
            if let Err(request) = request.test() {
                left.push((rank, request));
            }
        }
        open = left;
        let Some((rank, _)) = open.first() else {
            return;
        };
        if open.len() < before {
            (last, nap) = (Instant::now(), NAP);
        } else if last.elapsed() > timeout {
            let silent = CollectiveError::Silent {
                rank: *rank,
                seconds: timeout.as_secs(),
            };
            stranded(silent);
        }
        thread::sleep(nap);
        nap = (2 * nap).min(LONGEST_NAP);
    }
}
