//! Files of a sandbox, events, and commands that nobody waits for.

use super::world::{Server, eventually, is_running, long};
use agentkernel_testkit::TestEnv;
use serde_json::json;
use std::io::Write as _;

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
