//! What /proc and /sys say: descendants, their memory, and what was left behind.

use crate::Outcome;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, WaitOptions, pidfd_open, set_child_subreaper, wait},
};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// From here on what our children leave running becomes our child: that is how it is found.
pub(super) fn adopt_orphans() -> Outcome<()> {
    set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// All processes below this one, zombies too.
pub(super) fn descendants() -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()) {
        // A process may end between the listing and the reading.
        if let Some(parent) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|s| parent_of(&s))
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![std::process::id()];
    while let Some(pid) = queue.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(child);
            queue.push(child);
        }
    }
    found
}

/// The name in parentheses may hold anything, so fields count from the last one.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The number behind `name` in a file of `Name:   123 kB` lines.
pub(super) fn kib_field(text: &str, name: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Proportional set size in KiB.
pub(super) fn pss_kib(pid: u32) -> Result<i64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    kib_field(&text, "Pss:").ok_or_else(|| format!("{path} tells no Pss"))
}

/// Reaps what we adopted; what still lives after `limit` is returned.
pub(super) fn settle(limit: Duration) -> Outcome<Vec<u32>> {
    let end = Instant::now() + limit;
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let alive = descendants();
        let Some(pid) = alive.first().and_then(|pid| Pid::from_raw((*pid).cast_signed())) else {
            return Ok(alive);
        };
        let left = end.saturating_duration_since(Instant::now());
        // Gone in the meantime: look again.
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let timeout = Timespec { tv_sec: left.as_secs().try_into()?, tv_nsec: left.subsec_nanos().into() };
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) == Ok(0) {
            return Ok(alive);
        }
    }
}

/// Everything outside processes that a sandbox could leave: mounts, cgroups, and entries of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surroundings(BTreeSet<String>);

impl Surroundings {
    pub(super) fn look(home: &Path) -> Outcome<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut found: BTreeSet<String> = mounts.lines().map(|line| format!("mount {line}")).collect();
        let mut groups = Vec::new();
        cgroups(Path::new("/sys/fs/cgroup"), 8, &mut groups);
        found.extend(groups.iter().map(|path| format!("cgroup {}", path.display())));
        for place in ["runs", "sandboxes"] {
            let dir = home.join(".local/share/agentkernel").join(place);
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                found.insert(format!("file {}", entry.path().display()));
            }
        }
        Ok(Self(found))
    }

    /// What is here and was not in `before`. A cgroup with processes is no leftover of ours: ours would be found as
    /// processes, so it belongs to somebody else's sandbox.
    pub(super) fn since(&self, before: &Self) -> Vec<String> {
        let stale =
            |what: &&String| what.strip_prefix("cgroup ").is_none_or(|path| is_stale(Path::new(path)));
        self.0.difference(&before.0).filter(stale).cloned().collect()
    }
}

/// Whether this cgroup still exists and holds no process, nor does any below it.
fn is_stale(group: &Path) -> bool {
    let Ok(processes) = fs::read_to_string(group.join("cgroup.procs")) else { return false };
    let mut below = fs::read_dir(group).into_iter().flatten().flatten();
    processes.trim().is_empty()
        && below.all(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()) || is_stale(&entry.path()))
}

fn cgroups(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if entry.file_name().to_string_lossy().contains("agentkernel") {
                out.push(path.clone());
            }
            cgroups(&path, depth - 1, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_name_cannot_forge_its_parent() {
        assert_eq!(parent_of("12 (a) S 1 (b) R 77 12 12"), Some(77));
        assert_eq!(parent_of("12 (a"), None);
    }

    #[test]
    fn a_busy_or_vanished_cgroup_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &str, text: &str| {
            fs::create_dir_all(dir.path().join(path)).unwrap();
            fs::write(dir.path().join(path).join("cgroup.procs"), text).unwrap();
        };
        set("a", "");
        set("a/b", "");
        assert!(is_stale(&dir.path().join("a")));
        set("a/b", "17\n");
        assert!(!is_stale(&dir.path().join("a")));
        assert!(!is_stale(&dir.path().join("gone")));
    }

    #[test]
    fn children_are_descendants_and_have_memory() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert!(descendants().contains(&child.id()));
        assert!(pss_kib(child.id()).unwrap() > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants().contains(&child.id()));
    }
}
