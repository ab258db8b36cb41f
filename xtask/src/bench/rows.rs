//! The timed rows: every row once per round, the rounds starting at another row each time, so that what disturbs the
//! machine disturbs them all alike.

use super::{
    command::quiet,
    rounds::{Rounds, Subject, interleave},
    tools::{Docker, Runc, busybox_rootfs},
};
use crate::suite::on_path;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub(super) const SPAWN: &str = "fork+exec true";
pub(super) const VERSION: &str = "agentkernel --version";
pub(super) const BWRAP: &str = "bwrap --unshare-all --ro-bind / / true";
pub(super) const RUN_OFF: &str = "agentkernel run --image host --no-network -- true";
pub(super) const RUN_NET: &str = "agentkernel run --image host -- true";
pub(super) const EXEC: &str = "agentkernel exec NAME -- true";
pub(super) const RUNC_EXEC: &str = "runc exec NAME true";
pub(super) const DOCKER_RUN: &str = "docker run --rm --network none IMAGE true";
pub(super) const DOCKER_EXEC: &str = "docker exec NAME true";

/// The samples of one row.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) samples: Vec<Duration>,
    pub(super) failures: usize,
}

/// What a half measured, and what it could not and why.
#[derive(Debug, Clone, Default)]
pub(super) struct Timings {
    pub(super) rows: Vec<Row>,
    /// `(row, reason)`.
    pub(super) missing: Vec<(String, String)>,
}

/// What is timed, and what must live as long.
struct Bench {
    commands: Vec<(&'static str, Vec<String>)>,
    missing: Vec<(String, String)>,
    _runc: Option<Runc>,
    _docker: Option<Docker>,
    _named: Option<Named>,
}

pub(super) fn measure(agentkernel: &Path, dir: &Path, rounds: usize) -> Timings {
    const WARM_UP: usize = 3;
    let bench = prepare(agentkernel, dir);
    let subjects = bench.commands.into_iter().map(|(name, words)| Subject::of_words(name, words)).collect();
    let rounds = Rounds { timed: rounds, warm_up: WARM_UP };
    let mut timings = interleave(subjects, rounds, &dir.join("try.log"));
    timings.missing.splice(0..0, bench.missing);
    timings
}

fn prepare(agentkernel: &Path, dir: &Path) -> Bench {
    let own = |words: &[&str]| -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned());
        std::iter::once(agentkernel.display().to_string()).chain(words).collect()
    };
    let mut missing = Vec::new();
    let mut note = |rows: &[&str], why: &str| {
        missing.extend(rows.iter().map(|row| ((*row).to_owned(), why.to_owned())));
    };
    let mut commands = vec![(SPAWN, vec!["true".to_owned()]), (VERSION, own(&["--version"]))];
    if on_path("bwrap") {
        let words = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"];
        commands.push((BWRAP, words.map(str::to_owned).to_vec()));
    } else {
        note(&[BWRAP], "bwrap is not installed: apt-get install bubblewrap");
    }
    commands.push((RUN_OFF, own(&["run", "--image", "host", "--no-network", "--", "true"])));
    commands.push((RUN_NET, own(&["run", "--image", "host", "--", "true"])));
    let named = Named::start(agentkernel, dir);
    match &named {
        Ok(named) => commands.push((EXEC, own(&["exec", named.name, "--", "true"]))),
        Err(why) => note(&[EXEC], why),
    }
    let rootfs = busybox_rootfs(dir);
    let runc = rootfs.as_ref().map_err(Clone::clone).and_then(|rootfs| Runc::start(dir, rootfs));
    match &runc {
        Ok(runc) => commands.push((RUNC_EXEC, runc.exec())),
        Err(why) => note(&[RUNC_EXEC], why),
    }
    let docker = rootfs.as_ref().map_err(Clone::clone).and_then(|rootfs| Docker::start(dir, rootfs));
    match &docker {
        Ok(docker) => commands.extend([(DOCKER_RUN, Docker::run()), (DOCKER_EXEC, docker.exec())]),
        Err(why) => note(&[DOCKER_RUN, DOCKER_EXEC], why),
    }
    Bench { commands, missing, _runc: runc.ok(), _docker: docker.ok(), _named: named.ok() }
}

/// A running named sandbox; removed when dropped.
struct Named {
    agentkernel: PathBuf,
    name: &'static str,
    log: PathBuf,
}

impl Named {
    fn start(agentkernel: &Path, dir: &Path) -> Result<Self, String> {
        let named = Self { agentkernel: agentkernel.to_owned(), name: "bench", log: dir.join("named.log") };
        named.call(&["sandbox", "create", named.name, "--image", "host", "--no-network"])?;
        named.call(&["sandbox", "start", named.name])?;
        Ok(named)
    }

    fn call(&self, words: &[&str]) -> Result<(), String> {
        let done = quiet(Command::new(&self.agentkernel).args(words), &self.log);
        done.map_err(|why| format!("agentkernel {}: {why}", words.join(" ")))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        for verb in ["stop", "remove"] {
            if let Err(why) = self.call(&["sandbox", verb, self.name]) {
                eprintln!("bench: {why}");
            }
        }
    }
}

impl Timings {
    pub(super) fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let nanos: Vec<u128> = row.samples.iter().map(Duration::as_nanos).collect();
            let nanos: Vec<u64> = nanos.into_iter().filter_map(|n| n.try_into().ok()).collect();
            json!({"name": row.name, "failures": row.failures, "ns": nanos})
        };
        json!({"rows": self.rows.iter().map(row).collect::<Vec<_>>(), "missing": self.missing})
    }

    /// `None` when `value` is not what [`Self::to_json`] made.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let row = |row: &Value| {
            let samples = row["ns"].as_array()?.iter().map(|n| n.as_u64().map(Duration::from_nanos));
            Some(Row {
                name: row["name"].as_str()?.to_owned(),
                failures: row["failures"].as_u64()?.try_into().ok()?,
                samples: samples.collect::<Option<_>>()?,
            })
        };
        let missing = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
        Some(Self {
            rows: value["rows"].as_array()?.iter().map(row).collect::<Option<_>>()?,
            missing: value["missing"].as_array()?.iter().map(missing).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_survive_the_pipe_between_the_halves() {
        let row = Row { name: "a".to_owned(), samples: vec![Duration::from_nanos(7)], failures: 2 };
        let timings = Timings { rows: vec![row], missing: vec![("b".to_owned(), "why".to_owned())] };
        let back = Timings::from_json(&timings.to_json()).unwrap();
        assert_eq!(back.rows[0].samples, [Duration::from_nanos(7)]);
        assert_eq!((back.rows[0].failures, back.missing[0].1.as_str()), (2, "why"));
        assert!(Timings::from_json(&json!({"rows": [{}]})).is_none());
    }
}
