//! Output as it is made.

use super::world::{SOON, Server, eventually, is_running, long};
use agentkernel_testkit::TestEnv;
use serde_json::json;
use std::time::Instant;

#[test]
fn events_of_a_command() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let body = json!({"command": ["sh", "-c", "echo one; echo two >&2; exit 3"], "image": "host"});
    let mut answer = server.call("POST", "/run/stream").json(&body).open();
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())));
    let mut events = Vec::new();
    while let Some(event) = answer.event() {
        events.push(event);
    }
    let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids, (1..=events.len()).map(|id| id.to_string()).collect::<Vec<_>>());
    let started = events.first().unwrap();
    assert_eq!((&started.name, &started.data["command"][0]), (&"started".to_owned(), &json!("sh")));
    let text = |stream: &str| -> String {
        let of = events.iter().filter(|event| event.name == "output" && event.data["stream"] == stream);
        of.map(|event| event.data["data"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((text("stdout"), text("stderr")), ("one\n".to_owned(), "two\n".to_owned()));
    let done = events.last().unwrap();
    assert_eq!(done.name, "done");
    assert_eq!((&done.data["exit_code"], &done.data["success"]), (&json!(3), &json!(false)));
    server.end(&env);
}

#[test]
fn bytes_come_before_the_command_ends_and_it_ends_when_the_client_leaves() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let long = long();
    let script = format!("printf 'h\\303'; sleep 2; printf '\\251'; sleep {long}");
    let body = json!({"command": ["sh", "-c", script], "image": "host"});
    let mut answer = server.call("POST", "/run/stream").json(&body).open();
    let began = Instant::now();
    answer.expect("started");
    assert_eq!(answer.expect("output")["data"], "h");
    // A character comes whole.
    assert_eq!(answer.expect("output")["data"], "é");
    assert!(began.elapsed() < SOON);
    eventually("it sleeps", || is_running(&long));
    drop(answer);
    eventually("the client has left, and the command ends", || !is_running(&long));
    server.end(&env);
}

#[test]
fn a_client_that_leaves_ends_what_it_waits_for() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    for path in ["/run", "/sandboxes/box/exec"] {
        let long = long();
        let mut body = json!({"command": ["sleep", &long]});
        if path == "/run" {
            body["image"] = json!("host");
        }
        let call = server.call("POST", path).json(&body);
        let mut wire = server.address.connect().unwrap();
        std::io::Write::write_all(&mut wire, &call.bytes()).unwrap();
        eventually("it sleeps", || is_running(&long));
        drop(wire);
        eventually(path, || !is_running(&long));
    }
    assert_eq!(server.get("/sandboxes/box").data(200)["status"], "running");
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn a_stream_that_takes_too_long_or_fails() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let long = long();
    let body = json!({"command": ["sleep", &long], "image": "host", "timeout_ms": 300});
    let mut answer = server.call("POST", "/run/stream").json(&body).open();
    answer.expect("started");
    assert_eq!(answer.expect("error")["kind"], "timeout");
    assert!(answer.event().is_none());
    eventually("it has ended", || !is_running(&long));
    // What fails before anything runs is an answer like any other.
    let none = json!({"command": ["true"], "image": "absent.example/none:1"});
    let answer = server.call("POST", "/run/stream").json(&none).send();
    answer.fails(answer.status, &["absent.example"]);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    server.end(&env);
}

#[test]
fn much_output_to_a_slow_reader() {
    const LENGTH: usize = 24 * 1024 * 1024;
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let script = format!("head -c {LENGTH} /dev/zero | tr '\\0' x");
    let body = json!({"command": ["sh", "-c", script], "image": "host"});
    // It is more than an answer may hold, and not more than a stream may.
    server.post("/run", &body).fails(507, &["bytes"]);
    let mut answer = server.call("POST", "/run/stream").json(&body).open();
    answer.expect("started");
    let mut length = 0;
    let exit = loop {
        let event = answer.event().unwrap();
        match event.name.as_str() {
            "output" => length += event.data["data"].as_str().unwrap().len(),
            _ => break event,
        }
    };
    assert_eq!((length, exit.name.as_str(), &exit.data["exit_code"]), (LENGTH, "done", &json!(0)));
    server.end(&env);
}

#[test]
fn as_many_followers_of_connections_as_may() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let call = server.call("GET", "/sandboxes/box/connections/stream");
    let mut streams: Vec<_> = (0..32).map(|_| call.open()).collect();
    assert!(streams.iter().all(|stream| stream.status == 200));
    let busy = call.send();
    let told = busy.fails(429, &["followed"]);
    assert_eq!((busy.header("retry-after"), &told["kind"]), (Some("1"), &json!("busy")));
    server.get("/sandboxes/box/connections").data(200);
    streams.pop();
    eventually("there is room again", || call.open().status == 200);
    drop(streams);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}
