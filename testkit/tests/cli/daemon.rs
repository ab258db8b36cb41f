//! The daemon from the front door: its verbs. Runs that find a warm sandbox need a backend that is worth a pool, and are
//! tested on Docker: `cli_docker/pool.rs`.

use agentkernel_testkit::{TestEnv, env::Finished, proc};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

/// How long anything here may take; no test comes near it.
const DEADLINE: Duration = Duration::from_secs(60);

fn daemon(env: &TestEnv, words: &[&str]) -> Finished {
    env.agentkernel(&[&["daemon"], words].concat()).deadline(DEADLINE).run()
}

fn status(env: &TestEnv) -> Value {
    daemon(env, &["status", "--json"]).ok().json()
}

/// Waits until the daemon's status is as `wanted`.
fn await_status(env: &TestEnv, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = status(env);
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "it stays {status}");
    }
}

fn kill(env: &TestEnv, signal: Signal) {
    let pid = i32::try_from(status(env)["pid"].as_i64().unwrap()).unwrap();
    let handle = proc::handle(pid).unwrap();
    rustix::process::pidfd_send_signal(&handle, signal).unwrap();
    assert!(proc::wait_until(&handle, Instant::now() + DEADLINE).unwrap(), "it does not end");
}

#[test]
fn the_words_of_its_verbs() {
    let env = TestEnv::new();
    let none = daemon(&env, &["status"]).ok();
    assert!(none.out().starts_with("Daemon: not running\nSocket: "), "{none}");
    assert_eq!(status(&env)["running"], false);
    daemon(&env, &["stop"]).ok().prints("the daemon is not running\n");
    assert!(!env.data().exists(), "asking makes nothing");

    let started = daemon(&env, &["start"]).ok();
    assert!(started.out().starts_with("the daemon is running (process "), "{started}");
    daemon(&env, &["status"]).ok().prints("Pool: Warm VMs: 0, In use: 0, Min/Max: 3/5\n").silent_stderr();
    let json = status(&env);
    assert_eq!((&json["running"], &json["phase"]), (&Value::Bool(true), &Value::from("running")));
    for name in ["daemon.sock", "daemon.lock"] {
        assert_eq!(
            fs::metadata(env.data().join(name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }

    let again = daemon(&env, &["start", "--min", "1"]).ok();
    assert!(again.out().starts_with("the daemon is already running (process "), "{again}");
    assert_eq!(status(&env)["pid"], json["pid"]);
    // Whatever a run finds, nobody hears of it.
    let hello = ["run", "-i", "host", "--no-workspace", "echo", "Hello from warm VM!"];
    env.agentkernel(&hello).run().ok().prints("Hello from warm VM!\n");

    daemon(&env, &["stop"]).ok().prints("the daemon has stopped\n");
    assert_eq!(status(&env)["running"], false);
    assert!(!env.data().join("daemon.sock").exists());
    env.assert_nothing_left();
}

#[test]
fn sizes_are_checked_before_anything_else() {
    let env = TestEnv::new();
    for (words, said) in [
        (["--min", "0", "--max", "5"], "--min 0"),
        (["--min", "1", "--max", "33"], "--max 33"),
        (["--min", "4", "--max", "3"], "--min 4 is more than --max 3"),
    ] {
        daemon(&env, &[&["start"][..], &words].concat()).code(125).error_with_hint(&[said]);
    }
    daemon(&env, &["start", "--min", "x"]).our_failure();
    assert_eq!(status(&env)["running"], false);
    daemon(&env, &["start", "--max", "2"]).ok();
    daemon(&env, &["status"]).ok().prints("Pool: Warm VMs: 0, In use: 0, Min/Max: 2/2\n");
    daemon(&env, &["stop"]).ok();
    env.assert_nothing_left();
}

#[test]
fn what_is_not_worth_keeping_warm_is_refused() {
    let env = TestEnv::new();
    let words = ["start", "--image", "host", "--backend", "native"];
    daemon(&env, &words).code(125).error_with_hint(&["native", "as fast"]);
    assert_eq!(status(&env)["running"], false);
    env.assert_nothing_left();
}

#[test]
fn many_starts_at_once_start_one() {
    let env = TestEnv::new();
    let starts: Vec<_> = (0..6).map(|_| env.agentkernel(&["daemon", "start"]).start()).collect();
    let said: Vec<String> = starts.into_iter().map(|start| start.finish().ok().out()).collect();
    let new = said.iter().filter(|text| text.starts_with("the daemon is running")).count();
    assert_eq!(new, 1, "{said:?}");
    daemon(&env, &["stop"]).ok();
    env.assert_nothing_left();
}

#[test]
fn a_dead_daemon_is_replaced() {
    let env = TestEnv::new();
    daemon(&env, &["start"]).ok();
    kill(&env, Signal::KILL);
    assert!(env.data().join("daemon.sock").exists(), "nobody removed it");
    assert_eq!(status(&env)["running"], false);
    daemon(&env, &["stop"]).ok().prints("the daemon is not running\n");
    env.agentkernel(&["run", "-i", "host", "--no-workspace", "true"]).run().ok();
    daemon(&env, &["start"]).ok();
    assert_eq!(status(&env)["running"], true);
    kill(&env, Signal::TERM);
    assert!(!env.data().join("daemon.sock").exists());
    env.assert_nothing_left();
}

#[test]
fn in_the_foreground_it_ends_with_a_stop_or_a_signal() {
    let env = TestEnv::new();
    for signal in [None, Some(Signal::INT), Some(Signal::TERM)] {
        let live = env.agentkernel(&["daemon", "start", "--foreground"]).deadline(DEADLINE).start();
        await_status(&env, |status| status["running"] == true);
        assert_eq!(status(&env)["pid"], live.pid());
        match signal {
            None => drop(daemon(&env, &["stop"]).ok()),
            Some(signal) => live.signal(signal),
        }
        let ended = live.finish().ok();
        assert!(ended.out().starts_with("the daemon is running (process "), "{ended}");
        assert_eq!(status(&env)["running"], false);
    }
    env.assert_nothing_left();
}
