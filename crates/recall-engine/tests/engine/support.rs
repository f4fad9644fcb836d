use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests take turns: the generator of a backend is one for all threads, and each model draws from it.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
