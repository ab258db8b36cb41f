//! What clients send that they should not.

use super::{http::Call, world::Server};
use agentkernel_testkit::TestEnv;
use serde_json::{Value, json};
use std::{io::Write as _, time::Instant};

#[test]
fn what_is_wrong_is_named() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let run =
        |body: &str| server.call("POST", "/run").header("Content-Type", "application/json").body(body).send();
    for broken in
        ["", "{", "[1", "nul", "{\"command\": [\"true\"]} x", "\u{0}", "{\"command\":[\"\\ud800\"]}"]
    {
        run(broken).fails(400, &[]);
    }
    let deep = format!("{{\"command\": {}", "[".repeat(100_000));
    run(&deep).fails(400, &[]);
    run("{}").fails(400, &["command"]);
    // An array of the fields, in whichever order.
    for array in ["[]", "[[\"true\"]]", "[null, null]"] {
        run(array).fails(400, &["object"]);
    }
    let batch = server.call("POST", "/batch/run").header("Content-Type", "application/json");
    batch.body("{\"commands\": [[[\"true\"]]]}").send().fails(400, &["object"]);
    run("{\"command\": []}").fails(400, &["no command"]);
    let cases: &[(Value, &str)] = &[
        (json!({"command": "true"}), "command"),
        (json!({"command": [1]}), "command"),
        (json!({"command": ["true"], "comand": 1}), "comand"),
        (json!({"command": ["true"], "image": 1}), "image"),
        (json!({"command": ["true"], "image": "UPPER/case:tag"}), "image"),
        (json!({"command": ["true"], "profile": "lax"}), "profile"),
        (json!({"command": ["true"], "network": "yes"}), "network"),
        (json!({"command": ["true"], "timeout_ms": -1}), "timeout_ms"),
        (json!({"command": ["true"], "vcpus": 70000}), "vcpus"),
        (json!({"command": ["true"], "env": ["=x"]}), "env"),
        (json!({"command": ["true"], "workdir": "relative"}), "workdir"),
        (json!({"command": ["true"], "ports": ["x"]}), "ports"),
        (json!({"command": ["true"], "rules": ["perhaps a.example"]}), "rules"),
        (json!({"command": ["true"], "secrets": ["a b"]}), "secrets"),
        (json!({"command": ["true"], "image": "host", "backend": "no-such"}), "no-such"),
    ];
    for (body, word) in cases {
        let answer = run(&body.to_string());
        assert!((400..500).contains(&answer.status), "{body}: {answer:?}");
        answer.fails(answer.status, &[word]);
    }
    // No value of the caller's comes back in words: it may be a secret.
    let secret = json!({"command": ["true"], "secrets": ["TOKEN=hunter2hunter2"], "image": "host"});
    let told = String::from_utf8(run(&secret.to_string()).body).unwrap();
    assert!(!told.contains("hunter2"), "{told}");
    server.call("POST", "/run").body("{}").send().fails(415, &["JSON"]);
    server.call("POST", "/run").header("Content-Type", "text/plain").body("{}").send().fails(415, &["JSON"]);
    server.end(&env);
}

#[test]
fn hosts_paths_and_secrets_are_not_given_away() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let run = |more: Value| {
        let mut body = json!({"command": ["true"], "image": "host"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/run", &body)
    };
    let denied = run(json!({"volumes": ["/etc:/mnt"]}));
    denied.fails(403, &[]);
    run(json!({"secret_files": ["TOKEN"]})).fails(403, &[]);
    let create = |more: Value| {
        let mut body = json!({"name": "box", "image": "host"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/sandboxes", &body)
    };
    for url in
        ["http://example.com/a.git", "file:///etc", "ssh://a@b/c", "git@example.com:a", "--upload-pack=x"]
    {
        create(json!({"source_url": url})).fails(400, &["source_url"]);
    }
    for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "2130706433", "a.localhost"] {
        create(json!({"source_url": format!("https://{host}/a.git")})).fails(403, &["source_url"]);
    }
    create(json!({"source_url": "https://u:p@example.com/a"})).fails(400, &["user"]);
    create(json!({"source_url": "https://example.com/a", "source_ref": "--flag"}))
        .fails(400, &["source_ref"]);
    assert_eq!(server.get("/sandboxes").data(200), json!([]));
    server.create("box");
    let sudo = json!({"command": ["id"], "sudo": true});
    server.post("/sandboxes/box/exec", &sudo).fails(403, &["root"]);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn every_kind_of_name() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let encoded = |name: &str| -> String {
        name.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    };
    let names = [
        "..",
        ".",
        "../../etc",
        "a/b",
        "/etc/passwd",
        "a\u{0}b",
        "a b",
        "-flag",
        "--help",
        "",
        " ",
        "UPPER",
        "ünïcode",
        "a\nb",
        "\u{1b}[31m",
        "a%2fb",
        "..%2f..",
        "name;rm -rf",
        "$(id)",
        "`id`",
        "\u{202e}",
        &"a".repeat(300),
        "CON",
    ];
    for name in names {
        let made = server.post("/sandboxes", &json!({"name": name, "image": "host", "start": false}));
        if made.status == 201 {
            server.delete(&format!("/sandboxes/{}", encoded(name))).data(200);
            continue;
        }
        made.fails(400, &["name"]);
        let path = format!("/sandboxes/{}", encoded(name));
        let seen = server.get(&path);
        assert!(matches!(seen.status, 400 | 404) || name.is_empty(), "{name:?}: {seen:?}");
        let gone = server.delete(&path);
        assert!(matches!(gone.status, 400 | 404 | 405), "{name:?}: {gone:?}");
    }
    for path in ["/sandboxes/%", "/sandboxes/%zz", "/sandboxes/%ff%fe", "/sandboxes/..%2f..%2fetc%2fpasswd"] {
        let answer = server.get(path);
        answer.fails(answer.status, &[]);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    for query in ["?label=x", "?label=%ff:1", "?label=A%20:b", "?project=%zz&label=:"] {
        let answer = server.get(&format!("/sandboxes{query}"));
        assert!(matches!(answer.status, 200 | 400), "{query}: {answer:?}");
    }
    server.end(&env);
}

#[test]
fn bodies_that_are_too_large() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let call = server.call("POST", "/run").header("Content-Type", "application/json");
    let large = format!("{{\"command\": [\"{}\"]}}", "a".repeat(17 * 1024 * 1024));
    call.clone().body(large).send().fails(413, &["too large"]);
    // A chunk of 16 KiB after another, and no end of them.
    let chunk = [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat();
    let answer = call.header("Transfer-Encoding", "chunked").endless(&chunk).unwrap();
    answer.finish().unwrap().fails(413, &["too large"]);
    server.run(&["true"]).data(200);
    server.end(&env);
}

#[test]
fn bytes_that_are_no_requests() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let endless_header = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5000));
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        &endless_header,
        many_headers.as_bytes(),
    ];
    for bytes in garbage {
        let mut wire = server.address.connect().unwrap();
        let _ = wire.write_all(bytes);
        let mut told = Vec::new();
        // It answers with an error or closes; it neither hangs nor serves.
        let _ = std::io::Read::read_to_end(&mut wire, &mut told);
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
    }
    server.get("/status").data(200);
    server.end(&env);
}

#[test]
fn who_is_slow_is_let_go() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let mut wire = server.address.connect().unwrap();
    wire.write_all(b"GET /health HTTP/1.1\r\nHost: loc").unwrap();
    let began = Instant::now();
    let mut told = Vec::new();
    let _ = std::io::Read::read_to_end(&mut wire, &mut told);
    assert!((8..60).contains(&began.elapsed().as_secs()), "let go after {:?}", began.elapsed());
    // A body that never comes holds nobody else up.
    let mut half = server.address.connect().unwrap();
    let head = "POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    write!(half, "{head}Authorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{", super::world::KEY)
        .unwrap();
    server.run(&["true"]).data(200);
    drop(half);
    server.end(&env);
}

#[test]
fn two_requests_on_one_connection() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let mut wire = server.address.connect().unwrap();
    let ask = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    write!(wire, "{ask}\r\n{ask}Connection: close\r\n\r\n").unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut wire, &mut told).unwrap();
    assert_eq!(told.matches("{\"success\":true,\"data\":\"ok\"}").count(), 2, "{told}");
    // One that has two lengths could be read as two requests.
    let smuggled = Call::new(&server.address, "POST", "/run")
        .key(super::world::KEY)
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .body("0\r\n\r\nGET /sandboxes HTTP/1.1\r\n\r\n");
    let answer = smuggled.try_open().and_then(super::http::Answering::finish);
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("HTTP/1.1"), "{answer:?}");
    }
    server.end(&env);
}

/// What has no effect is not taken: a client would count on it.
#[test]
fn a_lifecycle_is_refused_by_name() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    for name in ["auto_stop_after_seconds", "auto_archive_after_seconds", "auto_delete_after_seconds"] {
        let body = json!({"name": "box", "image": "host", "lifecycle": {name: 60}});
        server.post("/sandboxes", &body).fails(422, &[name]);
    }
    server
        .post("/sandboxes", &json!({"name": "box", "lifecycle": {"auto_sleep": 1}}))
        .fails(400, &["auto_sleep"]);
    let none = json!({"name": "box", "image": "host", "start": false, "lifecycle": {"auto_stop_after_seconds": null}});
    server.post("/sandboxes", &none).data(201);
    let change = |body: &Value| server.call("PATCH", "/sandboxes/box").json(body).send();
    change(&json!({"lifecycle": null, "description": "kept"})).data(200);
    change(&json!({"lifecycle": {"auto_delete_after_seconds": 1}}))
        .fails(422, &["auto_delete_after_seconds"]);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

/// Callers change what callers have set. What the owner set is the owner's.
#[test]
fn secrets_of_the_owner_are_not_replaced() {
    let env = TestEnv::new();
    env.agentkernel(&["secret", "set", "OWNERS", "--host", "a.example"]).input("sk-owner").run().ok();
    let server = Server::start(&env, &[]);
    let set = |name: &str| {
        server.post("/secrets", &json!({"name": name, "value": "sk-x", "hosts": ["evil.example"]}))
    };
    set("OWNERS").fails(409, &["OWNERS", "owner"]);
    server.delete("/secrets/OWNERS").fails(409, &["OWNERS"]);
    set("CALLERS").data(201);
    set("CALLERS").data(201);
    // Also after a new start.
    server.end(&env);
    let server = Server::start(&env, &[]);
    let set =
        |name: &str| server.post("/secrets", &json!({"name": name, "value": "sk-y", "hosts": ["b.example"]}));
    set("CALLERS").data(201);
    set("OWNERS").fails(409, &[]);
    // The owner takes over what a caller set, and it is the owner's then.
    env.agentkernel(&["secret", "set", "CALLERS", "--host", "a.example"]).input("sk-owner").run().ok();
    set("CALLERS").fails(409, &["CALLERS"]);
    let all = server.get("/secrets").data(200);
    let hosts: Vec<_> = all.as_array().unwrap().iter().map(|secret| secret["hosts"].clone()).collect();
    assert_eq!(hosts, [json!(["a.example"]), json!(["a.example"])]);
    set("ANOTHER").data(201);
    server.delete("/secrets/ANOTHER").data(200);
    server.end(&env);
}
