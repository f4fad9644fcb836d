//! Ctrl-C, and the signal by which a system asks a process to end.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use super::print::say;

/// The exit code of what was interrupted, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C is a request that the run answers when its step is done; the second one
/// ends the process at once.
pub(super) fn listen() {
    let handler = || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            process::exit(INTERRUPTED.into());
        }
        say("stopping after this step; once more ends at once");
    };
    // Without a handler Ctrl-C ends the process, which the checkpoints are made for.
    let _ = ctrlc::set_handler(handler);
}

/// Whether the user asked to stop.
pub(super) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
