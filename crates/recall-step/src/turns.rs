//! Ranks that are threads of one process.

use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::collective::check_parts;
use crate::{Collective, CollectiveError};

/// Does `work` as each of so many ranks, in threads of this process that take turns: one goes on where
/// another waits for it. Returns what they came to, in the order of ranks.
///
/// It makes nothing faster. It is for tests of a loop over ranks, which need no MPI then; and taking turns
/// keeps apart what a process has only one of, such as the random generator of a backend. A rank that
/// returns ends the others where they wait for it: [`CollectiveError::Ended`].
///
/// ```
/// let sums = recall_step::in_turns(3, |ranks| {
///     let mut values = [ranks.rank() as f32];
///     ranks.all_reduce(&mut values).map(|()| values[0])
/// });
/// assert!(sums.into_iter().all(|sum| sum == Ok(3.0)));
/// ```
///
/// # Panics
///
/// If `work` does, as any of the ranks.
pub fn in_turns<T: Send>(size: usize, work: impl Fn(Arc<dyn Collective>) -> T + Sync) -> Vec<T> {
    let table = Table {
        state: Mutex::new(State {
            taken: false,
            parts: (0..size).map(|_| None).collect(),
            fetched: 0,
            round: 0,
            ended: None,
        }),
        changed: Condvar::new(),
    };
    let (table, work) = (Arc::new(table), &work);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| {
                let table = Arc::clone(&table);
                scope.spawn(move || {
                    let _seat = Seat {
                        rank,
                        table: Arc::clone(&table),
                    };
                    let turn = table.lock();
                    drop(table.take_turn(turn));
                    work(Arc::new(AtTable { rank, size, table }))
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        // All of them have ended before the panic of one goes on.
        let results: Vec<_> = results.collect();
        let results = results.into_iter();
        results
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// A rank at the table where parts are exchanged.
#[derive(Debug)]
struct AtTable {
    rank: usize,
    size: usize,
    table: Arc<Table>,
}

#[derive(Debug)]
struct Table {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Whether a rank has the turn.
    taken: bool,
    /// What each rank sends to each in this round, once it has come.
    parts: Vec<Option<Vec<Vec<u8>>>>,
    /// How many ranks have fetched what was sent to them.
    fetched: usize,
    /// Exchanges that are done.
    round: u64,
    /// The first rank that has ended: others may end because of it.
    ended: Option<usize>,
}

/// Gives the turn back when the work of a rank ends, by a panic, too.
struct Seat {
    rank: usize,
    table: Arc<Table>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.table.lock();
        state.taken = false;
        state.ended.get_or_insert(self.rank);
        self.table.changed.notify_all();
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        pending: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.changed
            .wait_while(state, |state| pending(state))
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take_turn<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let mut state = self.wait(state, |state| state.taken);
        state.taken = true;
        state
    }
}

impl Collective for AtTable {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        check_parts(self, parts)?;
        let table = &*self.table;
        let mut state = table.lock();
        let round = state.round;
        state.parts[self.rank] = Some(parts.iter().map(|part| part.to_vec()).collect());
        state.taken = false;
        table.changed.notify_all();
        let all_came = |state: &State| state.parts.iter().all(Option::is_some);
        let mut state = table.wait(state, |state| !all_came(state) && state.ended.is_none());
        if let (false, Some(rank)) = (all_came(&state), state.ended) {
            drop(table.take_turn(state));
            return Err(CollectiveError::Ended { rank });
        }
        let sent = state.parts.iter_mut().flatten();
        let received = sent.map(|parts| std::mem::take(&mut parts[self.rank]));
        let received = received.collect();
        state.fetched += 1;
        if state.fetched == self.size {
            state.fetched = 0;
            state.round += 1;
            state.parts.iter_mut().for_each(|parts| *parts = None);
            table.changed.notify_all();
        }
        let state = table.wait(state, |state| state.round == round);
        drop(table.take_turn(state));
        Ok(received)
    }
}
