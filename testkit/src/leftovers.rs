//! What a test left behind: processes, mounts, cgroups and files that can be traced to it.

use crate::proc;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How to tell a test's leftovers from everything else on the machine.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Directories of this test alone: a process or a mount that refers to one of them is the test's.
    pub directories: Vec<PathBuf>,
    /// `KEY=VALUE` in the environment of everything that the test started.
    pub marker: Option<String>,
    /// Texts of which one stands in the name of each cgroup of this test, such as sandbox ids.
    pub cgroup_marks: Vec<String>,
}

impl Scope {
    /// One line per leftover; empty when there is none.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn find(&self) -> io::Result<Vec<String>> {
        let mut found = self.mounts()?;
        found
            .extend(self.processes()?.into_iter().map(|pid| format!("process {pid}: {}", command_line(pid))));
        let ours = |p: &PathBuf| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            self.cgroup_marks.iter().any(|m| name.contains(m.as_str()))
        };
        found.extend(cgroups().into_iter().filter(ours).map(|p| format!("cgroup {}", p.display())));
        Ok(found)
    }

    /// The processes of this scope, this process and its ancestors left out.
    ///
    /// # Errors
    /// When /proc cannot be listed.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let family = family();
        let mut found = proc::all()?;
        found.retain(|pid| !family.contains(pid) && self.owns(*pid));
        Ok(found)
    }

    fn owns(&self, pid: i32) -> bool {
        if proc::stat(pid).is_none_or(|s| matches!(s.state, 'Z' | 'X')) {
            return false;
        }
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let environment = fs::read(directory.join("environ")).unwrap_or_default();
        let marked =
            self.marker.as_ref().is_some_and(|m| environment.split(|b| *b == 0).any(|v| v == m.as_bytes()));
        marked || self.refers(&directory) || self.has_mounts(&directory)
    }

    /// Whether the working directory, the root or an open file of a process lies in one of our directories.
    fn refers(&self, process: &Path) -> bool {
        let descriptors =
            fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
        let mut links = ["cwd", "root"].map(|l| process.join(l)).into_iter().chain(descriptors);
        links.any(|link| {
            fs::read_link(link).is_ok_and(|to| self.directories.iter().any(|d| to.starts_with(d)))
        })
    }

    fn mounts(&self) -> io::Result<Vec<String>> {
        let lines = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(self.matching(&lines).map(|line| format!("mount {line}")).collect())
    }

    /// Whether a process of another mount namespace has something of ours mounted elsewhere than in our directories.
    /// There, everybody has it whose namespace was copied from this one meanwhile: another test's sandbox, say.
    fn has_mounts(&self, process: &Path) -> bool {
        let namespaces = [process.join("ns/mnt"), PathBuf::from("/proc/self/ns/mnt")].map(fs::read_link);
        if !matches!(&namespaces, [Ok(its), Ok(ours)] if its != ours) {
            return false;
        }
        let lines = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        self.mounted_elsewhere(&lines)
    }

    /// Of lines as proc_pid_mountinfo(5) has them: the fifth field is the mount point.
    fn mounted_elsewhere(&self, lines: &str) -> bool {
        self.matching(lines)
            .filter_map(|line| line.split(' ').nth(4))
            .any(|point| !self.directories.iter().any(|d| Path::new(point).starts_with(d)))
    }

    fn matching<'a>(&'a self, lines: &'a str) -> impl Iterator<Item = &'a str> {
        let names: Vec<String> = self.directories.iter().map(|d| d.to_string_lossy().into_owned()).collect();
        lines.lines().filter(move |line| names.iter().any(|name| line.contains(name.as_str())))
    }
}

/// Every cgroup directory of this machine whose name begins with `agentkernel`, in all hierarchies.
#[must_use]
pub fn cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), 8, &mut found);
    found
}

/// Those of [`cgroups`] in which no process lives, neither directly nor below.
#[must_use]
pub fn empty_cgroups() -> Vec<PathBuf> {
    cgroups().into_iter().filter(|c| !populated(c)).collect()
}

fn walk(directory: &Path, depth: u8, found: &mut Vec<PathBuf>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().starts_with("agentkernel") {
            found.push(entry.path());
        }
        walk(&entry.path(), depth, found);
    }
}

/// The processes in a cgroup.
pub(crate) fn members(cgroup: &Path) -> impl Iterator<Item = i32> + use<> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>().into_iter()
}

fn populated(cgroup: &Path) -> bool {
    let here = members(cgroup).next().is_some();
    let below = fs::read_dir(cgroup).into_iter().flatten().filter_map(Result::ok);
    here || below.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).any(|e| populated(&e.path()))
}

fn family() -> Vec<i32> {
    let mut family = vec![i32::try_from(std::process::id()).unwrap_or(0)];
    while let Some(parent) =
        family.last().and_then(|pid| proc::stat(*pid)).map(|s| s.parent).filter(|p| *p > 0)
    {
        family.push(parent);
    }
    family
}

fn command_line(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_copied_mount_namespace_makes_nobody_ours() {
        let directories = vec![PathBuf::from("/var/tmp/ake-1/e")];
        let scope = Scope { directories, marker: None, cgroup_marks: Vec::new() };
        let copied =
            "36 35 0:33 / /var/tmp/ake-1/e/merged rw - overlay overlay rw,lowerdir=/var/tmp/ake-1/e/l";
        let sandbox = "36 35 0:33 / / rw - overlay overlay rw,lowerdir=/var/tmp/ake-1/e/l";
        let other = "36 35 0:33 / / rw - overlay overlay rw,lowerdir=/var/tmp/ake-2/e/l";
        let found = [copied, sandbox, other].map(|line| scope.mounted_elsewhere(line));
        assert_eq!(found, [false, true, false]);
    }

    #[test]
    fn a_process_is_found_by_its_directory_and_by_its_marker() {
        let directory = tempfile::tempdir().unwrap();
        let scope = |directories, marker| Scope { directories, marker, cgroup_marks: Vec::new() };
        let by_directory = scope(vec![directory.path().to_owned()], None);
        let by_marker = scope(Vec::new(), Some("TESTKIT_SELF=x1y2".to_owned()));
        assert_eq!(by_directory.find().unwrap(), Vec::<String>::new());
        let mut child = Command::new("cat")
            .current_dir(directory.path())
            .env("TESTKIT_SELF", "x1y2")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(by_directory.processes().unwrap(), [pid]);
        assert_eq!(by_marker.processes().unwrap(), [pid]);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(by_directory.find().unwrap(), Vec::<String>::new());
    }
}
