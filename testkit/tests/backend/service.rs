//! Podman where none listens: a service of our own, which is there for as long as it is used and no longer.

use super::bench::{Bench, expect};
use crate::Test;
use agentkernel_testkit::{engines::Engine, env::Invocation};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How long the end of a service that nobody uses may take; it waits two seconds for users.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TESTS: [Test; 1] = [("service/of-our-own", of_our_own)];

/// The settings of a new engine, which is ended before anything is asked of it.
fn of_our_own(bench: &Bench) -> Result<(), String> {
    let place = tempfile::Builder::new().prefix("ake-").tempdir_in("/var/tmp").map_err(|e| e.to_string())?;
    let dir = place.path().join("e");
    let mut engine = Engine::podman(&dir).map_err(|e| e.to_string())?;
    let used = engine.kill().map_err(|e| e.to_string()).and_then(|()| use_it(bench, &dir));
    let stopped = engine.stop().map_err(|e| e.to_string());
    used.and(stopped)
}

fn use_it(bench: &Bench, dir: &Path) -> Result<(), String> {
    let agentkernel = |words: &[&str]| -> Invocation {
        let invocation = bench.env.agentkernel(words).deadline(Duration::from_secs(120));
        let invocation = invocation.env("XDG_RUNTIME_DIR", dir.join("run"));
        ["containers", "storage"].iter().fold(invocation, |invocation, name| {
            let variable = if *name == "storage" { "CONTAINERS_STORAGE_CONF" } else { "CONTAINERS_CONF" };
            invocation.env(variable, dir.join(format!("{name}.conf")))
        })
    };
    let socket = dir.join("run/agentkernel/podman.sock");
    // All backends are tried at once, and compete for the processors.
    let checked = agentkernel(&["setup", "--check", "--json"]).run();
    let reports: Value = serde_json::from_str(&checked.out()).map_err(|e| format!("{e}: {checked}"))?;
    let podman = reports.as_array().into_iter().flatten().find(|report| report["id"] == "podman");
    expect(podman.is_some_and(|report| report.to_string().contains("podman.sock")), || {
        format!("it does not work: {checked}")
    })?;
    // Longer than a service waits that nobody talks to: this command is one user, the keeper another.
    let long = ["run", "-B", "podman", "-i", "host", "--no-workspace", "--no-network", "--", "sleep", "4"];
    let ran = agentkernel(&long).run();
    expect(ran.code == Some(0), || format!("a long command: {ran}"))?;
    let words: [&[&str]; 6] = [
        &["sandbox", "create", "box", "-B", "podman", "-i", "host", "--no-network"],
        &["sandbox", "start", "box"],
        &["exec", "box", "--", "sleep", "4"],
        &["exec", "box", "--", "true"],
        &["sandbox", "stop", "box"],
        &["sandbox", "remove", "box"],
    ];
    for words in words {
        let done = agentkernel(words).run();
        expect(done.code == Some(0), || format!("{words:?}: {done}"))?;
    }
    ended(&socket)
}

/// A service removes its socket when it ends.
fn ended(socket: &Path) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while socket.exists() {
        expect(Instant::now() < deadline, || "the service does not end".to_owned())?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
