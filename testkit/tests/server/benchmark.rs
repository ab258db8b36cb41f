//! `POST /benchmark`: what it measures, and how little of a server it takes.

use super::world::{SOON, Server, eventually, is_running, long};
use agentkernel_testkit::{
    TestEnv,
    oci::{Image, ImageConfig, LayerWriter},
    registry::{self, Registry},
};
use serde_json::json;
use std::{fs, io::Write as _};

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

/// What is measured is a command of whoever made the image.
#[test]
fn a_command_that_hangs_ends_when_its_caller_leaves() {
    let env = TestEnv::new();
    let registry = Registry::start().unwrap();
    // The one hangs in the named sandbox, the other in the run after it, where the image's own words come first.
    let (first, second) = (long(), long());
    let sleeping = |word: &str| format!("#!/bin/sh\nexec sleep {word}\n");
    registry.push(&image(&env, "hangs:1", &sleeping(&first), &[])).unwrap();
    let entrypoint = ["/bin/sh", "-c", &format!("exec sleep {second}")].map(str::to_owned);
    registry.push(&image(&env, "begins:1", "#!/bin/sh\n", &entrypoint)).unwrap();
    env.registries(&registry.settings());
    let server = Server::start(&env, &[]);
    for (name, word) in [("hangs:1", &first), ("begins:1", &second)] {
        let body = json!({"backends": ["native"], "warmup": 0, "image": name});
        let mut wire = server.address.connect().unwrap();
        wire.write_all(&server.call("POST", "/benchmark").json(&body).bytes()).unwrap();
        eventually("it hangs", || is_running(word));
        server.post("/benchmark", &body).fails(429, &["measuring"]);
        drop(wire);
        let next = json!({"backends": ["native"], "warmup": 0});
        eventually("the next one is measured", || server.post("/benchmark", &next).status == 200);
        assert!(!is_running(word), "{name}");
        assert_eq!(server.get("/sandboxes").data(200), json!([]), "{name}");
    }
    server.end(&env);
}

#[test]
fn nobody_waits_for_the_image_of_another() {
    let env = TestEnv::new();
    let registry = Registry::start().unwrap();
    registry.push(&image(&env, "slow:1", "#!/bin/sh\n", &[])).unwrap();
    let valve = registry.valve(0).unwrap();
    env.registries(&registry::settings(&format!("http://{}", valve.address())));
    let server = Server::start(&env, &[]);
    let body = json!({"backends": ["native"], "warmup": 0, "image": "slow:1"});
    let mut wire = server.address.connect().unwrap();
    wire.write_all(&server.call("POST", "/benchmark").json(&body).bytes()).unwrap();
    assert!(valve.runs_dry(SOON), "nothing was asked for");
    server.post("/benchmark", &json!({"backends": ["native"], "warmup": 0})).data(200);
    drop(wire);
    valve.open(u64::MAX);
    server.end(&env);
}

#[test]
fn what_is_known_of_a_backend_is_not_found_out_again() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let body = json!({"backends": ["native"], "warmup": 0});
    let findings = || {
        server.post("/benchmark", &body).data(200);
        fs::read_to_string(env.data().join("probe.json")).unwrap()
    };
    let found = findings();
    assert!(found.contains("native"), "{found}");
    assert_eq!(findings(), found);
    server.end(&env);
}

#[test]
fn what_is_done_to_its_sandboxes_is_in_the_log() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.post("/benchmark", &json!({"backends": ["native"], "warmup": 0})).data(200);
    let log = env.agentkernel(&["audit", "--json"]).run().ok();
    let log = String::from_utf8(log.stdout).unwrap();
    let times = |event: &str| {
        log.lines().filter(|line| line.contains("\"benchmark-") && line.contains(event)).count()
    };
    for event in
        ["sandbox_created", "sandbox_started", "command_executed", "sandbox_stopped", "sandbox_removed"]
    {
        assert_eq!(times(&format!("\"{event}\"")), 1, "{event}: {log}");
    }
    server.end(&env);
}

/// busybox, whose `true` is a script.
fn image(env: &TestEnv, reference: &str, script: &str, entrypoint: &[String]) -> Image {
    let place = env.directory("layers");
    let mut layer = LayerWriter::create(place.join(reference.replace(':', "-"))).unwrap();
    layer.file("bin/busybox", 0o755, &fs::read("/bin/busybox").unwrap()).unwrap();
    for applet in ["sh", "sleep"] {
        layer.symlink(&format!("bin/{applet}"), "busybox").unwrap();
    }
    layer.file("bin/true", 0o755, script.as_bytes()).unwrap();
    let env = vec![("PATH".to_owned(), "/bin".to_owned())];
    let config = ImageConfig { env, entrypoint: entrypoint.to_vec(), ..ImageConfig::default() };
    Image::new(reference.parse().unwrap(), &config, &[layer.finish().unwrap()])
}
