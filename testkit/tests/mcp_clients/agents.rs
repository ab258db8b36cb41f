//! The MCP commands of coding agents, in a project into which our own `plugin install` wrote.

use super::packages::{program, script};
use crate::Test;
use agentkernel_testkit::TestEnv;
use serde_json::json;

pub(crate) const TESTS: &[Test] = &[
    ("claude_code_lists_it_once_it_is_approved", claude_code),
    ("claude_code_of_the_whole_home_lists_it", claude_code_everywhere),
    ("codex_lists_it", codex),
    ("codex_of_the_whole_home_lists_it", codex_everywhere),
    ("gemini_lists_it", gemini),
    ("gemini_of_the_whole_home_lists_it", gemini_everywhere),
];

const CLAUDE: &str = "@anthropic-ai/claude-code-linux-x64/claude";
const CODEX: &str = "@openai/codex/vendor/x86_64-unknown-linux-musl/bin/codex";
const GEMINI: &str = "@google/gemini-cli/bundle/gemini.js";

fn install(env: &TestEnv, words: &[&str]) {
    env.agentkernel(&[&["plugin", "install"], words].concat()).run().ok();
}

#[track_caller]
fn claude_says(env: &TestEnv, words: &str) {
    let list = program(env, CLAUDE, &["mcp", "list"]).run().ok();
    assert!(list.out().contains(&format!("agentkernel: agentkernel mcp-server - {words}")), "{list}");
}

/// A person trusts the directory and then the server: what the two dialogs write.
fn claude_code() {
    let env = TestEnv::new();
    install(&env, &["claude"]);
    claude_says(&env, "⏸ Pending approval");
    let trusted = json!({"projects": {env.project().to_str().unwrap(): {"hasTrustDialogAccepted": true}}});
    env.file("home/.claude.json", trusted.to_string());
    let approved = json!({"enabledMcpjsonServers": ["agentkernel"]});
    env.file("project/.claude/settings.local.json", approved.to_string());
    claude_says(&env, "✔ Connected");
    env.assert_nothing_left();
}

fn claude_code_everywhere() {
    let env = TestEnv::new();
    install(&env, &["claude", "--global"]);
    claude_says(&env, "✔ Connected");
    env.assert_nothing_left();
}

#[track_caller]
fn codex_lists(env: &TestEnv) {
    let list = program(env, CODEX, &["mcp", "list", "--json"]).run().ok();
    let servers = list.json();
    let server = &servers[0];
    assert_eq!((&server["name"], &server["enabled"]), (&json!("agentkernel"), &json!(true)), "{list}");
    let transport = &server["transport"];
    let started = (&transport["type"], &transport["command"], &transport["args"]);
    assert_eq!(started, (&json!("stdio"), &json!("agentkernel"), &json!(["mcp-server"])), "{list}");
}

fn codex() {
    let env = TestEnv::new();
    install(&env, &["codex"]);
    // Of a directory that nobody trusts it reads nothing.
    assert_eq!(program(&env, CODEX, &["mcp", "list", "--json"]).run().ok().json(), json!([]));
    env.directory("home/.codex");
    let trust = format!("[projects.\"{}\"]\ntrust_level = \"trusted\"\n", env.project().display());
    env.file("home/.codex/config.toml", trust);
    codex_lists(&env);
}

fn codex_everywhere() {
    let env = TestEnv::new();
    install(&env, &["codex", "--global"]);
    codex_lists(&env);
}

#[track_caller]
fn gemini_lists(env: &TestEnv, trust: &str) {
    let list = script(env, GEMINI, &["mcp", "list"]).env("GEMINI_CLI_TRUST_WORKSPACE", trust).run().ok();
    let said = list.out() + &list.err();
    assert!(said.contains("✓ agentkernel: agentkernel mcp-server (stdio) - Connected"), "{list}");
}

fn gemini() {
    let env = TestEnv::new();
    install(&env, &["gemini"]);
    gemini_lists(&env, "true");
    env.assert_nothing_left();
}

fn gemini_everywhere() {
    let env = TestEnv::new();
    install(&env, &["gemini", "--global"]);
    gemini_lists(&env, "true");
    env.assert_nothing_left();
}
