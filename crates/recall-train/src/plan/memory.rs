//! How much memory the process takes, as far as the system tells.

use std::fs;

/// The most memory that the process has taken since it began, or since a plan was measured, in bytes; none
/// where the system does not tell.
pub fn peak_memory() -> Option<u64> {
    status("VmHWM:")
}

/// What the process takes now, in bytes.
pub fn memory() -> Option<u64> {
    status("VmRSS:")
}

/// What the machine has left for processes, in bytes.
pub fn available_memory() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Makes what is taken now the peak, and says whether that worked.
pub(crate) fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn status(key: &str) -> Option<u64> {
    kilobytes("/proc/self/status", key)
}

fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024)
}

/// Bytes as a person would say them.
pub(crate) fn human(bytes: u64) -> String {
    let mega = bytes as f64 / 1e6;
    match mega >= 1000.0 {
        true => format!("{:.2} GB", mega / 1000.0),
        false => format!("{mega:.0} MB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        assert_eq!(human(999_400_000), "999 MB");
        assert_eq!(human(12_345_000_000), "12.35 GB");
    }
}
