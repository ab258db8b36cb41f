//! Many at once: named sandboxes side by side, and many callers of `run`.

use super::{
    command::quiet,
    proc::{Surroundings, descendants, pss_kib, settle},
};
use crate::{Outcome, person::Person};
use std::{
    collections::HashSet,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Orderly ends may take this long after the command that asked for them has returned.
const SETTLE: Duration = Duration::from_secs(5);

/// Idle named sandboxes, with the default profile: each has a gateway.
#[derive(Debug, Clone)]
pub(super) struct Density {
    pub(super) count: usize,
    pub(super) processes: usize,
    /// MB (10^6 bytes) of proportional memory for each sandbox, all processes counted.
    pub(super) pss_mb: f64,
    /// Seconds to create and start all of them, one after the other.
    pub(super) seconds: f64,
    pub(super) left: Vec<String>,
}

/// 500 runs, 16 callers.
#[derive(Debug, Clone)]
pub(super) struct Storm {
    pub(super) runs: usize,
    pub(super) callers: usize,
    pub(super) failures: usize,
    pub(super) first_failure: Option<String>,
    pub(super) per_second: f64,
    pub(super) left: Vec<String>,
}

pub(super) struct Site<'a> {
    pub(super) agentkernel: &'a Path,
    pub(super) person: &'a Person,
    pub(super) home: &'a Path,
    /// Where our own logs go.
    pub(super) dir: &'a Path,
}

impl Site<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.agentkernel);
        self.person.become_in(&mut command, self.home);
        command.args(words).current_dir(self.home).stdin(Stdio::null());
        command
    }

    fn call(&self, words: &[&str]) -> Result<(), String> {
        let done = quiet(&mut self.command(words), &self.dir.join("crowd.log"));
        done.map_err(|why| format!("agentkernel {}: {why}", words.join(" ")))
    }
}

/// # Errors
/// Outer: the harness itself. Inner: why there is no number.
pub(super) fn density(site: &Site<'_>, count: usize) -> Outcome<Result<Density, String>> {
    let surroundings = Surroundings::look(site.home)?;
    let others: HashSet<u32> = descendants().into_iter().collect();
    let names: Vec<String> = (0..count).map(|n| format!("crowd-{n}")).collect();
    let started = Instant::now();
    let up = names.iter().try_for_each(|name| {
        site.call(&["sandbox", "create", name, "--image", "host"])?;
        site.call(&["sandbox", "start", name])
    });
    let seconds = started.elapsed().as_secs_f64();
    let pids: Vec<u32> = descendants().into_iter().filter(|pid| !others.contains(pid)).collect();
    let memory = up.and_then(|()| pids.iter().map(|pid| pss_kib(*pid)).sum::<Result<i64, String>>());
    for name in &names {
        for verb in ["stop", "remove"] {
            // What could not be created cannot be removed; leftovers are counted below.
            let _ = site.call(&["sandbox", verb, name]);
        }
    }
    let left = leftovers(site, &surroundings, &others)?;
    Ok(memory.map(|kib| Density {
        count,
        processes: pids.len(),
        pss_mb: kib as f64 * 1024.0 / 1e6 / count as f64,
        seconds,
        left,
    }))
}

pub(super) fn storm(site: &Site<'_>, runs: usize, callers: usize) -> Outcome<Storm> {
    let surroundings = Surroundings::look(site.home)?;
    let others: HashSet<u32> = descendants().into_iter().collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (next, failures) = (&next, &failures);
            let log = site.dir.join(format!("caller-{caller}.log"));
            scope.spawn(move || {
                while next.fetch_add(1, Ordering::Relaxed) < runs {
                    let words = ["run", "--image", "host", "--no-network", "--", "true"];
                    if let Err(why) = quiet(&mut site.command(&words), &log) {
                        failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(why);
                    }
                }
            });
        }
    });
    let per_second = runs as f64 / started.elapsed().as_secs_f64();
    let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Storm {
        runs,
        callers,
        failures: failures.len(),
        first_failure: failures.into_iter().next(),
        per_second,
        left: leftovers(site, &surroundings, &others)?,
    })
}

fn leftovers(site: &Site<'_>, before: &Surroundings, others: &HashSet<u32>) -> Outcome<Vec<String>> {
    let alive = settle(SETTLE)?;
    let alive = alive.iter().filter(|pid| !others.contains(pid)).map(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("process {pid} {}", name.trim())
    });
    let mut left: Vec<String> = alive.collect();
    left.extend(Surroundings::look(site.home)?.since(before));
    Ok(left)
}

#[cfg(test)]
mod tests;
