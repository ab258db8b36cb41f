//! Commands in sandboxes of their own: what comes back, while they run and when they end.

use super::{
    client::{Client, SOON, text},
    sandboxes::{eventually, runs},
};
use agentkernel_testkit::TestEnv;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{fs, time::Instant};

#[test]
fn a_command_answers_with_what_it_wrote() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    for tool in ["sandbox_run", "run_command"] {
        let (text, output) = client.ok(tool, &json!({"command": ["echo", "hello"], "image": "host"}));
        assert_eq!(text, "hello\n");
        assert_eq!(
            (&output["exit_code"], &output["stdout"], &output["stderr"]),
            (&json!(0), &json!("hello\n"), &json!(""))
        );
        assert_eq!(output["image"], "host", "{output}");
    }
    let both = json!({"command": ["sh", "-c", "read a; echo $a $B; echo err >&2; exit 3"], "image": "host",
        "stdin": "in\n", "env": {"B": "b c"}, "fast": true});
    let result = client.call("sandbox_run", &both);
    assert_eq!(result["isError"], true, "{result}");
    assert_eq!(text(&result), "in b c\nerr\nError: the command exited with code 3");
    let output = &result["structuredContent"];
    assert_eq!(
        (&output["exit_code"], &output["stdout"], &output["stderr"]),
        (&json!(3), &json!("in b c\n"), &json!("err\n"))
    );
    let (text, _) = client.ok("sandbox_run", &json!({"command": ["true"], "image": "host"}));
    assert_eq!(text, "(no output)");
    let missing = client.error("sandbox_run", &json!({"command": ["/no/such"], "image": "host"}));
    assert!(missing.contains("/no/such"), "{missing}");
    client.end(&env);
}

#[test]
fn a_view_of_the_project_is_shown_and_nothing_else() {
    let env = TestEnv::new();
    env.file("project/file", "original\n");
    env.directory("project/below");
    env.directory("elsewhere");
    let mut client = Client::start(&env, &[]);
    let script = "cat file; echo changed >file; pwd";
    let arguments = json!({"command": ["sh", "-c", script], "image": "host", "cwd": "."});
    let (text, _) = client.ok("sandbox_run", &arguments);
    assert_eq!(text, "original\n/workspace\n");
    assert_eq!(fs::read_to_string(env.project().join("file")).unwrap(), "original\n");
    let below = json!({"command": ["ls", ".."], "image": "host", "cwd": env.project().join("below")});
    client.ok("sandbox_run", &below);
    std::os::unix::fs::symlink(env.home(), env.project().join("link")).unwrap();
    for outside in ["..", "/", "/etc", "link", "../elsewhere", "no/such", "file"] {
        let arguments = json!({"command": ["true"], "image": "host", "cwd": outside});
        let said = client.error("sandbox_run", &arguments);
        assert!(said.contains("cwd") && said.contains("--allow-path"), "{outside}: {said}");
    }
    let none = json!({"command": ["ls", "/workspace"], "image": "host"});
    assert_eq!(client.call("sandbox_run", &none)["isError"], true);
    client.end(&env);

    let elsewhere = env.directory("elsewhere");
    let mut client = Client::start(&env, &["--allow-path", elsewhere.to_str().unwrap()]);
    client.ok("sandbox_run", &json!({"command": ["true"], "image": "host", "cwd": elsewhere}));
    client.error("sandbox_run", &json!({"command": ["true"], "image": "host", "cwd": env.project()}));
    client.end(&env);
}

#[test]
fn long_output_is_cut_in_the_middle_and_no_character_is() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    for shift in ["", "a", "ab", "abc"] {
        let script = format!(
            "printf '{shift}'; i=0; while [ $i -lt 500 ]; do printf '%s' '{}'; i=$((i+1)); done",
            "€𝄞".repeat(20)
        );
        let (text, output) =
            client.ok("sandbox_run", &json!({"command": ["sh", "-c", script], "image": "host"}));
        assert!(!text.contains('\u{fffd}') && text.contains(" bytes left out ...]"), "shifted by '{shift}'");
        assert!((15_900..16_100).contains(&text.len()), "{}", text.len());
        assert_eq!(
            (&output["truncated"], &output["stdout_bytes"]),
            (&json!(true), &json!(70_000 + shift.len()))
        );
        assert_eq!(output["stdout"], text);
    }
    let endless = json!({"command": ["sh", "-c", "yes | head -c 40000000; echo end >&2"], "image": "host"});
    let (text, output) = client.ok("sandbox_run", &endless);
    assert!(text.ends_with("end\n") && text.len() < 16_100, "{}", text.len());
    assert_eq!((&output["stdout_bytes"], &output["stderr"]), (&json!(40_000_000), &json!("end\n")));
    client.end(&env);
}

#[test]
fn a_deadline_ends_a_command_and_what_it_wrote_is_told() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let begun = Instant::now();
    let arguments =
        json!({"command": ["sh", "-c", "echo before; sleep 600"], "image": "host", "timeout_ms": 5000});
    let result = client.call("sandbox_run", &arguments);
    assert!(begun.elapsed() < SOON);
    assert_eq!(text(&result), "before\nError: the command was ended after 5000 ms", "{result}");
    let output = &result["structuredContent"];
    assert_eq!((&output["timed_out"], &output["exit_code"]), (&json!(true), &Value::Null), "{result}");
    client.end(&env);
}

#[test]
fn a_run_suits_the_agent_that_is_named() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let look = |mode: &str| json!({"command": ["sh", "-c", "echo $IS_SANDBOX"], "image": "host", "compatibility_mode": mode});
    let (text, output) = client.ok("sandbox_run", &look("claude"));
    assert!(
        text == "1\n" && output["notes"].to_string().contains("no key of Claude Code"),
        "{text} {output}"
    );
    assert_eq!(client.ok("sandbox_run", &look("native")).0, "\n");
    assert!(client.error("sandbox_run", &look("cluade")).contains("compatibility_mode"));
    client.end(&env);
}

#[test]
fn progress_is_told_only_to_whoever_asks_and_before_the_answer() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.5; done";
    let arguments = json!({"command": ["sh", "-c", script], "image": "host"});
    let asked = json!({"name": "sandbox_run", "arguments": arguments, "_meta": {"progressToken": "token"}});
    let id = client.begin("tools/call", &asked);
    let mut count = 0.0;
    let mut words = String::new();
    loop {
        let message = client.wait("progress or the answer", |_| true);
        if message["id"] == id {
            break;
        }
        assert_eq!(message["method"], "notifications/progress", "{message}");
        assert_eq!(message["params"]["progressToken"], "token", "{message}");
        let now = message["params"]["progress"].as_f64().unwrap();
        assert!(now > count, "{message}");
        count = now;
        words.push_str(message["params"]["message"].as_str().unwrap());
    }
    assert!(words.starts_with("line 1\n") && words.contains("line 4\n") && count >= 2.0, "{count}: {words}");
    client.ok("sandbox_run", &arguments);
    assert_eq!(client.unasked(), Vec::<Value>::new());
    // As much output as there can be makes few words.
    let flood = json!({"command": ["sh", "-c", "yes | head -c 20000000"], "image": "host"});
    let begun = Instant::now();
    let asked = json!({"name": "sandbox_run", "arguments": flood, "_meta": {"progressToken": 7}});
    assert_eq!(client.ask("tools/call", &asked)["result"]["isError"], false);
    let most = begun.elapsed().as_millis() / 100 + 2;
    assert!((client.unasked().len() as u128) <= most, "more than ten a second");
    client.end(&env);
}

#[test]
fn a_cancelled_call_ends_its_command_and_is_not_answered() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let arguments =
        json!({"command": ["sh", "-c", "echo ready; sleep 601.011"], "image": "host", "timeout_ms": 0});
    let asked = json!({"name": "sandbox_run", "arguments": arguments, "_meta": {"progressToken": 1}});
    let id = client.begin("tools/call", &asked);
    client.wait("the command", |message| message["params"]["message"] == "ready\n");
    let params = json!({"requestId": id, "reason": "a test"});
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 999}}));
    eventually("the command has ended", || !runs("601.011"));
    assert!(client.unasked().iter().all(|message| message["id"] != id));
    client.end(&env);
}

#[test]
fn calls_run_side_by_side_and_each_gets_its_own_answer() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let slow = json!({"command": ["sh", "-c", "sleep 3; echo slow"], "image": "host", "timeout_ms": 0});
    let slow = client.begin("tools/call", &json!({"name": "sandbox_run", "arguments": slow}));
    let begin = |client: &mut Client, number: i32| {
        let arguments = json!({"command": ["echo", number.to_string()], "image": "host", "timeout_ms": 0});
        client.begin("tools/call", &json!({"name": "sandbox_run", "arguments": arguments}))
    };
    let ids: Vec<(i32, i64)> = (0..100).map(|number| (number, begin(&mut client, number))).collect();
    assert_eq!(client.ask("ping", &json!({}))["result"], json!({}));
    for (number, id) in ids {
        let answer = client.answer(id);
        assert_eq!(text(&answer["result"]), format!("{number}\n"), "{answer}");
    }
    assert_eq!(text(&client.answer(slow)["result"]), "slow\n");
    client.end(&env);
}

#[test]
fn more_commands_than_may_run_are_refused_at_once() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &["--max-commands", "1"]);
    let slow = json!({"command": ["sh", "-c", "echo ready; sleep 600"], "image": "host", "timeout_ms": 0});
    let asked = json!({"name": "sandbox_run", "arguments": slow, "_meta": {"progressToken": 1}});
    let id = client.begin("tools/call", &asked);
    client.wait("the command", |message| message["params"]["message"] == "ready\n");
    let said = client.error("sandbox_run", &json!({"command": ["true"], "image": "host"}));
    assert!(said.contains("--max-commands"), "{said}");
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    eventually("there is room again", || {
        client.call("sandbox_run", &json!({"command": ["true"], "image": "host"}))["isError"] == false
    });
    client.end(&env);
}

#[test]
fn the_end_of_input_or_a_signal_ends_the_server_and_what_runs() {
    let env = TestEnv::new();
    for signal in [None, Some(Signal::TERM), Some(Signal::INT), Some(Signal::KILL)] {
        let mut client = Client::start(&env, &[]);
        let arguments =
            json!({"command": ["sh", "-c", "echo ready; sleep 601.022"], "image": "host", "timeout_ms": 0});
        client.begin(
            "tools/call",
            &json!({"name": "sandbox_run", "arguments": arguments, "_meta": {"progressToken": 1}}),
        );
        client.wait("the command", |message| message["params"]["message"] == "ready\n");
        if let Some(signal) = signal {
            client.live().signal(signal);
            assert!(client.live().ends_within(SOON), "{signal:?}");
        }
        let begun = Instant::now();
        let finished = client.finish();
        assert!(begun.elapsed() < SOON, "{finished}");
        if signal != Some(Signal::KILL) {
            finished.ok();
        }
        eventually("the command has ended", || !runs("601.022"));
        // A killed server's run is swept by the next command.
        env.agentkernel(&["run", "-i", "host", "--", "true"]).run().ok();
        env.assert_nothing_left();
    }
}
