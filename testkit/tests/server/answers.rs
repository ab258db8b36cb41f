//! The form of answers, and what is answered to whom.

use super::world::Server;
use agentkernel_testkit::TestEnv;
use serde_json::json;

#[test]
fn about_itself() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let health = server.call("GET", "/health").without("authorization").send();
    assert_eq!(health.value(), json!({"success": true, "data": "ok"}));
    assert_eq!(health.header("content-type"), Some("application/json"));

    let status = server.get("/status").data(200);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["backend"], &status["api_key_configured"]), (&json!("native"), &json!(true)));

    let stats = server.get("/stats").data(200);
    assert_eq!((&stats["sandbox_count"], &stats["sandbox_limit"]), (&json!(0), &json!(0)));
    assert!(stats["uptime_seconds"].as_u64().unwrap() < 600, "{stats}");
    let usage = &stats["resource_usage"];
    assert!(usage["cpu_percent"].is_f64(), "{stats}");
    let total = usage["memory_total_mb"].as_u64().unwrap();
    assert!((1..=total).contains(&usage["memory_used_mb"].as_u64().unwrap()), "{stats}");
    assert!(usage["disk_used_mb"].as_u64().unwrap() > 0, "{stats}");

    assert_eq!(server.post("/gc", &json!({})).data(200)["count"], 0);
    server.end(&env);
}

#[test]
fn a_trace_goes_on_inside() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let script = ["sh", "-c", "echo $TRACEPARENT $TRACESTATE"];
    let body = json!({"command": script, "image": "host"});
    let traced =
        server.call("POST", "/run").header("traceparent", parent).header("tracestate", "a=1").json(&body);
    assert_eq!(traced.send().data(200)["stdout"], format!("{parent} a=1\n"));
    let forged = server.call("POST", "/run").header("traceparent", "$(id)").json(&body);
    assert_eq!(forged.send().data(200)["stdout"], "\n");
    server.create("box");
    let exec = server.call("POST", "/sandboxes/box/exec").header("traceparent", parent);
    assert_eq!(exec.json(&json!({"command": script})).send().data(200)["stdout"], format!("{parent}\n"));
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn a_command_and_how_it_ended() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let good = server.run(&["sh", "-c", "echo out; echo err >&2"]).data(200);
    assert_eq!(
        (&good["output"], &good["stdout"], &good["stderr"], &good["exit_code"]),
        (&json!("out\nerr\n"), &json!("out\n"), &json!("err\n"), &json!(0))
    );
    assert_eq!((&good["image"], &good["backend"]), (&json!("host"), &json!("native")));

    // What it wrote stands beside the error.
    let bad = server.run(&["sh", "-c", "echo out; echo err >&2; exit 7"]).fails(409, &["code 7"]);
    assert_eq!(
        (&bad["kind"], &bad["exit_code"], &bad["output"], &bad["stderr"]),
        (&json!("command_failed"), &json!(7), &json!("out\nerr\n"), &json!("err\n"))
    );
    let killed = server.run(&["sh", "-c", "kill -KILL $$"]).fails(409, &["137"]);
    assert_eq!((&killed["exit_code"], &killed["signal"]), (&json!(137), &json!(9)));
    server.run(&["no-such-program-here"]).fails(400, &["no-such-program-here"]);

    let bytes = server.run(&["printf", "\\377\\376"]).data(200);
    assert_eq!((&bytes["stdout"], &bytes["stdout_encoding"]), (&json!("//4="), &json!("base64")));
    let read = json!({"command": ["cat"], "image": "host", "stdin": "héllo\n", "env": ["A=b c"]});
    assert_eq!(server.post("/run", &read).data(200)["stdout"], "héllo\n");

    let late = json!({"command": ["sleep", super::world::long()], "image": "host", "timeout_ms": 300});
    let late = server.post("/run", &late).fails(504, &["300 ms"]);
    assert_eq!(late["kind"], "timeout");
    server.end(&env);
}

#[test]
fn many_commands_in_one_request() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let one = |script: &str| json!({"command": ["sh", "-c", script], "image": "host"});
    let commands =
        json!({"commands": [one("echo 1"), one("echo 2; exit 3"), {"command": []}, one("echo 4")]});
    let data = server.post("/batch/run", &commands).data(200);
    let results = data["results"].as_array().unwrap();
    assert_eq!(results.len(), 4, "{data}");
    assert_eq!((&results[0]["output"], &results[0]["error"]), (&json!("1\n"), &json!(null)));
    assert_eq!((&results[1]["output"], &results[1]["exit_code"]), (&json!("2\n"), &json!(3)));
    assert!(results[1]["error"].as_str().unwrap().contains("code 3"), "{data}");
    assert!(results[2]["output"].is_null() && results[2]["error"].is_string(), "{data}");
    assert_eq!(results[3]["output"], "4\n");

    assert_eq!(server.post("/batch/run", &json!({"commands": []})).data(200), json!({"results": []}));
    let crowd: Vec<_> = (0..257).map(|_| one("true")).collect();
    server.post("/batch/run", &json!({"commands": crowd})).fails(400, &["256"]);
    server.end(&env);
}

#[test]
fn as_many_commands_as_may() {
    let env = TestEnv::new();
    let server = Server::start(&env, &["--max-commands", "1"]);
    let long = super::world::long();
    let body = json!({"command": ["sleep", &long], "image": "host"});
    let mut first = server.call("POST", "/run/stream").json(&body).open();
    first.expect("started");
    let busy = server.run(&["true"]);
    let told = busy.fails(429, &[]);
    assert_eq!((busy.header("retry-after"), &told["kind"]), (Some("1"), &json!("busy")));
    assert!(told["hint"].as_str().unwrap().contains("--max-commands"), "{told}");
    // What runs no command is served all the same.
    server.get("/sandboxes").data(200);
    drop(first);
    super::world::eventually("there is room again", || server.run(&["true"]).status == 200);
    server.end(&env);
}

#[test]
fn as_many_preparations_as_may() {
    let env = TestEnv::new();
    let server = Server::start(&env, &["--allow-private-network"]);
    // A registry that takes every connection, and never says a word.
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("{}/silent/image:1", registry.local_addr().unwrap());
    let pull = server.call("POST", "/images/pull").json(&json!({"image": image}));
    let wires: Vec<_> = (0..16)
        .map(|_| {
            let mut wire = server.address.connect().unwrap();
            std::io::Write::write_all(&mut wire, &pull.bytes()).unwrap();
            wire
        })
        .collect();
    // All places are taken when all have come here. To ask the server would take one of them from a pull.
    let held: Vec<_> = (0..16).map(|_| registry.accept().unwrap().0).collect();
    // Whoever leaves takes no pull along: its place is not free.
    drop(wires);
    let busy = server.post("/sandboxes", &json!({"name": "box", "image": "host"}));
    let told = busy.fails(429, &["at once"]);
    assert_eq!((busy.header("retry-after"), &told["kind"]), (Some("1"), &json!("busy")));
    for (path, body) in [
        ("/images/pull", json!({"image": image})),
        ("/sandboxes/absent/recover", json!({})),
        ("/sandboxes/import-config", json!({"config": "[sandbox]\nname = \"box\"\n"})),
    ] {
        server.post(path, &body).fails(429, &["at once"]);
    }
    // What prepares nothing is served all the same.
    server.get("/images").data(200);
    drop((registry, held));
    super::world::eventually("there is room again", || {
        server.post("/sandboxes/absent/start", &json!({})).status == 404
    });
    server.end(&env);
}

#[test]
fn what_there_is_not() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    for path in ["/", "/nothing", "/sandboxes/a/nothing", "/run/", "//run", "/../etc/passwd"] {
        let answer = server.get(path);
        if path != "/" {
            answer.fails(404, &["Not found"]);
        }
    }
    // What the reference implementation has and this one has not, yet.
    for path in [
        "/snapshots",
        "/sandboxes/a/pause",
        "/sandboxes/a/fork",
        "/sandboxes/a/git/commit",
        "/sandboxes/a/browser/goto",
    ] {
        let told = server.post(path, &json!({})).fails(404, &["Not found"]);
        assert!(
            told["kind"] == "not_found" && told["hint"].as_str().unwrap().contains("/openapi.json"),
            "{told}"
        );
    }
    server.get("/permissions").fails(404, &["Not found"]);
    server.get("/run").fails(405, &["Method not allowed"]);
    server.call("BREW", "/run").send().fails(405, &[]);
    server.get("/sandboxes/absent").fails(404, &["absent"]);
    server.delete("/sandboxes/absent").fails(404, &["absent"]);
    server.post("/sandboxes/absent/start", &json!({})).fails(404, &["absent"]);
    server.post("/sandboxes/absent/exec", &json!({"command": ["true"]})).fails(404, &["absent"]);
    server.end(&env);
}
