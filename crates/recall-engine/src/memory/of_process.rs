use std::fs;

use sysinfo::System;

use super::Memory;

/// Memory of the process.
#[derive(Debug, Clone, Copy)]
pub struct OfProcess;

impl Memory for OfProcess {
    fn forget_peak(&self) -> bool {
        fs::write("/proc/self/clear_refs", "5").is_ok()
    }

    fn taken(&self) -> Option<u64> {
        status("VmRSS:")
    }

    fn peak(&self) -> Option<u64> {
        status("VmHWM:")
    }

    fn room(&self) -> Option<u64> {
        let mut system = System::new();
        system.refresh_memory();
        let machine = system.available_memory();
        // A container may have less than its machine. What it keeps of files gives way.
        let container = system
            .cgroup_limits()
            .map(|limits| limits.total_memory.saturating_sub(limits.rss));
        let free = container.map_or(machine, |container| container.min(machine));
        Some(free + self.taken()?)
    }
}

fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
