//! Detached commands in a container, which its keeper looks after without the engine, and other limits, which only the
//! engine can set.

use super::site::Site;
use serde_json::Value;
use std::time::{Duration, Instant};

fn look(site: &Site, id: &str) -> Value {
    let all = site.agentkernel(&["sandbox", "exec-list", "work", "--json"]).run().ok().json();
    let found = all.as_array().unwrap().iter().find(|info| info["id"] == id);
    found.unwrap_or_else(|| panic!("{id} is not in {all}")).clone()
}

fn detach(site: &Site, script: &str) -> String {
    let begun =
        site.agentkernel(&["exec", "-d", "--json", "work", "--", "sh", "-c", script]).run().ok().json();
    begun["id"].as_str().unwrap().to_owned()
}

/// Nothing tells another process when a command has come so far: it looks again.
fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < deadline, "it does not come");
    }
}

#[test]
fn a_detached_command_goes_on_and_ends_with_its_children() {
    let Some(site) = Site::start() else { return };
    site.sandbox("work");
    let log = |id: &str| site.agentkernel(&["sandbox", "exec-logs", "work", id]).run().ok().out();
    let id = detach(&site, "(trap 'echo child; exit' TERM; echo up; while :; do sleep 0.1; done) & wait");
    until(|| log(&id) == "up\n");
    assert_eq!(look(&site, &id)["status"], "running");
    let killed = site.agentkernel(&["sandbox", "exec-kill", "work", &id, "--json"]).run().ok().json();
    assert_eq!(
        (killed["status"].as_str(), killed["exit_code"].as_u64()),
        (Some("failed"), Some(143)),
        "{killed}"
    );
    until(|| log(&id) == "up\nchild\n");
    let id = detach(&site, "exit 3");
    until(|| look(&site, &id)["status"] == "failed");
    assert_eq!(look(&site, &id)["exit_code"], 3);
    let id = detach(&site, "sleep 600");
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    assert_eq!(look(&site, &id)["reason"], "the sandbox was stopped");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}

#[test]
fn limits_change_running_or_stopped() {
    let Some(site) = Site::start() else { return };
    site.sandbox("work");
    let [container] = &site.containers()[..] else { panic!("{:?}", site.containers()) };
    let limits = || {
        let seen = site.api().json("GET", &format!("/containers/{container}/json"), None).unwrap();
        let host = &seen["HostConfig"];
        (host["Memory"].as_u64(), host["MemorySwap"].as_u64(), host["NanoCpus"].as_u64())
    };
    let (small, large) = (Some(96 << 20), Some(128 << 20));
    site.agentkernel(&["sandbox", "resize", "work", "--memory", "96MB", "--cpus", "0.5"]).run().ok();
    assert_eq!(limits(), (small, small, Some(500_000_000)));
    site.agentkernel(&["exec", "work", "--", "true"]).run().ok();
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    site.agentkernel(&["sandbox", "resize", "work", "--memory", "128MB"]).run().ok();
    assert_eq!(limits(), (large, large, Some(500_000_000)));
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    assert_eq!(limits().0, large);
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}
