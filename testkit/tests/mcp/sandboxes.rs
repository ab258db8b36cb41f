//! Named sandboxes through the tools, from making one to its end.

use super::client::{Client, SOON};
use agentkernel_testkit::TestEnv;
use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};

/// Asks until `wanted` is so: of what is asked for, nothing tells.
#[track_caller]
pub(super) fn eventually(what: &str, mut wanted: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !wanted() {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process of this machine has `word` among its arguments. One of a sandbox has no mark of the test.
pub(super) fn runs(word: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let words = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    entries.map(words).any(|line| line.split(|byte| *byte == 0).any(|one| one == word.as_bytes()))
}

#[test]
fn a_sandbox_lives_from_create_to_remove() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let (text, none) = client.ok("sandbox_list", &json!({}));
    assert_eq!((text.as_str(), &none["count"]), ("There are no named sandboxes", &json!(0)));
    let wanted = json!({"name": "box", "image": "host", "labels": {"for": "test"}, "description": "a test", "ttl": "1h"});
    let (text, made) = client.ok("create_sandbox", &wanted);
    assert!(text.starts_with("Created box (running, image host"), "{text}");
    assert_eq!((&made["status"], &made["labels"]["for"]), (&json!("running"), &json!("test")), "{made}");
    let said = client.error("sandbox_create", &wanted);
    assert!(said.contains("box"), "{said}");
    let exec = |command: &str| json!({"name": "box", "command": ["sh", "-c", command], "env": ["A=b"], "workdir": "/tmp"});
    client.ok("sandbox_exec", &exec("echo kept >file; pwd"));
    let (text, _) = client.ok("exec_in_sandbox", &exec("cat file; echo $A"));
    assert_eq!(text, "kept\nb\n");
    let said = client.error("sandbox_exec", &exec("echo no; exit 9"));
    assert_eq!(said, "no\nError: the command exited with code 9");
    let (_, list) = client.ok("sandbox_list", &json!({}));
    assert_eq!(list["sandboxes"][0]["name"], "box", "{list}");
    let (_, later) = client.ok("sandbox_extend_ttl", &json!({"name": "box", "by": "2h"}));
    assert!(later["expires_at"].as_str() > made["expires_at"].as_str(), "{made} {later}");
    let (_, stopped) = client.ok("sandbox_stop", &json!({"name": "box"}));
    assert_eq!(stopped["status"], "stopped", "{stopped}");
    let (_, started) = client.ok("sandbox_start", &json!({"name": "box"}));
    assert_eq!(started["status"], "running", "{started}");
    let (_, removed) = client.ok("sandbox_remove", &json!({"name": "box"}));
    assert_eq!(removed, json!({"name": "box", "removed": true}));
    client.end(&env);
}

#[test]
fn files_go_in_and_come_out() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    client.ok("sandbox_create", &json!({"name": "box", "image": "host"}));
    let file = |path: &str, content: &str| json!({"name": "box", "path": path, "content": content});
    client.ok("sandbox_file_write", &file("/tmp/deep/er/a", "content of a €\n"));
    let read = |path: &str| json!({"name": "box", "path": path});
    let (text, shown) = client.ok("sandbox_file_read", &read("/tmp/deep/er/a"));
    assert_eq!(text, "content of a €\n");
    assert_eq!((&shown["encoding"], &shown["size"]), (&json!("utf8"), &json!(17)), "{shown}");
    let many = json!({"name": "box", "files": {"/tmp/one": "1", "/tmp/two": "22"}});
    let (_, written) = client.ok("sandbox_write_files", &many);
    assert_eq!(written, json!({"count": 2, "bytes": 3}));
    let mut binary = file("/tmp/binary", "AAH/");
    binary["encoding"] = json!("base64");
    client.ok("sandbox_file_write", &binary);
    let (text, shown) = client.ok("sandbox_file_read", &read("/tmp/binary"));
    assert_eq!((text.as_str(), &shown["encoding"]), ("AAH/", &json!("base64")), "{shown}");
    client.ok("sandbox_file_write", &file("/tmp/long", &"€".repeat(20_000)));
    let (text, shown) = client.ok("sandbox_file_read", &read("/tmp/long"));
    assert_eq!((&shown["truncated"], &shown["size"]), (&json!(true), &json!(60_000)), "{text}");
    assert!(!text.contains('\u{fffd}'), "a broken character");
    for path in ["/tmp/none", "/tmp", "/../etc/passwd", "relative"] {
        client.error("sandbox_file_read", &read(path));
    }
    client.ok("sandbox_remove", &json!({"name": "box"}));
    client.end(&env);
}

#[test]
fn background_commands_outlive_the_server_that_began_them() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    client.ok("sandbox_create", &json!({"name": "box", "image": "host"}));
    let begin = json!({"name": "box", "command": ["sh", "-c", "echo out; echo err >&2; sleep 600"]});
    let (_, begun) = client.ok("sandbox_exec_detach", &begin);
    assert_eq!(begun["status"], "running", "{begun}");
    client.finish().ok();
    let mut client = Client::start(&env, &[]);
    let one = json!({"name": "box", "id": begun["id"]});
    let (_, seen) = client.ok("sandbox_exec_status", &one);
    assert_eq!(seen["status"], "running", "{seen}");
    for (stream, wanted) in [("stdout", "out\n"), ("stderr", "err\n")] {
        let asked = json!({"name": "box", "id": begun["id"], "stream": stream});
        eventually("the log is written", || client.ok("sandbox_exec_logs", &asked).0 == wanted);
    }
    let (_, list) = client.ok("sandbox_exec_list", &json!({"name": "box"}));
    assert_eq!((&list["count"], &list["commands"][0]["id"]), (&json!(1), &begun["id"]), "{list}");
    let (_, ended) = client.ok("sandbox_exec_kill", &one);
    assert_eq!(ended["status"], "failed", "{ended}");
    client.ok("sandbox_exec_kill", &one);
    client.ok("sandbox_remove", &json!({"name": "box"}));
    client.end(&env);
}

#[test]
fn a_cancelled_command_of_a_named_sandbox_ends_too() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    client.ok("sandbox_create", &json!({"name": "box", "image": "host"}));
    let arguments = json!({"name": "box", "command": ["sh", "-c", "echo ready; exec sleep 601.033"]});
    let asked = json!({"name": "sandbox_exec", "arguments": arguments, "_meta": {"progressToken": 1}});
    let id = client.begin("tools/call", &asked);
    client.wait("the command", |message| message["params"]["message"] == "ready\n");
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    eventually("the command has ended", || !runs("601.033"));
    assert_eq!(client.unasked(), Vec::<Value>::new());
    client.ok("sandbox_remove", &json!({"name": "box"}));
    client.end(&env);
}
