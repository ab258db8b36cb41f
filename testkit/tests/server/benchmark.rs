//! `POST /benchmark`: what it measures, and how little of a server it takes.

use super::world::{Server, eventually, long};
use agentkernel_testkit::TestEnv;
use serde_json::json;
use std::io::Write as _;

const STEPS: [&str; 8] = ["create", "start", "exec", "stop", "remove", "startup", "lifecycle", "run"];

#[test]
fn backends_are_measured() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let body = json!({"backends": ["native", "no-such"], "iterations": 2, "warmup": 0});
    let report = server.post("/benchmark", &body).data(200);
    assert_eq!((&report["measured_iterations"], &report["image"]), (&json!(2), &json!("host")), "{report}");
    let (native, none) = (&report["backends"][0], &report["backends"][1]);
    assert_eq!((&native["backend"], &native["available"]), (&json!("native"), &json!(true)), "{report}");
    for step in STEPS {
        assert!(native[step]["p50_ms"].as_f64().unwrap() > 0.0, "{step}: {report}");
    }
    assert_eq!(report["total_score"], native["lifecycle"]["p50_ms"], "{report}");
    assert_eq!((&none["available"], &none["create"]), (&json!(false), &json!(null)), "{report}");
    assert!(none["reason"].as_str().unwrap().contains("no-such"), "{report}");
    for (body, word) in [
        (json!({"iterations": 0}), "iterations"),
        (json!({"iterations": 21}), "iterations"),
        (json!({"warmup": 21}), "warmup"),
        (json!({"backends": vec!["native"; 33]}), "backends"),
        (json!({"image": "A B"}), "image"),
        (json!({"output": "/etc/passwd"}), "output"),
    ] {
        server.post("/benchmark", &body).fails(400, &[word]);
    }
    assert_eq!(server.get("/sandboxes").data(200), json!([]));
    server.call("POST", "/benchmark").without("authorization").json(&body).send().fails(401, &[]);
    server.end(&env);
}

#[test]
fn one_is_measured_at_a_time_and_only_while_somebody_waits() {
    let env = TestEnv::new();
    let server = Server::start(&env, &["--max-commands", "1"]);
    let body = json!({"backends": ["native"], "iterations": 20, "warmup": 20});
    let command = json!({"command": ["sleep", long()], "image": "host"});
    let mut first = server.call("POST", "/run/stream").json(&command).open();
    first.expect("started");
    let busy = server.post("/benchmark", &body).fails(429, &[]);
    assert!(busy["error"].as_str().unwrap().contains("commands"), "{busy}");
    drop(first);
    eventually("there is room again", || server.run(&["true"]).status == 200);
    let mut wire = server.address.connect().unwrap();
    wire.write_all(&server.call("POST", "/benchmark").json(&body).bytes()).unwrap();
    eventually("it measures", || server.get("/sandboxes").data(200) != json!([]));
    server.run(&["true"]).fails(429, &[]);
    server.post("/benchmark", &body).fails(429, &["measuring"]);
    // It would take 40 lives of sandboxes; whoever leaves ends it with the one that it is at.
    drop(wire);
    eventually("it has ended", || server.run(&["true"]).status == 200);
    assert_eq!(server.get("/sandboxes").data(200), json!([]));
    server.end(&env);
}
