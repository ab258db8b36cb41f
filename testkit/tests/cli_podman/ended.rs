//! A service of Podman that ends while a command runs. Containers are none of its processes: they outlive it.

use super::site::Site;
use agentkernel_testkit::engines::Engine;
use std::io::{Read as _, Write as _, pipe};

/// Has the service end as `end` does it, while a command runs, and be there again.
fn ended(end: impl FnOnce(&mut Engine)) {
    let Some(mut site) = Site::start() else { return };
    site.sandbox("work");
    site.agentkernel(&["exec", "work", "--", "sh", "-c", "echo kept >/root/mark"]).run().ok();
    let (mut reader, writer) = pipe().unwrap();
    let (stdin, mut input) = pipe().unwrap();
    let script = ["exec", "work", "--", "sh", "-c", "echo up; cat; exit 3"];
    let live = site.agentkernel(&script).stdin(stdin).stdout(writer).start();
    let mut line = [0; 3];
    reader.read_exact(&mut line).unwrap();

    end(&mut site.engine);
    let (status, reason) = site.status("work");
    assert_eq!(status, "unknown");
    assert!(reason.starts_with("backend 'podman' does not answer: "), "{reason}");
    assert!(reason.contains(site.socket().to_str().unwrap()), "{reason}");
    let run = site.run(&["--", "true"]).run().code(125);
    let run = run.error_with_hint(&["podman", site.socket().to_str().unwrap()]);
    assert!(run.err().contains("hint: start it: "), "{run}");
    let refused = site.agentkernel(&["sandbox", "remove", "work"]).run().code(125);
    refused.error_with_hint(&["work", "podman", "does not answer"]);
    // Commands do not go through the engine.
    input.write_all(b"last words").unwrap();
    drop(input);
    live.finish().code(3);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "last words");

    site.engine.revive().unwrap();
    site.await_status("work", "running");
    let kept = ["exec", "work", "--", "cat", "/root/mark"];
    site.agentkernel(&kept).run().ok().prints("kept\n");
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    site.agentkernel(&kept).run().ok().prints("kept\n");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}

#[test]
fn one_that_is_killed_takes_no_command_with_it_and_its_sandboxes_are_unknown() {
    ended(|engine| engine.kill().unwrap());
}

#[test]
fn one_that_is_stopped_takes_no_command_with_it_either() {
    ended(|engine| engine.shut_down().unwrap());
}
