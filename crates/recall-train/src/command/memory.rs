//! What the C library does with memory that was freed.

/// Has the C library keep memory that was freed, for the rest of this process.
///
/// A training step frees and asks again for the same activations. Left to itself glibc can give them back to the system
/// every time, and fetch them anew page by page: a third of the processor's time in the worst runs measured. Kept, they
/// are used again, and the most memory of a process stays about what it was (docs/benchmarks.md).
///
/// To be called once, at the beginning of a program. Settings of whoever runs it (`MALLOC_…_`, `GLIBC_TUNABLES`) stay, and
/// other C libraries are left alone.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    const SET_BY_HAND: [&str; 3] = [
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
        "GLIBC_TUNABLES",
    ];

    /// Bytes from which on a block is a mapping of its own: the most that is taken, which before glibc 2.35 was 32 MiB.
    const OWN_MAPPING: [c_int; 2] = [1 << 30, 1 << 25];

    pub fn keep() {
        if SET_BY_HAND
            .iter()
            .any(|name| std::env::var_os(name).is_some())
        {
            return;
        }
        let mut larger = OWN_MAPPING.into_iter();
        // The second alone is worse than nothing: it also ends the growth of the first by itself.
        if larger.any(|bytes| set(libc::M_MMAP_THRESHOLD, bytes)) {
            set(libc::M_TRIM_THRESHOLD, c_int::MAX);
        }
    }

    /// Whether the setting was taken.
    #[expect(unsafe_code, reason = "a function of the C library")]
    pub fn set(parameter: c_int, value: c_int) -> bool {
        // SAFETY: it takes two numbers, refuses those that it does not know, and locks what it changes.
        unsafe { libc::mallopt(parameter, value) == 1 }
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn glibc_takes_what_it_is_told() {
        assert!(glibc::set(libc::M_MMAP_THRESHOLD, 1 << 25));
        assert!(glibc::set(libc::M_TRIM_THRESHOLD, 1 << 30));
        keep_freed_memory();
    }
}
