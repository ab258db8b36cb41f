//! Named sandboxes, and the lines of the README.

use super::{image::python, world::Server};
use agentkernel_testkit::{TestEnv, registry::Registry};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;

#[test]
fn from_creation_to_removal() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let mut body = json!({
        "name": "my-sandbox", "image": "host", "labels": {"env": "prod", "team": "ml"}, "description": "of a test",
        "env": ["WHO=me"], "backend": "auto",
    });
    // Not every user's limits can be enforced.
    let memory = if env.is_root() { 256 } else { 512 };
    if env.is_root() {
        body["memory_mb"] = json!(memory);
    }
    let made = server.post("/sandboxes", &body).data(201);
    assert_eq!(
        (&made["name"], &made["status"], &made["image"]),
        (&json!("my-sandbox"), &json!("running"), &json!("host"))
    );
    assert_eq!((&made["labels"]["team"], &made["memory_mb"]), (&json!("ml"), &json!(memory)));
    assert!(made["uuid"].is_string() && made["created_at"].is_string(), "{made}");
    server.post("/sandboxes", &body).fails(409, &["my-sandbox"]);

    let names = |query: &str| -> Vec<String> {
        let list = server.get(&format!("/sandboxes{query}")).data(200);
        list.as_array().unwrap().iter().map(|info| info["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(""), ["my-sandbox"]);
    assert_eq!(names("?label=env:prod&label=team%3Aml"), ["my-sandbox"]);
    assert!(names("?label=env:prod&label=team:web").is_empty());
    server.get("/sandboxes?label=env").fails(400, &["label"]);

    let exec = |body: Value| server.post("/sandboxes/my-sandbox/exec", &body);
    let ran =
        exec(json!({"command": ["sh", "-c", "echo $WHO $MORE; pwd"], "env": ["MORE=it"], "workdir": "/tmp"}));
    assert_eq!(ran.data(200)["stdout"], "me it\n/tmp\n");
    let failed = exec(json!({"command": ["sh", "-c", "echo no >&2; exit 4"]})).fails(409, &["code 4"]);
    assert_eq!((&failed["exit_code"], &failed["stderr"]), (&json!(4), &json!("no\n")));
    exec(json!({"command": ["true"], "workdirectory": "/"})).fails(400, &["workdirectory"]);
    let late = json!({"command": ["sleep", super::world::long()], "timeout_ms": 200});
    exec(late).fails(504, &["200 ms"]);
    exec(json!({"command": ["sh", "-c", "echo kept >/root/kept 2>/dev/null || echo kept >/tmp/kept"]}))
        .data(200);

    let stopped = server.post("/sandboxes/my-sandbox/stop", &json!({})).data(200);
    assert_eq!(stopped["status"], "stopped");
    exec(json!({"command": ["true"]})).fails(409, &["my-sandbox"]);
    assert_eq!(server.post("/sandboxes/my-sandbox/start", &json!({})).data(200)["status"], "running");
    exec(json!({"command": ["true"]})).data(200);
    assert_eq!(server.get("/stats").data(200)["sandbox_count"], 1);
    assert_eq!(server.delete("/sandboxes/my-sandbox").data(200), "Sandbox removed");
    assert!(names("").is_empty());
    server.end(&env);
}

#[test]
fn where_its_ports_are_reached() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let body = json!({"name": "box", "image": "host", "ports": ["0:8080"]});
    let made = server.post("/sandboxes", &body).data(201);
    let port = made["ports"][0]["host"].as_u64().unwrap();
    assert_ne!(port, 0, "{made}");
    let url = format!("http://127.0.0.1:{port}");
    let endpoint = json!([{"container_port": 8080, "protocol": "tcp", "url": url}]);
    assert_eq!(made["endpoints"], endpoint, "{made}");
    assert_eq!(server.get("/sandboxes").data(200)[0]["endpoints"], endpoint);
    let stopped = server.post("/sandboxes/box/stop", &json!({})).data(200);
    assert!(stopped["endpoints"].is_null() && !stopped["ports"].is_null(), "{stopped}");
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

/// The lines of the README as they are written, but for the port.
#[test]
fn the_lines_of_the_readme() {
    const RUN: &str = r#"curl -X POST http://localhost:18888/run \
-H "Content-Type: application/json" \
-d '{"command": ["python3", "-c", "print(1+1)"], "profile": "restrictive"}'"#;
    const CREATE: &str = r#"curl -X POST http://localhost:18888/sandboxes \
-H "Content-Type: application/json" \
-d '{"name": "my-sandbox", "labels": {"env": "prod", "team": "ml"}}'"#;
    const STATS: &str = "curl http://localhost:18888/stats";
    let env = TestEnv::new();
    let registry = Registry::start().unwrap();
    for reference in ["python:3.12-alpine", "alpine:3.20"] {
        registry.push(&python(&env, reference)).unwrap();
    }
    env.registries(&registry.settings());
    let server = if env.is_root() {
        // Root's server wants a key, which the lines do not have: curl's own file brings it.
        env.file("home/.curlrc", format!("header = \"Authorization: Bearer {}\"\n", super::world::KEY));
        Server::start(&env, &[])
    } else {
        Server::bare(&env, &[])
    };
    let line = |line: &str| {
        let line = line.replace("18888", &server.port.to_string());
        env.program(Path::new("/bin/sh"), &["-ec", &line]).run().ok().json()
    };
    let ran = line(RUN);
    assert_eq!((&ran["success"], &ran["data"]["output"]), (&json!(true), &json!("2\n")), "{ran}");
    assert_eq!(ran["data"]["image"], "python:3.12-alpine");
    let made = line(CREATE);
    assert_eq!((&made["success"], &made["data"]["labels"]["env"]), (&json!(true), &json!("prod")), "{made}");
    let stats = line(STATS);
    assert_eq!(stats["data"]["sandbox_count"], 1);
    assert!(stats["data"]["resource_usage"]["memory_used_mb"].is_u64(), "{stats}");
    // Without a key it serves only the user who started it: that of the lines.
    let gone = line("curl -X DELETE http://localhost:18888/sandboxes/my-sandbox");
    assert_eq!(gone["success"], true, "{gone}");
    server.end(&env);
}

/// Its own process cannot be looked into, and a user without subordinate ids cannot map a user namespace from there.
#[test]
fn what_a_server_finds_of_backends_is_true_for_all_commands() {
    const WITHOUT_SUBORDINATES: u32 = 60_129;
    let is_root = rustix::process::geteuid().is_root();
    let env = if is_root { TestEnv::of_user(WITHOUT_SUBORDINATES) } else { TestEnv::new() };
    let server = Server::start(&env, &[]);
    let native_works = |what: &str| {
        let backends = server.get("/backends").data(200)["backends"].clone();
        let native = backends.as_array().unwrap().iter().find(|it| it["backend"] == "native").unwrap();
        assert_eq!(native["usable"], true, "{what}: {native}");
    };
    native_works("at first");
    server.get("/doctor").data(200);
    // Chosen by what is known of each, in a process of its own.
    env.agentkernel(&["run", "--image", "host", "--", "true"]).run().ok();
    native_works("still");
    server.create("box");
    server.delete("/sandboxes/box").data(200);
    // Not `end`: where Podman is tried out, a process of it stays for the user's next container.
    server.signal(rustix::process::Signal::TERM);
    server.finish().ok();
}

#[test]
fn an_event_of_somebody_else_with_a_line_end() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let mut log = std::fs::OpenOptions::new().append(true).open(env.data().join("audit.jsonl")).unwrap();
    let strange = json!({"timestamp": "2026-01-01T00:00:00Z", "type": "strange\r\nid: 1"});
    writeln!(log, "{strange}").unwrap();
    let mut stream = server.call("GET", "/events").header("Last-Event-ID", "unknown").open();
    let name = loop {
        let name = stream.event().unwrap().name;
        if !name.starts_with("sandbox.") {
            break name;
        }
    };
    assert_eq!(name, "strange\\u{d}\\u{a}id: 1");
    drop(stream);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn a_sandbox_is_made_again_from_its_configuration() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let body = json!({
        "name": "first", "image": "host", "labels": {"env": "prod"}, "description": "of a test", "env": ["WHO=me"],
        "profile": "restrictive",
    });
    server.post("/sandboxes", &body).data(201);
    let exported = |name: &str| server.get(&format!("/sandboxes/{name}/config")).data(200)["config"].clone();
    let config = exported("first");
    let second = server.post("/sandboxes/second/config", &json!({"config": config, "start": true})).data(201);
    assert_eq!((&second["name"], &second["status"]), (&json!("second"), &json!("running")));
    let third = server.post("/sandboxes/import-config", &json!({"config": config, "as": "third"})).data(201);
    assert_eq!((&third["name"], &third["status"]), (&json!("third"), &json!("stopped")));
    // But for the name in it, the three are one.
    let nameless = |name: &str| exported(name).as_str().unwrap().replace(name, "NAME");
    assert_eq!(nameless("first"), nameless("second"));
    assert_eq!(nameless("first"), nameless("third"));
    let told = json!({"command": ["sh", "-c", "echo $WHO"]});
    assert_eq!(server.post("/sandboxes/second/exec", &told).data(200)["stdout"], "me\n");
    server.post("/sandboxes/second/config", &json!({"config": config})).fails(409, &["second"]);
    server.post("/sandboxes/fourth/config", &json!({"config": config, "as": "fifth"})).fails(400, &["as"]);
    server.post("/sandboxes/fourth/config", &json!({"config": "[sandbox\n"})).fails(400, &["config"]);
    for name in ["first", "second", "third"] {
        server.delete(&format!("/sandboxes/{name}")).data(200);
    }
    server.end(&env);
}
