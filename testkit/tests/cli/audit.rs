//! The log of events, `audit` and `stats`.

use agentkernel_testkit::TestEnv;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

/// Every line of the log, which must be an event.
fn events(env: &TestEnv) -> Vec<Value> {
    let text = fs::read_to_string(env.data().join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn types(env: &TestEnv) -> Vec<String> {
    events(env).iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_life_is_written_down_without_secrets() {
    let env = TestEnv::new();
    let created = ["sandbox", "create", "box", "--image", "host", "-e", "TOKEN=s3cr3t-1", "-l", "team=red"];
    env.agentkernel(&created).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "-e", "TOKEN=s3cr3t-2", "box", "--", "sh", "-c", "exit 9"]).run().code(9);
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "true"]).run().code(125);
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.agentkernel(&["run", "--image", "host", "-e", "TOKEN=s3cr3t-3", "--", "sh", "-c", "exit 3"])
        .run()
        .code(3);
    env.agentkernel(&["run", "--image", "host", "no-such-command"]).run().code(127);
    let expected = [
        "sandbox_created",
        "sandbox_started",
        "command_executed",
        "sandbox_stopped",
        "sandbox_removed",
        "command_executed",
        "command_executed",
    ];
    assert_eq!(types(&env), expected);
    let events = events(&env);
    assert_eq!(events[0]["name"], "box");
    assert_eq!(events[0]["image"], "host");
    assert_eq!(events[0]["labels"]["team"], "red");
    assert_eq!(events[1]["profile"], "moderate");
    assert_eq!(events[2]["sandbox"], "box");
    assert_eq!(events[2]["command"], serde_json::json!(["sh", "-c", "exit 9"]));
    assert_eq!(events[2]["exit_code"], 9);
    assert_eq!(events[2]["image"], "host");
    assert_eq!(events[2]["backend"], events[0]["backend"]);
    assert_eq!(events[5]["exit_code"], 3);
    assert_eq!(events[5].get("sandbox"), None);
    assert_eq!(events[6]["exit_code"], 127);
    let log = env.data().join("audit.jsonl");
    assert!(!fs::read_to_string(&log).unwrap().contains("s3cr3t"));
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_refused_spec_and_an_expiry_are_events() {
    let env = TestEnv::new();
    env.agentkernel(&["run", "--image", "host", "--isolation", "vm", "true"]).run().code(125);
    assert_eq!(types(&env), ["policy_violation"]);
    env.agentkernel(&["sandbox", "create", "brief", "--image", "host", "--ttl", "2s"]).run().ok();
    env.agentkernel(&["sandbox", "start", "brief"]).run().ok();
    // Ends with the sandbox, whose keeper writes down why before it lets go of it.
    env.agentkernel(&["exec", "brief", "--", "sleep", "600"]).run();
    env.agentkernel(&["sandbox", "remove", "brief"]).run().ok();
    let stopped: Vec<Value> =
        events(&env).into_iter().filter(|event| event["type"] == "sandbox_stopped").collect();
    assert_eq!(stopped.len(), 1, "{:?}", events(&env));
    assert_eq!(stopped[0]["reason"], "expired");
}

#[test]
fn it_can_be_turned_off() {
    let env = TestEnv::new();
    for value in ["0", "false", "FALSE"] {
        env.agentkernel(&["run", "--image", "host", "true"]).env("AGENTKERNEL_AUDIT", value).run().ok();
        assert!(!env.data().join("audit.jsonl").exists(), "{value}");
    }
    env.agentkernel(&["run", "--image", "host", "true"]).env("AGENTKERNEL_AUDIT", "1").run().ok();
    assert_eq!(types(&env), ["command_executed"]);
}

#[test]
fn what_cannot_be_written_fails_nothing_and_is_said_once() {
    let env = TestEnv::new();
    env.directory("home/.local/share/agentkernel/audit.jsonl");
    let ran =
        env.agentkernel(&["run", "--image", "host", "--", "sh", "-c", "echo out; exit 5"]).run().code(5);
    assert_eq!(ran.out(), "out\n");
    let notes: Vec<String> =
        ran.err().lines().filter(|line| line.contains("audit")).map(str::to_owned).collect();
    assert_eq!(notes.len(), 1, "{ran}");
}

#[test]
fn many_at_once_write_whole_lines() {
    let env = TestEnv::new();
    let word = "w".repeat(1500);
    let runs: Vec<_> =
        (0..8).map(|_| env.agentkernel(&["run", "--image", "host", "--", "true", &word]).start()).collect();
    for run in runs {
        run.finish().ok();
    }
    assert_eq!(types(&env), ["command_executed"; 8]);
}

#[test]
fn a_long_command_is_cut_and_says_so() {
    let env = TestEnv::new();
    let word = "é".repeat(50_000);
    env.agentkernel(&["run", "--image", "host", "--", "true", &word, "last"]).run().ok();
    let text = fs::read_to_string(env.data().join("audit.jsonl")).unwrap();
    assert!(text.len() <= 4096, "{} bytes", text.len());
    assert_eq!(events(&env)[0]["command_cut"], true);
}

#[test]
fn audit_shows_what_was_asked_for() {
    let env = TestEnv::new();
    let none = env.agentkernel(&["audit"]).run().ok().prints("");
    assert!(none.err().contains("no events"), "{none}");
    for name in ["one", "two"] {
        env.agentkernel(&["sandbox", "create", name, "--image", "host"]).run().ok();
    }
    let ran = ["run", "--image", "host", "--", "echo", "\u{1b}[31mred"];
    env.agentkernel(&ran).run().ok();
    let table = env.agentkernel(&["audit"]).run().ok().silent_stderr().out();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["TIMESTAMP", "EVENT", "SANDBOX", "DETAILS"]);
    assert!(lines[3].contains("exit 0") && lines[3].contains("\\u{1b}[31mred"), "{table}");
    let only = env.agentkernel(&["audit", "-s", "two", "--json"]).run().ok();
    assert_eq!(only.json()["name"], "two");
    let last = env.agentkernel(&["audit", "-l", "1", "--json"]).run().ok();
    assert_eq!(last.json()["type"], "command_executed");
    let path = env.data().join("audit.jsonl");
    env.agentkernel(&["audit", "--path"]).run().ok().prints(format!("{}\n", path.display()));
    let mut text = fs::read_to_string(&path).unwrap();
    text.insert_str(0, "damaged\n");
    fs::write(&path, text).unwrap();
    let skipped = env.agentkernel(&["audit"]).run().ok();
    assert!(skipped.err().contains("skipped 1"), "{skipped}");
    env.agentkernel(&["audit", "-l", "0"]).run().code(2);
}

#[test]
fn stats_count() {
    let env = TestEnv::new();
    for name in ["one", "two"] {
        env.agentkernel(&["sandbox", "create", name, "--image", "host"]).run().ok();
    }
    env.agentkernel(&["sandbox", "start", "one"]).run().ok();
    env.agentkernel(&["exec", "one", "--", "true"]).run().ok();
    env.agentkernel(&["run", "--image", "host", "true"]).run().ok();
    env.agentkernel(&["sandbox", "remove", "two"]).deadline(Duration::from_secs(30)).run().ok();
    let stats = env.agentkernel(&["stats", "--json"]).run().ok().json();
    for (key, count) in [
        ("executions_total", 2),
        ("executions_30d", 2),
        ("sandboxes_created", 2),
        ("sandboxes_removed", 1),
        ("sandboxes_active", 1),
        ("sandboxes_running", 1),
        ("broken_lines", 0),
    ] {
        assert_eq!(stats[key], count, "{key}: {stats}");
    }
    assert_eq!(stats["top_images"], serde_json::json!([{"name": "host", "count": 2}]));
    let text = env.agentkernel(&["stats"]).run().ok().silent_stderr().out();
    assert!(text.contains("Top images:   host (2)"), "{text}");
    env.agentkernel(&["sandbox", "remove", "one"]).run().ok();
    env.assert_nothing_left();
}
