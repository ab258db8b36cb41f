//! Named sandboxes from the front door.

use agentkernel_testkit::{TestEnv, proc};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// `sandbox list --json` as records.
fn listed(env: &TestEnv) -> Vec<Value> {
    let json = env.agentkernel(&["sandbox", "list", "--json"]).run().ok().json();
    json.as_array().unwrap_or_else(|| panic!("no array: {json}")).clone()
}

fn info(env: &TestEnv, name: &str) -> Value {
    env.agentkernel(&["sandbox", "info", name, "--json"]).run().ok().json()
}

fn create(env: &TestEnv, name: &str) {
    env.agentkernel(&["sandbox", "create", name, "--image", "host"]).run().ok();
}

/// The keepers of this environment's sandboxes.
fn keepers(env: &TestEnv) -> Vec<i32> {
    let data = env.data();
    let owns = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let keeper = words.split(|b| *b == 0).any(|w| w == b"keeper");
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
        keeper && links.filter_map(|l| fs::read_link(l.path()).ok()).any(|to| to.starts_with(&data))
    };
    proc::all().unwrap().into_iter().filter(owns).collect()
}

/// What a sandbox is made of belongs to its root, who may be another user.
#[test]
fn a_umask_of_the_callers_keeps_nobody_out() {
    let env = TestEnv::new();
    let script = "umask 077; \"$0\" sandbox create box --image host && \"$0\" sandbox start box && \
                  \"$0\" exec box -- touch /tmp/here";
    env.program(Path::new("/bin/sh"), &["-c", script, env.binary().to_str().unwrap()]).run().ok();
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_life_from_create_to_remove() {
    let env = TestEnv::new();
    assert_eq!(listed(&env), Vec::<Value>::new());
    create(&env, "box");
    assert_eq!(listed(&env)[0]["status"], "stopped");
    let stopped = env.agentkernel(&["exec", "box", "--", "true"]).run();
    stopped.code(125).error_with_hint(&["box"]);
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    assert_eq!(info(&env, "box")["status"], "running");
    env.agentkernel(&["exec", "box", "--", "sh", "-c", "echo kept >/kept; exit 9"]).run().code(9);
    env.agentkernel(&["exec", "box", "-e", "A=b", "-w", "/tmp", "--", "sh", "-c", "echo $A; pwd"])
        .run()
        .ok()
        .prints("b\n/tmp\n");
    env.agentkernel(&["exec", "box", "--", "cat"]).input("in").run().ok().prints("in");
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    assert_eq!(info(&env, "box")["status"], "stopped");
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "cat", "/kept"]).run().ok().prints("kept\n");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    assert_eq!(listed(&env), Vec::<Value>::new());
    assert_eq!(fs::read_dir(env.data().join("sandboxes")).map_or(0, Iterator::count), 0);
    env.assert_nothing_left();
}

#[test]
fn the_older_spellings_work() {
    let env = TestEnv::new();
    for arguments in [
        &["create", "old", "--image", "host"][..],
        &["start", "old"],
        &["stop", "old"],
        &["list"],
        &["sb", "info", "old"],
        &["remove", "old"],
    ] {
        env.agentkernel(arguments).run().ok();
    }
    env.assert_nothing_left();
}

#[test]
fn a_list_has_columns_and_an_empty_one_a_hint() {
    let env = TestEnv::new();
    let empty = env.agentkernel(&["sandbox", "list"]).run().ok();
    assert!(format!("{}{}", empty.out(), empty.err()).contains("agentkernel sandbox create"), "{empty}");
    create(&env, "one");
    let text = env.agentkernel(&["sandbox", "list"]).run().ok().silent_stderr().out();
    let head: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head.get(..3), Some(&["NAME", "STATUS", "BACKEND"][..]), "{text}");
    assert!(text.lines().nth(1).is_some_and(|l| l.starts_with("one") && l.contains("stopped")), "{text}");
}

#[test]
fn a_taken_name_is_refused_and_the_owner_unharmed() {
    let env = TestEnv::new();
    create(&env, "taken");
    let before = info(&env, "taken");
    let again =
        env.agentkernel(&["sandbox", "create", "taken", "--image", "host", "-p", "restrictive"]).run();
    again.code(125).error_with_hint(&["taken"]);
    assert_eq!(info(&env, "taken"), before);
    assert_eq!(
        fs::read_dir(env.data().join("sandboxes")).unwrap().count(),
        1,
        "the refused one left a directory"
    );
}

#[test]
fn labels_select() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "a", "--image", "host", "-l", "team=red"]).run().ok();
    env.agentkernel(&["sandbox", "create", "b", "--image", "host", "-l", "team=blue"]).run().ok();
    let json = env.agentkernel(&["sandbox", "list", "-l", "team=red", "--json"]).run().ok().json();
    let names: Vec<&str> = json.as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(info(&env, "b")["labels"]["team"], "blue");
}

#[test]
fn gc_takes_what_has_expired_and_says_so_before() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "brief", "--image", "host", "--ttl", "1s"]).run().ok();
    create(&env, "lasting");
    // No event tells that a stopped sandbox has expired: time alone makes it so.
    let expires = Instant::now() + Duration::from_secs(2);
    std::thread::sleep(expires.saturating_duration_since(Instant::now()));
    let dry = env.agentkernel(&["sandbox", "gc", "--dry-run", "--json"]).run().ok().json();
    assert_eq!(dry["removed"], serde_json::json!(["brief"]), "{dry}");
    assert_eq!(listed(&env).len(), 2, "a dry run removed something");
    env.agentkernel(&["gc"]).run().ok();
    assert_eq!(listed(&env).iter().map(|s| s["name"].clone()).collect::<Vec<_>>(), ["lasting"]);
    env.agentkernel(&["sandbox", "gc", "--stopped"]).run().ok();
    assert_eq!(listed(&env), Vec::<Value>::new());
}

#[test]
fn a_running_sandbox_stops_when_it_expires() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "brief", "--image", "host", "--ttl", "2s"]).run().ok();
    env.agentkernel(&["sandbox", "start", "brief"]).run().ok();
    let keeper = keepers(&env);
    assert_eq!(keeper.len(), 1, "keepers: {keeper:?}");
    let handle = proc::handle(keeper[0]).expect("the keeper lives");
    assert!(
        proc::wait_until(&handle, Instant::now() + Duration::from_secs(10)).unwrap(),
        "the keeper outlives its ttl"
    );
    let info = info(&env, "brief");
    assert_eq!(info["status"], "stopped", "{info}");
    assert!(info["reason"].as_str().is_some_and(|r| r.contains("expired")), "{info}");
}

#[test]
fn a_killed_keeper_is_reported_and_start_works() {
    let env = TestEnv::new();
    create(&env, "box");
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "sh", "-c", "echo kept >/kept"]).run().ok();
    let sleeper = env.agentkernel(&["exec", "box", "--", "sleep", "600"]).start();
    let keeper = keepers(&env);
    assert_eq!(keeper.len(), 1, "keepers: {keeper:?}");
    let handle = proc::handle(keeper[0]).expect("the keeper lives");
    rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL).unwrap();
    assert!(sleeper.ends_within(Duration::from_secs(10)), "a command outlives the keeper");
    let ended = sleeper.finish();
    assert_ne!(ended.code, Some(0), "{ended}");
    let after = info(&env, "box");
    assert_eq!(after["status"], "stopped", "{after}");
    assert!(after["reason"].as_str().is_some_and(|r| r.contains("keeper")), "{after}");
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "cat", "/kept"]).run().ok().prints("kept\n");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn two_starts_at_once_are_one() {
    let env = TestEnv::new();
    create(&env, "box");
    let starts: Vec<_> = (0..4).map(|_| env.agentkernel(&["sandbox", "start", "box"]).start()).collect();
    for start in starts {
        start.finish().ok();
    }
    assert_eq!(keepers(&env).len(), 1);
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_directory_is_mounted_as_asked() {
    let env = TestEnv::new();
    env.file("project/file", "original\n");
    for (name, directory, reaches) in [("rw", ".", true), ("ro", ".:ro", false), ("view", ".:view", false)] {
        fs::write(env.project().join("file"), "original\n").unwrap();
        env.agentkernel(&["sandbox", "create", name, "--image", "host", "--dir", directory]).run().ok();
        env.agentkernel(&["sandbox", "start", name]).run().ok();
        let write = env.agentkernel(&["exec", name, "--", "sh", "-c", "cat file; echo changed >file"]).run();
        assert_eq!(write.out(), "original\n", "{name}: {write}");
        let now = fs::read_to_string(env.project().join("file")).unwrap();
        assert_eq!(now == "changed\n", reaches, "{name}: {now:?}");
        env.agentkernel(&["sandbox", "remove", name]).run().ok();
    }
    env.assert_nothing_left();
}

#[test]
fn doctor_and_setup_check_find_a_backend() {
    let env = TestEnv::new();
    env.agentkernel(&["setup", "--check"]).run().ok();
    let json = env.agentkernel(&["doctor", "--json"]).run().ok().json();
    assert!(json["checks"].as_array().is_some_and(|checks| !checks.is_empty()), "{json}");
    env.assert_nothing_left();
}

#[test]
fn limits_change_while_it_runs_and_for_later_starts() {
    let env = TestEnv::new();
    create(&env, "box");
    env.agentkernel(&["sandbox", "resize", "box"]).run().code(2);
    let resized = env.agentkernel(&["sandbox", "resize", "box", "--memory", "512MB", "--json"]).run();
    if resized.code == Some(125) {
        // Whoever has no control groups: refused, and nothing changed.
        assert!(resized.err().contains("memory 512MB") && resized.err().contains("hint"), "{resized}");
        assert_ne!(info(&env, "box")["spec"]["policy"]["limits"]["memory"]["required"], 512 << 20);
        return;
    }
    assert_eq!(resized.ok().json()["spec"]["policy"]["limits"]["memory"]["required"], 512 << 20);
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let hog = ["exec", "box", "--", "sh", "-c", "head -c 100000000 /dev/zero | tail -c 90000000 | wc -c"];
    env.agentkernel(&hog).run().ok().prints("90000000\n");
    env.agentkernel(&["sandbox", "resize", "box", "--memory", "32MB", "--cpus", "0.5"]).run().ok();
    let killed = env.agentkernel(&hog).run();
    assert_ne!(killed.out(), "90000000\n", "the new limit does not hold: {killed}");
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let killed = env.agentkernel(&hog).run();
    assert_ne!(killed.out(), "90000000\n", "it does not hold after a new start: {killed}");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}
