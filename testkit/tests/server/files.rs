//! Files of a sandbox, events, and commands that nobody waits for.

use super::{
    http::{Answering, Event},
    world::{Server, eventually, is_running, long},
};
use agentkernel_testkit::TestEnv;
use serde_json::json;
use std::{collections::BTreeMap, io::Write as _};

#[test]
fn files_in_json_and_raw() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let put = |path: &str, body: serde_json::Value| {
        server.call("PUT", &format!("/sandboxes/box/files/{path}")).json(&body).send()
    };
    let get = |path: &str| server.get(&format!("/sandboxes/box/files/{path}"));
    put("tmp/a%20b.txt", json!({"content": "héllo"})).data(200);
    assert_eq!(get("/tmp/a%20b.txt").data(200), json!({"content": "héllo", "encoding": "utf8", "size": 6}));
    put("tmp/bytes", json!({"content": "//4=", "encoding": "base64"})).data(200);
    assert_eq!(get("tmp/bytes").data(200)["encoding"], "base64");
    put("tmp/x", json!({"content": "!", "encoding": "base64"})).fails(400, &["base64"]);
    put("tmp/x", json!({"content": "", "encoding": "hex"})).fails(400, &["encoding"]);
    put("tmp/x", json!({"content": "", "mode": 7})).fails(400, &["mode"]);
    get("tmp/x").fails(404, &["/tmp/x"]);
    for path in ["tmp/../etc/shadow", "..%2f..%2fetc%2fshadow", "%00", "tmp/%0a"] {
        let answer = get(path);
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
    assert_eq!(get("tmp").status, get("tmp").status, "a directory is no file");
    assert!((400..500).contains(&get("tmp").status));
    let listed = server.get("/sandboxes/box/files?path=/tmp").data(200);
    let names: Vec<_> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert!(names.contains(&json!("a b.txt")) && names.contains(&json!("bytes")), "{listed}");

    // More than a body of JSON may be long.
    let large: Vec<u8> = (0..20 * 1024 * 1024_u32).map(|n| n.to_le_bytes()[1]).collect();
    let raw = |method: &str| server.call(method, "/sandboxes/box/raw/tmp/large");
    assert_eq!(raw("PUT").body(large.clone()).send().data(200)["written"], large.len());
    let back = raw("GET").send();
    assert!(back.status == 200 && back.body == large, "{} bytes came back", back.body.len());
    assert_eq!(back.header("content-disposition"), Some("attachment"));
    get("tmp/large").fails(507, &["/tmp/large"]);
    // One that leaves in the middle has changed nothing.
    let mut wire = server.address.connect().unwrap();
    wire.write_all(&raw("PUT").body(vec![b'x'; 1000]).bytes()[..700]).unwrap();
    drop(wire);
    assert!(raw("GET").send().body == large, "half an upload took the place of the file");

    server.delete("/sandboxes/box/files/tmp/large").data(200);
    server.delete("/sandboxes/box/files/tmp/large").fails(404, &["/tmp/large"]);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn links_inside_lead_nowhere_outside() {
    let env = TestEnv::new();
    let secret = env.file("secret", "of the host");
    let server = Server::start(&env, &[]);
    server.create("box");
    let script = format!("ln -s {0} /tmp/link; ln -s / /tmp/root; ln -s {0} /tmp/out", secret.display());
    server.post("/sandboxes/box/exec", &json!({"command": ["sh", "-c", script]})).data(200);
    for path in ["tmp/link".to_owned(), format!("tmp/root{}", secret.display())] {
        for form in ["files", "raw"] {
            let answer = server.get(&format!("/sandboxes/box/{form}/{path}"));
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        }
    }
    let written = server.call("PUT", "/sandboxes/box/files/tmp/out").json(&json!({"content": "mine"})).send();
    assert!(written.status < 500, "{written:?}");
    assert_eq!(std::fs::read(&secret).unwrap(), b"of the host");
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn detached_commands_outlive_the_server_and_events_tell_of_sandboxes() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let mut events = server.call("GET", "/events").open();
    assert_eq!(events.status, 200);
    server.create("box");
    let created = events.event().unwrap();
    assert_eq!((created.name.as_str(), &created.data["sandbox"]), ("sandbox.created", &json!("box")));
    let long = long();
    let body = json!({"command": ["sh", "-c", format!("echo begun; sleep {long}")]});
    let begun = server.post("/sandboxes/box/exec/detach", &body).data(200);
    let path = format!("/sandboxes/box/exec/detached/{}", begun["id"].as_str().unwrap());
    assert_eq!(begun["status"], "running");
    eventually("it sleeps", || is_running(&long));
    drop(events);
    server.signal(rustix::process::Signal::KILL);
    drop(server.finish());

    let server = Server::start(&env, &[]);
    assert!(is_running(&long));
    assert_eq!(server.get(&path).data(200)["status"], "running");
    assert_eq!(server.get(&format!("{path}/logs")).data(200), json!({"stdout": "begun\n"}));
    server.delete(&path).data(200);
    eventually("it is killed", || !is_running(&long));
    eventually("its end is known", || server.get(&path).data(200)["status"] == "failed");
    server.get("/sandboxes/box/exec/detached/ffffffff").fails(404, &[]);
    server.get("/sandboxes/box/exec/detached/x").fails(400, &[]);
    server.get(&format!("{path}/logs?stream=other")).fails(400, &["stream"]);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn a_client_that_leaves_a_stopped_sandbox_leaves_it_stopped() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    server.post("/sandboxes/box/stop", &json!({})).data(200);
    let times = |event: &str| {
        let log = env.agentkernel(&["audit", "-s", "box", "--json"]).run().ok();
        String::from_utf8(log.stdout).unwrap().matches(event).count()
    };
    let (starts, stops) = (|| times("\"sandbox_started\""), || times("\"sandbox_stopped\""));
    let (started, before) = (starts(), stops());
    let mut wire = server.address.connect().unwrap();
    wire.write_all(&server.call("GET", "/sandboxes/box/files/etc/passwd").bytes()).unwrap();
    // A request whose client is gone before it is read begins nothing.
    eventually("it is started", || starts() > started);
    drop(wire);
    eventually("it is stopped again", || stops() > before);
    assert_eq!(server.get("/sandboxes/box").data(200)["status"], "stopped");
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

/// What comes until the end, in the order of its events, of one output.
fn told(stream: &mut Answering, of: &str) -> (String, Event) {
    let mut text = String::new();
    loop {
        let event = stream.event().expect("the stream has ended before the command");
        match event.name.as_str() {
            "output" if event.data["stream"] == of => text += event.data["data"].as_str().unwrap(),
            "output" => {}
            _ => return (text, event),
        }
    }
}

#[test]
fn the_output_of_a_detached_command_is_followed_across_servers() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    // It goes on when it is told to, so that each side of the break has its part.
    let script = "mkfifo /tmp/go; echo first; echo err >&2; cat /tmp/go; printf 'l\\303'; read word < /tmp/go; printf '\\244st'; exit 3";
    let begun =
        server.post("/sandboxes/box/exec/detach", &json!({"command": ["sh", "-c", script]})).data(200);
    let logs = format!("/sandboxes/box/exec/detached/{}/logs?follow=true", begun["id"].as_str().unwrap());
    let go = |server: &Server, word: &str| {
        let command = json!({"command": ["sh", "-c", format!("echo {word} > /tmp/go")]});
        server.post("/sandboxes/box/exec", &command).data(200);
    };

    let mut stream = server.call("GET", &logs).open();
    assert_eq!(stream.status, 200);
    let mut seen = BTreeMap::new();
    while seen.len() < 2 {
        let data = stream.expect("output");
        seen.insert(data["stream"].as_str().unwrap().to_owned(), data["data"].clone());
    }
    assert_eq!(
        seen,
        BTreeMap::from([("stdout".into(), json!("first\n")), ("stderr".into(), json!("err\n"))])
    );
    go(&server, "go");
    // Half of a character comes with it, and waits for the other half.
    let event = stream.event().unwrap();
    let (mut text, mut id) = (event.data["data"].as_str().unwrap().to_owned(), event.id);
    while text != "go\nl" {
        let event = stream.event().unwrap();
        text += event.data["data"].as_str().unwrap();
        id = event.id;
    }
    assert_eq!(id, "10-4");
    drop(stream);
    server.signal(rustix::process::Signal::KILL);
    drop(server.finish());

    let server = Server::start(&env, &[]);
    let mut stream = server.call("GET", &logs).header("Last-Event-ID", &id).open();
    go(&server, "on");
    let (text, done) = told(&mut stream, "stdout");
    assert_eq!((text.as_str(), done.name.as_str(), done.id.as_str()), ("äst", "done", "14-4"));
    assert_eq!((&done.data["status"], &done.data["exit_code"]), (&json!("failed"), &json!(3)), "{done:?}");
    assert!(stream.event().is_none());
    // Everything once more, of one output; and from the end, only that.
    let (text, _) = told(&mut server.call("GET", &format!("{logs}&stream=stderr")).open(), "stderr");
    assert_eq!(text, "err\n");
    let (text, _) = told(&mut server.call("GET", &logs).open(), "stdout");
    assert_eq!(text, "first\ngo\nläst");
    let over = server.call("GET", &logs).header("Last-Event-ID", &done.id).open().event().unwrap();
    assert_eq!(over.name, "done");
    for wrong in ["x", "1", "1-", "-1-2", "1-99999999999999999999"] {
        server.call("GET", &logs).header("Last-Event-ID", wrong).send().fails(400, &["Last-Event-ID"]);
    }
    server.get(&format!("{logs}&stream=other")).fails(400, &["stream"]);
    server.get("/sandboxes/box/exec/detached/ffffffff/logs?follow=true").fails(404, &[]);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn whoever_follows_is_told_that_the_keeper_was_killed_and_leaves_no_thread() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let begun = server.post("/sandboxes/box/exec/detach", &json!({"command": ["sleep", &long()]})).data(200);
    let logs = format!("/sandboxes/box/exec/detached/{}/logs?follow=true", begun["id"].as_str().unwrap());
    // Thirty-two at a time and no more; those that left make room.
    let connections = "/sandboxes/box/connections/stream".to_owned();
    let both = [&logs, &connections].into_iter().cycle().take(32);
    let all: Vec<_> = both.map(|path| server.call("GET", path).open()).collect();
    assert!(all.iter().all(|one| one.status == 200));
    server.get(&logs).fails(429, &[]);
    drop(all);
    let mut stream = None;
    eventually("those that left make room", || {
        let opened = server.call("GET", &logs).open();
        let is_in = opened.status == 200;
        stream = is_in.then_some(opened);
        is_in
    });
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names = threads.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    assert_eq!(names.filter(|name| name == "lock\n").count(), 0);
    let sandboxes = std::fs::read_dir(env.data().join("sandboxes")).unwrap();
    let dir = sandboxes.map(|entry| entry.unwrap().path()).next().unwrap();
    let keeper = std::fs::read_to_string(dir.join("keeper.lock")).unwrap().trim().parse().unwrap();
    let keeper = agentkernel_testkit::proc::handle(keeper).expect("the keeper lives");
    rustix::process::pidfd_send_signal(&keeper, rustix::process::Signal::KILL).unwrap();
    let done = stream.unwrap().event().unwrap();
    assert_eq!((done.name.as_str(), &done.data["status"]), ("done", &json!("failed")), "{done:?}");
    assert!(done.data["reason"].as_str().unwrap().contains("keeper"), "{done:?}");
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}
