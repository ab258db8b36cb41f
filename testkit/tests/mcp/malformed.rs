//! What is no protocol, and what is the protocol at the wrong moment. Nothing of it ends the server.

use super::client::Client;
use agentkernel_testkit::TestEnv;
use serde_json::{Value, json};

#[test]
fn versions_are_negotiated() {
    let env = TestEnv::new();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = Client::silent(&env, &[]);
        let hello = client.hello(version);
        assert_eq!(hello["protocolVersion"], version, "{hello}");
        assert_eq!(hello["serverInfo"]["name"], "agentkernel", "{hello}");
        assert_eq!(hello["serverInfo"]["version"], env!("CARGO_PKG_VERSION"), "{hello}");
        assert!(hello["capabilities"]["tools"].is_object(), "{hello}");
        assert!(hello["instructions"].as_str().unwrap().contains("sandbox_run"), "{hello}");
        client.end(&env);
    }
    let mut client = Client::silent(&env, &[]);
    let hello = client.hello("1999-01-01");
    assert_eq!(hello["protocolVersion"], "2025-11-25", "{hello}");
    client.end(&env);
}

#[test]
fn nothing_that_is_said_before_hello_ends_it() {
    let env = TestEnv::new();
    let mut client = Client::silent(&env, &[]);
    client.raw(b"GET / HTTP/1.1\r");
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    client.send(&json!({"jsonrpc": "2.0", "id": 77, "result": {}}));
    assert_eq!(client.ask("ping", &json!({}))["result"], json!({}));
    let refused = client.ask("tools/list", &json!({}));
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    client.hello("2025-06-18");
    assert!(client.ask("tools/list", &json!({}))["result"]["tools"].is_array());
    client.end(&env);
}

#[test]
fn what_is_no_message_is_answered_and_the_next_is_read() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let wrong: [(&[u8], i64, Value); 7] = [
        (b"nonsense", -32700, Value::Null),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1", -32700, Value::Null),
        (b"\xff\xfe\x00", -32700, Value::Null),
        (b"[]", -32600, Value::Null),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600, Value::Null),
        (b"{\"jsonrpc\":\"1.0\",\"id\":\"a\",\"method\":\"ping\"}", -32600, json!("a")),
        (b"{\"id\":5,\"method\":\"ping\"}", -32600, json!(5)),
    ];
    for (line, code, id) in wrong {
        client.raw(line);
        let answer = client.wait("an error", |message| message.get("error").is_some());
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{answer}");
    }
    for silent in
        [&b""[..], b"\r", b"{\"method\":\"no/version\"}", b"{\"jsonrpc\":\"2.0\",\"method\":\"no/such\"}"]
    {
        client.raw(silent);
    }
    assert_eq!(client.unasked(), Vec::<Value>::new());
    client.end(&env);
}

#[test]
fn a_line_without_end_is_not_kept() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let long = vec![b'x'; 17 << 20];
    client.raw(&long);
    let answer = client.wait("an error", |message| message.get("error").is_some());
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("16777216 bytes"), "{answer}");
    client.end(&env);
}

#[test]
fn what_there_is_not_is_refused_by_name() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    let method = client.ask("no/such", &json!({}));
    assert_eq!(method["error"]["code"], -32601, "{method}");
    assert!(method["error"]["message"].as_str().unwrap().contains("no/such"), "{method}");
    let tool = client.ask("tools/call", &json!({"name": "no_such", "arguments": {}}));
    assert_eq!(tool["error"]["code"], -32602, "{tool}");
    assert!(tool["error"]["message"].as_str().unwrap().contains("no_such"), "{tool}");
    let nameless = client.ask("tools/call", &json!({"arguments": {}}));
    assert_eq!(nameless["error"]["code"], -32602, "{nameless}");
    client.end(&env);
}

#[test]
fn wrong_arguments_are_a_result_that_an_agent_can_mend() {
    let env = TestEnv::new();
    let mut client = Client::start(&env, &[]);
    for (tool, arguments, words) in [
        ("sandbox_run", json!({"command": ["true"], "imgae": "host"}), "imgae"),
        ("sandbox_run", json!({"command": "true"}), "command"),
        ("sandbox_run", json!({}), "command"),
        ("sandbox_run", json!({"command": []}), "command"),
        ("sandbox_run", json!({"command": ["true"], "image": "host", "profile": "mild"}), "profile"),
        ("sandbox_run", json!({"command": ["true"], "env": {"A=B": "c"}}), "A=B"),
        ("run_command", json!({"command": ["true"], "timeout_ms": -1}), "timeout_ms"),
        ("sandbox_create", json!({"name": "../up"}), "name"),
        ("sandbox_create", json!({"name": "a", "source_ref": "main"}), "source_url"),
        ("sandbox_exec", json!({"name": "none", "command": ["true"]}), "none"),
        ("sandbox_exec", json!({"name": "none", "command": ["id"], "sudo": true}), "root"),
        ("sandbox_remove", json!({"name": "none"}), "none"),
        ("sandbox_list", json!({"all": true}), "all"),
        ("sandbox_exec_status", json!({"name": "none", "id": "x"}), "id"),
        ("sandbox_file_read", json!({"name": "none", "path": "relative"}), "path"),
    ] {
        let said = client.error(tool, &arguments);
        assert!(said.starts_with("Error: ") && said.contains(words), "{tool} {arguments}: {said}");
    }
    client.end(&env);
}
