//! `run` on `apple`.

use super::site::{IMAGE, Site};
use rustix::process::Signal;
use std::io::{BufRead as _, BufReader};

#[test]
fn a_run_has_its_streams_its_code_and_a_copy_of_the_project() {
    let site = Site::new();
    site.env.file("project/file", "mine\n");
    let script = "cat file; echo err >&2; echo theirs >file; cat; exit 5";
    let ran = site.run(&["--", "sh", "-c", script]).input("typed\n").run().code(5).prints("mine\ntyped\n");
    assert!(ran.err().contains("err\n"), "{ran}");
    assert_eq!(std::fs::read_to_string(site.env.project().join("file")).unwrap(), "mine\n");
    site.run(&["--", "nosuch"]).run().code(127).error_with_hint(&["nosuch"]);
    site.run(&["-t", "--", "sh", "-c", "tty >/dev/null && echo yes"]).run().ok().prints("yes\r\n");
    site.end();
}

#[test]
fn values_of_variables_are_on_no_command_line() {
    let site = Site::new();
    let run = site.run(&["-e", "TOKEN=s3cr3t-1", "--", "sh", "-c", "echo $TOKEN"]);
    run.run().ok().prints("s3cr3t-1\n");
    assert!(site.said().contains("--env-file") && !site.said().contains("s3cr3t"), "{}", site.said());
    site.end();
}

#[test]
fn what_it_cannot_enforce_is_refused() {
    let site = Site::new();
    let refused = |words: &[&str], parts: &[&str]| {
        let own = ["run", "-B", "apple"];
        site.agentkernel(&[&own[..], words].concat()).run().code(125).error_with_hint(parts);
    };
    refused(&["-i", IMAGE, "--", "true"], &["network rules"]);
    refused(&["-i", "host", "--no-network", "--", "true"], &["the image 'host'"]);
    refused(&["-i", IMAGE, "--no-network", "--cpus", "0.5", "--", "true"], &["cpus 0.5"]);
    assert!(!site.said().contains("--name"), "{}", site.said());
    site.end();
}

#[test]
fn a_backend_that_does_not_work_says_why_and_what_to_type() {
    let site = Site::new();
    site.fault("system status", "not running");
    let checked = site.agentkernel(&["setup", "--check"]).run().ok();
    assert!(checked.out().contains("container system start"), "{checked}");
    site.fault("run", "fail:kernel not found");
    site.run(&["--", "true"]).run().code(125).our_failure();
    let bare = site.env.agentkernel(&["run", "-B", "apple", "-i", IMAGE, "--no-network", "--", "true"]);
    bare.env("PATH", "/usr/bin:/bin").run().code(125).error_with_hint(&["there is no program 'container'"]);
    site.end();
}

#[test]
fn a_run_that_is_killed_takes_its_sandbox_with_it() {
    let site = Site::new();
    let (read, write) = std::io::pipe().unwrap();
    let live = site.run(&["--", "sh", "-c", "echo up; exec sleep 1000"]).stdout(write).start();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), site.containers().len()), ("up\n", 1));
    live.signal(Signal::KILL);
    live.finish();
    // The sandbox ends when it notices, and a later verb removes what was on this machine.
    while !site.containers().is_empty() {
        site.agentkernel(&["sandbox", "gc"]).run().ok();
    }
    site.end();
}

#[test]
fn signals_are_passed_on() {
    let site = Site::new();
    let (read, write) = std::io::pipe().unwrap();
    let script = "trap 'echo got; exit 7' TERM; echo up; while :; do sleep 0.05; done";
    let live = site.run(&["--", "sh", "-c", script]).stdout(write).start();
    let mut from = BufReader::new(read);
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    live.signal(Signal::TERM);
    from.read_line(&mut line).unwrap();
    assert_eq!(line, "up\ngot\n");
    live.finish().code(7);
    site.end();
}
