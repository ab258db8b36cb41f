//! Runs that find a warm sandbox, and those that find none.

use super::site::{DEADLINE, IMAGE, Site};
use agentkernel_testkit::{engines::Proxy, env::Finished, proc};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    io::{Read as _, Write as _, pipe},
    time::Instant,
};

impl Site {
    fn daemon(&self, words: &[&str]) -> Finished {
        self.agentkernel(&[&["daemon"], words].concat()).run()
    }

    /// Starts one that keeps [`IMAGE`] warm.
    fn start_daemon(&self, min: &str) {
        self.daemon(&["start", "--min", min, "--image", IMAGE, "--backend", "docker"]).ok();
    }

    fn pool(&self) -> Value {
        self.daemon(&["status", "--json"]).ok().json()
    }

    fn hits(&self) -> u64 {
        self.pool()["hits"].as_u64().unwrap()
    }

    /// Waits until the daemon's status is as `wanted`.
    fn await_pool(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.pool();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "it stays {status}");
        }
    }

    fn kill_daemon(&self) {
        let pid = i32::try_from(self.pool()["pid"].as_i64().unwrap()).unwrap();
        let handle = proc::handle(pid).unwrap();
        rustix::process::pidfd_send_signal(&handle, Signal::KILL).unwrap();
        assert!(proc::wait_until(&handle, Instant::now() + DEADLINE).unwrap(), "it does not end");
    }
}

#[test]
fn runs_get_warm_sandboxes_of_their_own() {
    let Some(site) = Site::start() else { return };
    site.start_daemon("2");
    site.daemon(&["status"]).ok().prints("Pool: Warm VMs: 2, In use: 0, Min/Max: 2/5\n");
    for round in 1..=4 {
        site.await_pool(|status| status["warm"] == 2);
        let script = "ls /root; echo dirty >/root/mark && echo $A; echo err >&2; exit 7";
        let warm = site.run(&["-e", "A=secret", "--", "sh", "-c", script]).run();
        assert_eq!(warm.err().lines().last(), Some("err"), "{warm}");
        warm.code(7).prints("secret\n");
        assert_eq!(site.hits(), round);
    }
    site.daemon(&["stop"]).ok();
    site.end();
}

#[test]
fn a_warm_sandbox_gives_a_command_the_same() {
    let Some(site) = Site::start() else { return };
    let cases: [(&[&str], i32); 6] = [
        (&["--", "sh", "-c", "cat; echo $0; id -u; pwd; env | sort; cat /proc/self/status | grep -i cap"], 0),
        (&["--no-network", "--", "sh", "-c", "ip addr | grep -c inet; kill -9 $$"], 137),
        (&["-u", "1000:1000", "-w", "/bin", "--", "sh", "-c", "id; pwd"], 0),
        (&["-p", "restrictive", "--", "sh", "-c", "touch /x; echo $?"], 0),
        (&["--timeout", "1s", "--", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], 124),
        (&["--", "/no/such"], 127),
    ];
    let once = |words: &[&str], code: i32| {
        let done = site.run(words).input("in\n").run().code(code);
        (done.out(), done.err())
    };
    let cold: Vec<_> = cases.iter().map(|(words, code)| once(words, *code)).collect();
    site.daemon(&["start", "--min", "1", "--max", "8"]).ok();
    // The first time each is a miss, and what it wanted is warm for the second.
    for (words, code) in &cases {
        once(words, *code);
    }
    // Three of the six are of one kind.
    let kinds = 4;
    for ((words, code), cold) in cases.iter().zip(cold) {
        site.await_pool(|status| status["warm"] == kinds);
        let hits = site.hits();
        assert_eq!(once(words, *code), cold, "{words:?}");
        assert_eq!(site.hits(), hits + 1, "{words:?} took the ordinary road");
    }
    site.daemon(&["stop"]).ok();
    site.end();
}

#[test]
fn what_runs_ask_for_becomes_warm_beside_what_was_named() {
    let Some(site) = Site::start() else { return };
    site.start_daemon("1");
    // Its network is another one: what was named does not serve it.
    let other = ["--no-network", "--", "true"];
    site.run(&other).run().ok();
    site.await_pool(|status| status["misses"] == 1 && status["warm"] == 2);
    site.run(&other).run().ok();
    site.run(&["--", "true"]).run().ok();
    assert_eq!(site.hits(), 2);
    site.daemon(&["stop"]).ok();
    site.end();
}

#[test]
fn runs_back_to_back_wait_for_what_is_coming_up() {
    let Some(site) = Site::start() else { return };
    site.start_daemon("1");
    for round in 1..=6 {
        site.run(&["--", "echo", "x"]).run().ok().prints("x\n");
        assert_eq!(site.hits(), round, "it took the ordinary road");
    }
    assert_eq!(site.pool()["misses"], 0);
    site.daemon(&["stop"]).ok();
    site.end();
}

#[test]
fn a_run_with_a_warm_sandbox_asks_the_engine_nothing() {
    let Some(mut site) = Site::start() else { return };
    // Whoever is to use it asks first which engine it is.
    let proxy = Proxy::before(site.place(), site.socket(), "/_ping", || {}).unwrap();
    site.speak_through(proxy.path());
    site.start_daemon("1");
    proxy.rearm();
    site.run(&["--", "echo", "x"]).run().ok().prints("x\n");
    assert_eq!(site.hits(), 1);
    assert!(!proxy.has_struck());
    site.daemon(&["stop"]).ok();
    site.run(&["--", "true"]).run().ok();
    assert!(proxy.has_struck(), "it made a container and did not ask");
    site.end();
}

#[test]
fn a_killed_run_ends_its_warm_sandbox() {
    let Some(site) = Site::start() else { return };
    site.start_daemon("1");
    let (mut reader, writer) = pipe().unwrap();
    let live = site.run(&["--", "sh", "-c", "echo up; sleep 600"]).stdout(writer).start();
    let mut line = [0; 3];
    reader.read_exact(&mut line).unwrap();
    assert_eq!(site.pool()["in_use"], 1);
    live.signal(Signal::KILL);
    live.finish();
    site.await_pool(|status| status["in_use"] == 0 && status["warm"] == 1);
    site.daemon(&["stop"]).ok();
    site.end();
}

#[test]
fn stop_waits_for_the_command_and_a_dead_daemon_takes_it_along() {
    let Some(site) = Site::start() else { return };
    for killed in [false, true] {
        site.start_daemon("1");
        let (mut reader, writer) = pipe().unwrap();
        let (stdin, mut input) = pipe().unwrap();
        let live = site.run(&["--", "sh", "-c", "echo up; cat; exit 3"]).stdin(stdin).stdout(writer).start();
        let mut line = [0; 3];
        reader.read_exact(&mut line).unwrap();
        if killed {
            site.kill_daemon();
            live.finish().code(137);
            drop(input);
            // What the engine was making for the daemon at that moment is there a moment later.
            site.await_cleaned();
        } else {
            let stop = site.agentkernel(&["daemon", "stop"]).start();
            site.await_pool(|status| status["phase"] == "stopping");
            let refused = site.daemon(&["start"]).code(125);
            assert!(refused.err().contains("waits for 1 command"), "{refused}");
            input.write_all(b"last words").unwrap();
            drop(input);
            live.finish().code(3);
            assert!(stop.finish().ok().err().contains("waiting for 1 command"));
        }
    }
    site.end();
}
