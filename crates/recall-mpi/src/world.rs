use std::fmt;
use std::process;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use recall_step::{Collective, CollectiveError, check_parts};

use crate::exchange::{Never, exchange};

/// How long the end of a job may take before this process ends by itself.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What a job may take to begin, whatever the time-out.
const SHORTEST_START: Duration = Duration::from_secs(60);

/// All processes of the MPI job that this one is part of.
///
/// Dropping it leaves MPI as it is, so that a process which fails can end, and MPI's launcher ends the others.
/// [`close`](Self::close) is the good end, and [`abort`](Self::abort) ends all.
pub struct World {
    place: Place,
    timeout: Duration,
    link: Mutex<Link>,
}

/// Where in the job this process is.
#[derive(Debug, Clone, Copy)]
struct Place {
    rank: usize,
    size: usize,
    local_rank: usize,
}

/// The way to the thread that calls MPI.
struct Link {
    orders: Sender<Order>,
    answers: Receiver<Result<Vec<Vec<u8>>, CollectiveError>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Exchange {
        parts: Vec<Arc<[u8]>>,
        timeout: Duration,
    },
    Close,
    Abort(i32),
}

impl World {
    /// Joins the job. A process that MPI did not start is a job by itself. Whoever waits for a rank gives up
    /// after `timeout`.
    ///
    /// # Errors
    ///
    /// [`CollectiveError::Broken`] if MPI cannot be initialised, or was before.
    pub fn open(timeout: Duration) -> Result<Self, CollectiveError> {
        let (orders, to_do) = channel();
        let (done, answers) = channel();
        let (opened, place) = channel();
        let thread = thread::Builder::new()
            .name("recall-mpi".into())
            .spawn(move || serve(&opened, &to_do, &done))
            .map_err(|error| broken(format!("the system refuses another thread: {error}")))?;
        let patience = timeout.max(SHORTEST_START);
        let seconds = patience.as_secs();
        let place = place
            .recv_timeout(patience)
            .map_err(|_| {
                broken(format!(
                    "MPI has not brought the ranks together in {seconds} s"
                ))
            })?
            .ok_or_else(|| broken("MPI cannot be initialised, or was before".to_owned()))?;
        Ok(Self {
            place,
            timeout,
            link: Mutex::new(Link {
                orders,
                answers,
                thread: Some(thread),
            }),
        })
    }

    /// The place of this process among those on its machine, from 0: which of the devices is its own.
    pub fn local_rank(&self) -> usize {
        self.place.local_rank
    }

    /// Leaves the job, when all ranks do: the good end.
    pub fn close(&self) {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(()), Some(thread)) = (link.orders.send(Order::Close), link.thread.take()) {
            // Only MPI can have panicked there, and what counts is done.
            let _ = thread.join();
        }
    }

    /// Ends all processes of the job, this one with the exit code `code`.
    pub fn abort(&self, code: i32) -> ! {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if link.orders.send(Order::Abort(code)).is_ok() {
            thread::sleep(LAST_WORDS);
        }
        process::exit(code)
    }
}

impl Collective for World {
    fn rank(&self) -> usize {
        self.place.rank
    }

    fn size(&self) -> usize {
        self.place.size
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        check_parts(self, parts)?;
        self.exchange(parts.iter().map(|&part| part.into()).collect())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        // One copy for all.
        self.exchange(vec![own.into(); self.size()])
    }
}

impl World {
    fn exchange(&self, parts: Vec<Arc<[u8]>>) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let order = Order::Exchange {
            parts,
            timeout: self.timeout,
        };
        let closed = || broken("the ranks have parted already".to_owned());
        link.orders.send(order).map_err(|_| closed())?;
        link.answers.recv().map_err(|_| closed())?
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("place", &self.place).finish()
    }
}

fn broken(problem: String) -> CollectiveError {
    CollectiveError::Broken(problem)
}

/// Calls MPI for the rest of the process.
fn serve(
    opened: &Sender<Option<Place>>,
    orders: &Receiver<Order>,
    answers: &Sender<Result<Vec<Vec<u8>>, CollectiveError>>,
) {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        // Whoever opens it may have gone.
        let _ = opened.send(None);
        return;
    };
    let world = universe.world();
    let number = |rank: i32| usize::try_from(rank).unwrap_or_default();
    let _ = opened.send(Some(Place {
        rank: number(world.rank()),
        size: number(world.size()),
        local_rank: number(world.split_shared(world.rank()).rank()),
    }));
    while let Ok(order) = orders.recv() {
        match order {
            Order::Exchange { parts, timeout } => {
                let mut stranded = |error| strand(&world, orders, answers, error);
                let received = exchange(&world, &parts, timeout, &mut stranded);
                if answers.send(Ok(received)).is_err() {
                    break;
                }
            }
            Order::Close => return,
            Order::Abort(code) => world.abort(code),
        }
    }
    // The process ends without the others, for which MPI would wait here.
    std::mem::forget(universe);
}

/// Tells of the error, and waits for the end.
fn strand(
    world: &SimpleCommunicator,
    orders: &Receiver<Order>,
    answers: &Sender<Result<Vec<Vec<u8>>, CollectiveError>>,
    error: CollectiveError,
) -> Never {
    let mut error = Some(error);
    loop {
        if let Some(error) = error.take() {
            let _ = answers.send(Err(error));
        }
        match orders.recv() {
            Ok(Order::Abort(code)) => world.abort(code),
            Ok(Order::Exchange { .. }) => {
                error = Some(broken("a rank is missing".to_owned()));
            }
            // There is no good end.
            Ok(Order::Close) => world.abort(1),
            Err(_) => loop {
                thread::park();
            },
        }
    }
}
