//! An engine that ends, hangs, or has things done to it behind our back: each time a clear answer in bounded time, and
//! a list that is true.

use super::site::{IMAGE, LABEL, Site};
use crate::ENGINE;
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_disk_that_is_full() {
    let Some(site) = Site::on_disk_of(128 << 20) else { return };
    let fails = |words: &[&str]| {
        let failed = site.agentkernel(words).run().code(125);
        failed.error_with_hint(&["no space left"]);
    };
    let run = ["run", "-B", ENGINE.name, "-i", IMAGE, "--no-workspace", "--", "true"];
    let create = ["sandbox", "create", "more", "-B", ENGINE.name, "-i", IMAGE];
    // Before the engine has the image, and after.
    site.disk().fill();
    fails(&run);
    fails(&create);
    assert_eq!((site.list().json(), site.images()), (json!([]), Vec::new()));
    site.disk().free();
    site.sandbox("work");
    site.disk().fill();
    fails(&run);
    fails(&create);
    let write = ["exec", "work", "--", "sh", "-c", "cat /bin/busybox >/root/copy"];
    let full = site.agentkernel(&write).run().code(1);
    assert!(full.err().contains("No space left on device"), "{full}");
    assert_eq!(site.list().json().as_array().unwrap().len(), 1);
    assert_eq!((site.status("work").0.as_str(), site.containers().len()), ("running", 1));
    site.disk().free();
    site.agentkernel(&["exec", "work", "--", "cp", "/bin/busybox", "/root/copy"]).run().ok();
    site.agentkernel(&run).run().ok();
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.agentkernel(&["gc"]).run().ok();
    site.end();
}

#[test]
fn an_engine_that_is_killed_in_the_middle_of_a_run_or_a_creation() {
    let Some(mut site) = Site::start() else { return };
    // What is asked once was asked.
    site.run(&["--", "true"]).run().ok();
    for words in [
        &["run", "-B", ENGINE.name, "-i", IMAGE, "--no-workspace", "--", "true"][..],
        &["sandbox", "create", "work", "-B", ENGINE.name, "-i", IMAGE],
    ] {
        // It cannot be answered before it is killed.
        site.engine.freeze();
        let live = site.agentkernel(words).start();
        site.engine.kill().unwrap();
        live.finish().code(125).error_with_hint(&["cannot"]);
        assert_eq!(site.list().json(), json!([]));
        site.engine.revive().unwrap();
        site.agentkernel(&["gc"]).run().ok();
        site.await_no_containers();
    }
    site.sandbox("work");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}

#[test]
fn an_engine_that_never_answers() {
    let Some(mut site) = Site::start() else { return };
    site.sandbox("busy");
    site.agentkernel(&["sandbox", "create", "idle", "-B", ENGINE.name, "-i", IMAGE]).run().ok();
    site.engine.freeze();
    // Nothing of this asks the engine for more than whether it listens.
    assert_eq!((site.status("busy").0, site.status("idle").0), ("running".to_owned(), "stopped".to_owned()));
    site.agentkernel(&["exec", "busy", "--", "echo", "x"]).run().ok().prints("x\n");
    let run = site.run(&["--", "true"]).run().code(124);
    assert!(run.err().contains("the engine does not answer"), "{run}");
    site.engine.revive().unwrap();
    assert_eq!(site.status("busy").0, "running");
    site.run(&["--", "echo", "x"]).run().ok().prints("x\n");
    site.agentkernel(&["clean", "--force"]).run().ok();
    assert_eq!(site.list().json(), json!([]));
    site.end();
}

#[test]
fn what_another_engine_at_its_place_could_do_is_not_promised() {
    let Some(site) = Site::start() else { return };
    site.run(&["--", "true"]).run().ok();
    let memory = site.env.data().join("engines").join(format!("{}.json", ENGINE.name));
    let remember = |runtimes: &[&str], limits: bool| {
        let mut known: Value = serde_json::from_slice(&fs::read(&memory).unwrap()).unwrap();
        known["server"] = json!("server: another");
        known["facts"]["runtimes"] = json!(runtimes);
        known["facts"]["limits_memory"] = json!(limits);
        fs::write(&memory, known.to_string()).unwrap();
    };
    remember(&["runc", "gone"], true);
    let refused = site.run(&["--no-network", "--runtime", "gone", "--", "true"]).run().code(125);
    refused.error_with_hint(&["the runtime 'gone', which it does not have"]);
    // Nor is anything refused for what that one could not do.
    remember(&[], false);
    site.run(&["--runtime", "runc", "--memory", "64MB", "--", "true"]).run().ok();
    site.end();
}

#[test]
fn a_container_that_is_removed_behind_our_back() {
    let Some(site) = Site::start() else { return };
    site.sandbox("work");
    let [container] = &site.containers()[..] else { panic!("{:?}", site.containers()) };
    site.api().remove(container).unwrap();
    assert_eq!(site.await_status("work", "stopped"), "it ended by itself");
    let exec = site.agentkernel(&["exec", "work", "--", "true"]).run().code(125);
    exec.error_with_hint(&["work"]);
    let start = site.agentkernel(&["sandbox", "start", "work"]).run().code(125);
    start.error_with_hint(&["container is gone"]);
    assert_eq!(site.status("work").0, "stopped");
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    assert_eq!(site.list().json(), json!([]));
    site.end();
}

#[test]
fn a_name_that_a_foreign_container_has() {
    let Some(site) = Site::start() else { return };
    site.sandbox("work");
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    let [container] = &site.containers()[..] else { panic!("{:?}", site.containers()) };
    let ours = site.api().json("GET", &format!("/containers/{container}/json"), None).unwrap();
    let (name, id) =
        (ours["Name"].as_str().unwrap().trim_start_matches('/'), &ours["Config"]["Labels"][LABEL]);
    site.api().remove(container).unwrap();
    let spec = json!({
        "Image": ours["Image"], "Entrypoint": ["/bin/busybox", "sleep", "1000"], "Labels": {"of": "somebody else"},
        "HostConfig": {"NetworkMode": "none"},
    });
    let made = site.api().json("POST", &format!("/containers/create?name={name}"), Some(&spec)).unwrap();
    let theirs = made["Id"].as_str().unwrap();
    let alive = || site.api().json("GET", &format!("/containers/{theirs}/json"), None).unwrap();

    let start = site.agentkernel(&["sandbox", "start", "work"]).run().code(125);
    start.error_with_hint(&["container"]);
    assert_eq!(alive()["State"]["Status"], "created", "it was started: {id}");
    assert_eq!(site.status("work").0, "stopped");
    site.agentkernel(&["sandbox", "remove", "work"]).run();
    site.agentkernel(&["gc"]).run().ok();
    site.agentkernel(&["clean", "--force"]).run();
    assert_eq!(alive()["Id"], theirs, "it is somebody else's");
    site.api().remove(theirs).unwrap();
    site.agentkernel(&["clean", "--force"]).run().ok();
    assert_eq!(site.list().json(), json!([]));
    site.end();
}

#[test]
fn two_processes_that_start_one_sandbox() {
    let Some(site) = Site::start() else { return };
    site.agentkernel(&["sandbox", "create", "work", "-B", ENGINE.name, "-i", IMAGE]).run().ok();
    let starts: Vec<_> = (0..4).map(|_| site.agentkernel(&["sandbox", "start", "work"]).start()).collect();
    for start in starts {
        start.finish().ok();
    }
    assert_eq!((site.status("work").0.as_str(), site.containers().len()), ("running", 1));
    site.agentkernel(&["exec", "work", "--", "echo", "x"]).run().ok().prints("x\n");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}

#[test]
fn an_image_that_the_engine_lost_is_brought_again() {
    let Some(site) = Site::start() else { return };
    for _ in 0..2 {
        site.run(&["--", "echo", "x"]).run().ok().prints("x\n");
        site.await_no_containers();
        let images = site.images();
        assert_eq!(images.len(), 1, "{images:?}");
        site.api().json("DELETE", &format!("/images/{}?force=true", images[0]), None).unwrap();
    }
    // That of a sandbox that is there, and one that nobody has.
    site.sandbox("work");
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    let used = format!("/images/{}?force={}", site.images()[0], ENGINE.forces_names_only);
    let _in_use = site.api().call("DELETE", &used, None).unwrap();
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    let missing = ["run", "-B", ENGINE.name, "-i", "nosuch:1", "--pull", "never", "--", "true"];
    site.agentkernel(&missing).run().code(125).error_with_hint(&["nosuch:1"]);
    site.end();
}

#[test]
fn a_socket_without_permission_is_said_to_be_one() {
    let Some(site) = Site::for_stranger() else { return };
    let denied = site.run(&["--", "true"]).run().code(125);
    denied.error_with_hint(&["api.sock", "ermission"]);
    let create =
        site.agentkernel(&["sandbox", "create", "work", "-B", ENGINE.name, "-i", IMAGE]).run().code(125);
    create.error_with_hint(&["ermission"]);
    assert_eq!(site.list().json(), json!([]));
    let checked = site.agentkernel(&["setup", "--check", "--json"]).run().json();
    let report = checked.as_array().unwrap().iter().find(|report| report["id"] == ENGINE.name).unwrap();
    assert!(report.to_string().contains("ermission"), "{report}");
    site.end();
}
