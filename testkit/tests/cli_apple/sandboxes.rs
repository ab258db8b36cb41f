//! Named sandboxes on `apple`.

use super::site::{IMAGE, Site};
use rustix::process::Signal;
use std::fs;

fn create(site: &Site, name: &str) {
    let words = ["sandbox", "create", name, "-B", "apple", "--image", IMAGE, "--no-network"];
    site.agentkernel(&words).run().ok();
    site.agentkernel(&["sandbox", "start", name]).run().ok();
}

fn exec(site: &Site, name: &str, script: &str) -> String {
    site.agentkernel(&["exec", name, "--", "sh", "-c", script]).run().ok().out()
}

#[test]
fn a_sandbox_is_kept_and_remembers_its_backend() {
    let site = Site::new();
    create(&site, "box");
    let listed = site.agentkernel(&["sandbox", "list"]).run().ok();
    let row: Vec<String> =
        listed.out().lines().nth(1).unwrap().split_whitespace().map(str::to_owned).collect();
    assert_eq!(row[..3], ["box", "running", "apple"]);
    assert_eq!(exec(&site, "box", "echo kept >/kept; id -u"), "0\n");
    site.agentkernel(&["exec", "box", "--", "sh", "-c", "exit 3"]).run().code(3);
    site.env.file("project/there", "and back");
    site.agentkernel(&["sandbox", "cp", "there", "box:/root/"]).run().ok();
    site.agentkernel(&["sandbox", "cp", "box:/root/there", "back"]).run().ok();
    assert_eq!(fs::read_to_string(site.env.project().join("back")).unwrap(), "and back");
    site.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    site.agentkernel(&["sandbox", "start", "box"]).run().ok();
    assert_eq!(exec(&site, "box", "cat /kept"), "kept\n");
    site.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    site.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    site.end();
}

#[test]
fn a_keeper_that_is_killed_takes_its_sandbox_with_it() {
    let site = Site::new();
    create(&site, "box");
    exec(&site, "box", "echo kept >/kept");
    let lock = fs::read_dir(site.env.data().join("sandboxes")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(lock.join("keeper.lock")).unwrap();
    let pid: i32 =
        text.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty()).unwrap().parse().unwrap();
    let keeper = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(keeper, Signal::KILL).unwrap();
    while site.agentkernel(&["sandbox", "list"]).run().ok().out().contains("running") {}
    site.agentkernel(&["sandbox", "start", "box"]).run().ok();
    assert_eq!(exec(&site, "box", "cat /kept"), "kept\n");
    site.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    site.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    site.end();
}

#[test]
fn a_service_that_is_down_makes_its_sandboxes_unknown() {
    let site = Site::new();
    let words = ["sandbox", "create", "box", "-B", "apple", "--image", IMAGE, "--no-network"];
    site.agentkernel(&words).run().ok();
    site.fault("system status", "not running");
    let listed = site.agentkernel(&["sandbox", "list"]).run().ok();
    assert!(listed.out().contains("unknown"), "{listed}");
    assert!(listed.err().contains("the service of 'container' is not running"), "{listed}");
    site.fault("system status", "");
    site.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    site.end();
}
