//! Whether the kernel ended a process of this sandbox for want of memory, as process 1 can see it.

use std::{fs, path::PathBuf};

/// The counter of such kills in the control group that is the sandbox's own.
#[derive(Debug)]
pub struct OutOfMemory {
    file: PathBuf,
    seen: u64,
}

impl OutOfMemory {
    /// `None` where the sandbox cannot see its own control group.
    pub fn watch() -> Option<Self> {
        // cgroup v2 and v1; the key `oom_kill` is the same (cgroups(7), memory.txt of the kernel).
        let places = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
        places.into_iter().find_map(|place| {
            let mut watch = Self { file: place.into(), seen: 0 };
            watch.seen = watch.count()?;
            Some(watch)
        })
    }

    /// Whether there was one since the last question.
    pub fn happened(&mut self) -> bool {
        let count = self.count().unwrap_or(self.seen);
        std::mem::replace(&mut self.seen, count) < count
    }

    fn count(&self) -> Option<u64> {
        count(&fs::read_to_string(&self.file).ok()?)
    }
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        assert_eq!(count("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
