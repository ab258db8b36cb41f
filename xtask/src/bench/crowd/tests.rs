//! The crowd with a stand-in for agentkernel, in a process of its own: adopting orphans is for a whole process.

use super::{Site, density, storm};
use crate::person::{Half, Person};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

const INNER: &str = "XTASK_CROWD_INNER";

/// Runs the test `name` of this module again, alone in a process; true in that process.
fn alone(name: &str) -> bool {
    if std::env::var_os(INNER).is_some() {
        super::super::proc::adopt_orphans().unwrap();
        return true;
    }
    let test = format!("bench::crowd::tests::{name}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads", "1"])
        .env(INNER, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

fn with_site(script: &str, then: impl FnOnce(&Site<'_>)) {
    let half = if rustix::process::geteuid().is_root() { Half::Root } else { Half::User };
    let person = Person::of(half).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let home = person.home_under(dir.path(), "home").unwrap();
    let agentkernel = dir.path().join("agentkernel");
    fs::write(&agentkernel, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&agentkernel, fs::Permissions::from_mode(0o755)).unwrap();
    then(&Site { agentkernel: &agentkernel, person: &person, home: &home, dir: dir.path() });
}

/// A sandbox is a sleeping process.
const ORDERLY: &str = r#"case "$2" in
start) setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >"$HOME/$3.pid" ;;
stop) kill "$(cat "$HOME/$3.pid")" ;;
esac"#;

#[test]
fn sandboxes_are_counted_and_gone() {
    if alone("sandboxes_are_counted_and_gone") {
        with_site(ORDERLY, |site| {
            let density = density(site, 3).unwrap().unwrap();
            assert_eq!((density.count, density.processes), (3, 3));
            assert!(density.pss_mb > 0.0);
            assert_eq!(density.left, Vec::<String>::new());
        });
    }
}

#[test]
fn what_is_left_behind_is_found() {
    if alone("what_is_left_behind_is_found") {
        // Too long for the deadline, short enough to be gone soon.
        let leaky = "mkdir -p \"$HOME/.local/share/agentkernel/runs/$$\"\nsetsid sleep 8 </dev/null >/dev/null 2>&1 &";
        with_site(leaky, |site| {
            let storm = storm(site, 2, 2).unwrap();
            let count = |kind: &str| storm.left.iter().filter(|what| what.starts_with(kind)).count();
            assert_eq!((storm.failures, count("process "), count("file ")), (0, 2, 2), "{:?}", storm.left);
        });
    }
}

#[test]
fn every_failure_of_the_storm_is_counted() {
    if alone("every_failure_of_the_storm_is_counted") {
        with_site("echo broken >&2; exit 125", |site| {
            let storm = storm(site, 20, 4).unwrap();
            assert_eq!((storm.runs, storm.failures), (20, 20));
            assert_eq!(storm.first_failure.unwrap(), "exit status: 125: broken");
        });
    }
}

#[test]
fn a_sandbox_that_does_not_start_gives_no_number() {
    if alone("a_sandbox_that_does_not_start_gives_no_number") {
        with_site("test \"$2\" != start", |site| {
            let why = density(site, 2).unwrap().unwrap_err();
            assert!(why.contains("sandbox start crowd-0"), "{why}");
        });
    }
}
