//! A Docker that ends while a command runs.

use super::site::Site;
use std::io::{Read as _, Write as _, pipe};

#[test]
fn an_engine_that_is_killed_takes_no_command_with_it_and_its_sandboxes_are_unknown() {
    let Some(mut site) = Site::start() else { return };
    site.sandbox("work");
    site.agentkernel(&["exec", "work", "--", "sh", "-c", "echo kept >/root/mark"]).run().ok();
    let (mut reader, writer) = pipe().unwrap();
    let (stdin, mut input) = pipe().unwrap();
    let script = ["exec", "work", "--", "sh", "-c", "echo up; cat; exit 3"];
    let live = site.agentkernel(&script).stdin(stdin).stdout(writer).start();
    let mut line = [0; 3];
    reader.read_exact(&mut line).unwrap();

    site.engine.kill().unwrap();
    let (status, reason) = site.status("work");
    assert_eq!(status, "unknown");
    assert!(reason.starts_with("backend 'docker' does not answer: "), "{reason}");
    assert!(reason.contains(site.socket().to_str().unwrap()), "{reason}");
    let run = site.run(&["--", "true"]).run().code(125);
    let run = run.error_with_hint(&["docker", site.socket().to_str().unwrap()]);
    assert!(run.err().contains("hint: start it: "), "{run}");
    let refused = site.agentkernel(&["sandbox", "remove", "work"]).run().code(125);
    refused.error_with_hint(&["work", "docker", "does not answer"]);
    // Commands do not go through the engine.
    input.write_all(b"last words").unwrap();
    drop(input);
    live.finish().code(3);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "last words");

    // Docker ends what ran when it died.
    site.engine.revive().unwrap();
    let reason = site.await_status("work", "stopped");
    assert_eq!(reason, "it ended by itself");
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    let kept = site.agentkernel(&["exec", "work", "--", "cat", "/root/mark"]).run().ok();
    kept.prints("kept\n");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}

#[test]
fn an_engine_that_is_stopped_ends_a_command_with_its_sandbox() {
    let Some(mut site) = Site::start() else { return };
    site.sandbox("work");
    let (mut reader, writer) = pipe().unwrap();
    let (stdin, _input) = pipe().unwrap();
    let script = ["exec", "work", "--", "sh", "-c", "echo kept >/root/mark; echo up; cat"];
    let live = site.agentkernel(&script).stdin(stdin).stdout(writer).start();
    let mut line = [0; 3];
    reader.read_exact(&mut line).unwrap();
    site.engine.shut_down().unwrap();
    live.finish().code(137);
    let start = site.agentkernel(&["sandbox", "start", "work"]).run().code(125);
    start.error_with_hint(&[site.socket().to_str().unwrap()]);
    site.engine.revive().unwrap();
    assert_eq!(site.await_status("work", "stopped"), "it ended by itself");
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    site.agentkernel(&["exec", "work", "--", "cat", "/root/mark"]).run().ok().prints("kept\n");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}
