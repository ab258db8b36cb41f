//! The machine as a whole, as its kernel counts it.

use serde::Serialize;
use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};
use utoipa::ToSchema;

const MIB: u64 = 1024 * 1024;

/// How much of the machine is used, by everything on it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ResourceUsage {
    /// Of all processors, since this was last asked.
    cpu_percent: f64,
    memory_used_mb: u64,
    memory_total_mb: u64,
    /// Of the file system that sandboxes are kept on.
    disk_used_mb: u64,
}

/// Jiffies of all processors: those that were used, and all.
#[derive(Debug, Clone, Copy, Default)]
struct Jiffies {
    busy: u64,
    all: u64,
}

impl Jiffies {
    /// The first line of `/proc/stat` (proc_stat(5)): idle and iowait are its fourth and fifth numbers.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let numbers: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|n| n.parse().ok()).collect();
        let all = numbers.iter().sum();
        let idle: u64 = numbers.get(3..5)?.iter().sum();
        Some(Self { busy: all - idle, all })
    }

    fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
    }

    /// In percent, to a tenth.
    fn share_since(self, before: Self) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let all = self.all.saturating_sub(before.all).max(1);
        let tenths = u32::try_from(busy.saturating_mul(1000) / all).unwrap_or_default();
        f64::from(tenths.min(1000)) / 10.0
    }
}

/// Remembers when it was last asked.
#[derive(Debug)]
pub(crate) struct Machine(Mutex<Jiffies>);

impl Machine {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Jiffies::now()))
    }

    /// `directory` is on the disk that is meant.
    pub(crate) fn usage(&self, directory: Option<&Path>) -> ResourceUsage {
        let now = Jiffies::now();
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |key: &str| -> u64 {
            let line = memory.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
        };
        let (total, available) = (kib("MemTotal:"), kib("MemAvailable:"));
        // Before the first sandbox there is no directory of them, and the one above is on the same disk.
        let mut above = directory.into_iter().flat_map(Path::ancestors);
        let disk = above.find_map(|path| rustix::fs::statvfs(path).ok());
        let disk_used =
            disk.map_or(0, |disk| disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize));
        ResourceUsage {
            cpu_percent: now.share_since(before),
            memory_used_mb: total.saturating_sub(available) / 1024,
            memory_total_mb: total / 1024,
            disk_used_mb: disk_used / MIB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_processors_is_that_of_the_time_between() {
        let before = Jiffies::parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1").unwrap();
        let after = Jiffies::parse("cpu  150 0 100 750 100 0 0 0 0 0\n").unwrap();
        assert!((after.share_since(before) - 50.0).abs() < 0.01);
        assert!(after.share_since(after).abs() < 0.01);
        assert!(Jiffies::parse("cpu x").is_none() && Jiffies::parse("").is_none());
    }

    #[test]
    fn this_machine_has_memory() {
        let usage = Machine::new().usage(Some(Path::new("/not/made/yet")));
        assert!(usage.memory_total_mb > 0 && usage.disk_used_mb > 0 && usage.cpu_percent <= 100.0);
    }
}
