//! The inspector of the Model Context Protocol, as docs/mcp.md calls it.

use super::packages::script;
use crate::{
    Test,
    world::{KEY, Server},
};
use agentkernel_testkit::{TestEnv, env::Finished};
use serde_json::json;

pub(crate) const TESTS: &[Test] = &[
    ("the_inspector_lists_and_calls_over_stdio", over_stdio),
    ("the_inspector_lists_and_calls_over_http_with_a_key", over_http),
];

const LIST: &[&str] = &["--method", "tools/list"];
const CALL: &[&str] = &[
    "--method",
    "tools/call",
    "--tool-name",
    "sandbox_run",
    "--tool-arg",
    "command=[\"echo\",\"hello\"]",
    "--tool-arg",
    "image=host",
];

fn inspect(env: &TestEnv, server: &[&str], method: &[&str]) -> Finished {
    let words = [&["--cli"], server, method].concat();
    script(env, "@modelcontextprotocol/inspector/clients/launcher/build/index.js", &words).run()
}

#[track_caller]
fn lists_and_calls(env: &TestEnv, server: &[&str]) {
    let listed = inspect(env, server, LIST).ok().json();
    let tools = listed["tools"].as_array().unwrap();
    let own: Vec<_> = tools.iter().filter(|tool| tool["name"] == "sandbox_run").collect();
    assert_eq!(own.len(), 1, "{listed}");
    assert_eq!(own[0]["inputSchema"]["required"], json!(["command"]));
    let called = inspect(env, server, CALL).ok().json();
    assert_eq!(called["content"], json!([{"type": "text", "text": "hello\n"}]), "{called}");
    assert_eq!(called["structuredContent"]["exit_code"], 0, "{called}");
}

fn over_stdio() {
    let env = TestEnv::new();
    lists_and_calls(&env, &["agentkernel", "mcp-server"]);
    env.assert_nothing_left();
}

fn over_http() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let (url, key) = (format!("{}/mcp", server.url), format!("Authorization: Bearer {KEY}"));
    lists_and_calls(&env, &[&url, "--transport", "http", "--header", &key]);
    // Without the key it is told nothing.
    let stranger = inspect(&env, &[&url, "--transport", "http"], LIST);
    assert_ne!(stranger.code, Some(0), "{stranger}");
    assert!(!stranger.out().contains("sandbox_run"), "{stranger}");
    server.end(&env);
}
