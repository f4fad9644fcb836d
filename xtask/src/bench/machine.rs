//! What a measurement says of the machine it was made on.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// The most memory this process has had, in bytes.
pub fn peak_memory() -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")
        .context("peak memory is read from /proc, which only Linux has")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| {
            value
                .trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<usize>()
                .ok()
        })
        .map(|kilobytes| kilobytes * 1024)
        .context("/proc/self/status has no VmHWM line")
}

/// The processor's name for itself.
pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_string())
}

/// Threads that can run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Today by the machine's clock (UTC), as `2026-11-23`.
pub fn today() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    let [year, month, day] = date(seconds / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day, so many days after 1970-01-01.
fn date(days: u64) -> [u64; 3] {
    // Eras of 400 years that begin on a 1 March, so that a leap day ends its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (next_year, month) = if month < 10 {
        (0, month + 3)
    } else {
        (1, month - 9)
    };
    [era * 400 + year + next_year, month, of_month]
}

/// Processor time up to now, to tell how much of it went to other programs.
///
/// With threads that wait for each other, a core lost to another program costs far more than its
/// share, so a time measured beside other work says little.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorTime {
    total: u64,
    busy: u64,
    /// Of this process and of the children it waited for.
    own: u64,
}

impl ProcessorTime {
    /// Now; none where there is no `/proc`.
    pub fn now() -> Option<Self> {
        let machine = fs::read_to_string("/proc/stat").ok()?;
        // user nice system idle iowait irq softirq steal
        let ticks: Vec<u64> = machine
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .take(8)
            .map_while(|field| field.parse().ok())
            .collect();
        let total = ticks.iter().sum();
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may contain spaces; the process's own times are the 14th and 15th
        // field, and those of awaited children the next two: the 12th to 15th after the name.
        let own = own
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .skip(11)
            .take(4)
            .map_while(|field| field.parse::<u64>().ok())
            .sum();
        Some(Self {
            total,
            busy: total - ticks.get(3)? - ticks.get(4)?,
            own,
        })
    }

    /// The share of the machine that neither idled nor ran this process or a child of it since then.
    pub fn others_since(self) -> Option<f64> {
        let now = Self::now()?;
        let own = now.own - self.own;
        let others = (now.busy.saturating_sub(self.busy)).saturating_sub(own);
        Some(others as f64 / now.total.saturating_sub(self.total).max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(date(0), [1970, 1, 1]);
        assert_eq!(date(11_016), [2000, 2, 29]);
        assert_eq!(date(20_780), [2026, 11, 23]);
    }
}
