//! Commands that nobody waits for, from the front door.

use agentkernel_testkit::{TestEnv, proc};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, io::Read as _, sync::mpsc::channel, time::Duration, time::Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn up(env: &TestEnv) {
    env.agentkernel(&["sandbox", "create", "box", "--image", "host"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
}

fn list(env: &TestEnv) -> Vec<Value> {
    let json = env.agentkernel(&["sandbox", "exec-list", "box", "--json"]).run().ok().json();
    json.as_array().unwrap_or_else(|| panic!("no array: {json}")).clone()
}

fn detach(env: &TestEnv, script: &str) -> String {
    let info = env.agentkernel(&["exec", "-d", "--json", "box", "--", "sh", "-c", script]).run().ok().json();
    info["id"].as_str().unwrap().to_owned()
}

fn log(env: &TestEnv, id: &str) -> String {
    env.agentkernel(&["sandbox", "exec-logs", "box", id]).run().ok().silent_stderr().out()
}

/// Nothing tells another process when a command has come so far: it looks again.
fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "it does not come");
    }
}

/// The one that is called `id`, once it has ended.
fn over(env: &TestEnv, id: &str) -> Value {
    let find = || list(env).into_iter().find(|info| info["id"] == id).unwrap();
    until(|| find()["status"] != "running");
    find()
}

#[test]
fn a_detached_command_is_listed_read_and_ended_by_other_processes() {
    let env = TestEnv::new();
    up(&env);
    let shown =
        env.agentkernel(&["exec", "-d", "box", "--", "sh", "-c", "echo out; echo err >&2; cat; sleep 600"]);
    let shown = shown.input("not its input").run().ok().silent_stderr();
    assert!(shown.out().starts_with("{\n  \"id\": \""), "{shown}");
    let id = shown.json()["id"].as_str().unwrap().to_owned();
    let pid = shown.json()["pid"].as_u64().unwrap();
    let inside = env.agentkernel(&["exec", "box", "--", "cat", &format!("/proc/{pid}/comm")]).run().ok();
    inside.prints("sh\n");
    until(|| log(&env, &id) == "out\n");
    let err = env.agentkernel(&["sandbox", "exec-logs", "box", &id, "--stderr", "--json"]).run().ok().json();
    assert_eq!((err["stderr"].as_str(), err.get("stdout")), (Some("err\n"), None), "{err}");
    let table = env.agentkernel(&["sandbox", "exec-list", "box"]).run().ok().silent_stderr().out();
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["ID", "STATUS", "EXIT", "STARTED", "COMMAND"]);
    assert!(table.lines().nth(1).unwrap().starts_with(&format!("{id}  running")), "{table}");

    env.agentkernel(&["sandbox", "exec-kill", "box", &id])
        .run()
        .ok()
        .prints(format!("{id} has ended (failed, exit 143)\n"));
    let again = env.agentkernel(&["sandbox", "exec-kill", "box", &id, "--json"]).run().ok().json();
    assert_eq!(
        (again["status"].as_str(), again["exit_code"].as_u64()),
        (Some("failed"), Some(143)),
        "{again}"
    );
    let fine = over(&env, &detach(&env, "exit 0"));
    assert_eq!((fine["status"].as_str(), fine["exit_code"].as_u64()), (Some("completed"), Some(0)), "{fine}");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_log_is_followed_until_the_command_ends() {
    let env = TestEnv::new();
    up(&env);
    let id = detach(&env, "mkfifo /tmp/go; echo begun; cat /tmp/go; echo other >&2; exit 4");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let follow = ["sandbox", "exec-logs", "box", &id, "--follow"];
    let following = env.agentkernel(&follow).stdout(writer).start();
    // Before it goes on, what it wrote is told.
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut begun = [0; 6];
        let _unheard = send.send(reader.read_exact(&mut begun).map(|()| (reader, begun)));
    });
    let (mut reader, begun) = receive.recv_timeout(PATIENCE).expect("what it wrote is told").unwrap();
    assert_eq!(&begun, b"begun\n");
    env.agentkernel(&["exec", "box", "--", "sh", "-c", "echo rest > /tmp/go"]).run().ok();
    let finished = following.finish().ok();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "rest\n");
    assert_eq!(finished.err(), format!("note: {id} has ended (failed, exit 4)\n"));
    let err = env.agentkernel(&["sandbox", "exec-logs", "box", &id, "-f", "--stderr"]).run().ok();
    assert_eq!(err.out(), "other\n");
    env.agentkernel(&[&follow[..], &["--json"]].concat()).run().code(2);
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn what_goes_wrong_is_said() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "box", "--image", "host"]).run().ok();
    env.agentkernel(&["exec", "-d", "box", "--", "true"])
        .run()
        .code(125)
        .error_with_hint(&["box", "not running"]);
    env.agentkernel(&["exec", "-d", "none", "--", "true"]).run().code(125).error_with_hint(&["none"]);
    env.agentkernel(&["exec", "-d", "-t", "box", "--", "sh"]).run().code(2);
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "-d", "box", "--", "no-such-command"])
        .run()
        .code(127)
        .error_with_hint(&["no-such-command"]);
    env.agentkernel(&["exec", "-d", "box", "--", "/etc/passwd"])
        .run()
        .code(126)
        .error_with_hint(&["/etc/passwd"]);
    env.agentkernel(&["sandbox", "exec-list", "none"]).run().code(125).error_with_hint(&["none"]);
    for id in ["00000000", "nonsense"] {
        for verb in ["exec-logs", "exec-kill"] {
            env.agentkernel(&["sandbox", verb, "box", id]).run().code(125).error_with_hint(&[id]);
        }
    }
    let empty = env.agentkernel(&["sandbox", "exec-list", "box"]).run().ok();
    assert!(empty.out().is_empty() && empty.err().contains("exec -d box"), "{empty}");
}

#[test]
fn what_ended_with_its_keeper_has_failed_and_its_log_is_there() {
    let env = TestEnv::new();
    up(&env);
    let id = detach(&env, "printf 'no\\033[31m end'; sleep 600");
    until(|| log(&env, &id) == "no\u{1b}[31m end");
    let sandboxes = fs::read_dir(env.data().join("sandboxes")).unwrap();
    let dir = sandboxes.map(|entry| entry.unwrap().path()).next().unwrap();
    let keeper = fs::read_to_string(dir.join("keeper.lock")).unwrap().trim().parse().unwrap();
    let keeper = proc::handle(keeper).expect("the keeper lives");
    rustix::process::pidfd_send_signal(&keeper, Signal::KILL).unwrap();
    assert!(proc::wait_until(&keeper, Instant::now() + PATIENCE).unwrap());
    let lost = over(&env, &id);
    assert_eq!((lost["status"].as_str(), lost["exit_code"].as_u64()), (Some("failed"), None), "{lost}");
    assert_eq!(lost["reason"], "its keeper ended unexpectedly", "{lost}");
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    assert_eq!(over(&env, &id), lost);
    assert_eq!(log(&env, &id), "no\u{1b}[31m end");
    let next = detach(&env, "sleep 600");
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    assert_eq!(over(&env, &next)["reason"], "the sandbox was stopped");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_log_is_bounded_and_says_so() {
    let env = TestEnv::new();
    up(&env);
    let id = detach(&env, "head -c 20000000 /dev/zero; echo end");
    let info = over(&env, &id);
    let dropped = info["stdout_dropped"].as_u64().unwrap();
    let log = env.agentkernel(&["sandbox", "exec-logs", "box", &id]).run().ok();
    assert_eq!(log.stdout.len() as u64 + dropped, 20_000_004, "{info}");
    assert!(log.stdout.len() <= 16 << 20 && log.stdout.ends_with(b"\0end\n"));
    assert!(log.err().contains(&format!("{dropped} bytes")), "{}", log.err());
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_sandbox_is_given_more_time() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "box", "--image", "host", "--ttl", "1h"]).run().ok();
    let before = env.agentkernel(&["sandbox", "info", "box", "--json"]).run().ok().json();
    let after = env.agentkernel(&["sandbox", "extend-ttl", "box", "--by", "2h", "--json"]).run().ok().json();
    assert!(after["expires_at"].as_str() > before["expires_at"].as_str(), "{before} {after}");
    assert_eq!(after["ttl_seconds"], 3 * 3600);
    env.agentkernel(&["sandbox", "create", "stays", "--image", "host"]).run().ok();
    env.agentkernel(&["sandbox", "extend-ttl", "stays"])
        .run()
        .code(125)
        .error_with_hint(&["does not expire"]);
}
