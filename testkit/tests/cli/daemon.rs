//! The daemon from the front door: its verbs, and runs that find a warm sandbox.

use agentkernel_testkit::{
    TestEnv,
    env::Finished,
    oci::{Image, ImageConfig, LayerWriter},
    proc,
    registry::Registry,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _, pipe},
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, Instant},
};

/// A backend of this build whose sandboxes are worth keeping warm; without one, nothing here has a hit to look at.
const POOLING: Option<&str> = None;

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

/// A world with an image that is only busybox, and the backend that is worth a pool.
fn bench() -> Option<(TestEnv, Registry, &'static str)> {
    let Some(backend) = POOLING else {
        println!("skipped: no backend of this build is worth a pool");
        return None;
    };
    let env = TestEnv::new();
    let mut layer = LayerWriter::create(env.directory("layers").join("base")).unwrap();
    layer.file("bin/busybox", 0o755, &fs::read("/bin/busybox").unwrap()).unwrap();
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for applet in String::from_utf8(applets.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        layer.symlink(&format!("bin/{applet}"), "busybox").unwrap();
    }
    let path = vec![("PATH".to_owned(), "/bin".to_owned())];
    let config = ImageConfig { env: path, ..ImageConfig::default() };
    let image = Image::new("pooled:1".parse().unwrap(), &config, &[layer.finish().unwrap()]);
    let registry = Registry::start().unwrap();
    registry.push(&image).unwrap();
    env.registries(&registry.settings());
    env.agentkernel(&["images", "pull", "pooled:1"]).run().ok();
    Some((env, registry, backend))
}

/// `run` of something that can be kept warm.
fn run<'a>(backend: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [&["run", "-B", backend, "-i", "pooled:1", "--no-workspace"], words].concat()
}

#[test]
fn runs_get_warm_sandboxes_of_their_own() {
    let Some((env, _registry, backend)) = bench() else { return };
    daemon(&env, &["start", "--min", "2", "--image", "pooled:1", "--backend", backend]).ok();
    daemon(&env, &["status"]).ok().prints("Pool: Warm VMs: 2, In use: 0, Min/Max: 2/5\n");
    for round in 1..=4 {
        await_status(&env, |status| status["warm"] == 2);
        let script = "ls /root; echo dirty >/root/mark; echo $A; echo err >&2; exit 7";
        let warm = env.agentkernel(&run(backend, &["-e", "A=secret", "--", "sh", "-c", script])).run();
        assert_eq!(warm.err().lines().last(), Some("err"), "{warm}");
        warm.code(7).prints("secret\n");
        assert_eq!(status(&env)["hits"], round);
    }
    daemon(&env, &["stop"]).ok();
    env.assert_nothing_left();
}

#[test]
fn a_warm_sandbox_gives_a_command_the_same() {
    let Some((env, _registry, backend)) = bench() else { return };
    let cases: [(&[&str], i32); 6] = [
        (&["--", "sh", "-c", "cat; echo $0; id -u; pwd; env | sort; cat /proc/self/status | grep -i cap"], 0),
        (&["--no-network", "--", "sh", "-c", "ip addr | grep -c inet; kill -9 $$"], 137),
        (&["-u", "1000:1000", "-w", "/made/for/it", "--", "sh", "-c", "id; pwd"], 0),
        (&["-p", "restrictive", "--", "sh", "-c", "touch /x; echo $?"], 0),
        (&["--timeout", "1s", "--", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], 124),
        (&["--", "/no/such"], 127),
    ];
    let once = |words: &[&str], code: i32| {
        let done = env.agentkernel(&run(backend, words)).input("in\n").run().code(code);
        (done.out(), done.err())
    };
    let cold: Vec<_> = cases.iter().map(|(words, code)| once(words, *code)).collect();
    daemon(&env, &["start", "--min", "1", "--max", "8"]).ok();
    // The first time each is a miss, and what it wanted is warm for the second.
    for (words, code) in &cases {
        once(words, *code);
    }
    let same_kind = 2;
    await_status(&env, |status| status["warm"].as_u64() == Some(cases.len() as u64 - same_kind));
    for ((words, code), cold) in cases.iter().zip(cold) {
        await_status(&env, |status| status["warm"].as_u64() == Some(cases.len() as u64 - same_kind));
        let hits = status(&env)["hits"].as_u64().unwrap();
        assert_eq!(once(words, *code), cold, "{words:?}");
        assert_eq!(status(&env)["hits"].as_u64(), Some(hits + 1), "{words:?} took the ordinary road");
    }
    daemon(&env, &["stop"]).ok();
    env.assert_nothing_left();
}

#[test]
fn a_killed_run_ends_its_warm_sandbox() {
    let Some((env, _registry, backend)) = bench() else { return };
    daemon(&env, &["start", "--min", "1", "--image", "pooled:1", "--backend", backend]).ok();
    let (mut reader, writer) = pipe().unwrap();
    let live =
        env.agentkernel(&run(backend, &["--", "sh", "-c", "echo up; sleep 600"])).stdout(writer).start();
    let mut line = [0; 3];
    reader.read_exact(&mut line).unwrap();
    assert_eq!(status(&env)["in_use"], 1);
    live.signal(Signal::KILL);
    live.finish();
    await_status(&env, |status| status["in_use"] == 0 && status["warm"] == 1);
    daemon(&env, &["stop"]).ok();
    env.assert_nothing_left();
}

#[test]
fn stop_waits_for_the_command_and_a_dead_daemon_takes_it_along() {
    let Some((env, _registry, backend)) = bench() else { return };
    for killed in [false, true] {
        daemon(&env, &["start", "--min", "1", "--image", "pooled:1", "--backend", backend]).ok();
        let (mut reader, writer) = pipe().unwrap();
        let (stdin, mut input) = pipe().unwrap();
        let script = ["--", "sh", "-c", "echo up; cat; exit 3"];
        let live = env.agentkernel(&run(backend, &script)).stdin(stdin).stdout(writer).start();
        let mut line = [0; 3];
        reader.read_exact(&mut line).unwrap();
        if killed {
            kill(&env, Signal::KILL);
            live.finish().code(137);
            drop(input);
            env.agentkernel(&["gc"]).run().ok();
        } else {
            let stop = env.agentkernel(&["daemon", "stop"]).deadline(DEADLINE).start();
            await_status(&env, |status| status["phase"] == "stopping");
            let refused = daemon(&env, &["start"]).code(125);
            assert!(refused.err().contains("waits for 1 command"), "{refused}");
            input.write_all(b"last words").unwrap();
            drop(input);
            live.finish().code(3);
            assert!(stop.finish().ok().err().contains("waiting for 1 command"));
        }
    }
    env.assert_nothing_left();
}
