//! `agentkernel agents`: which coding agents are here, and what is never shown of their keys.

use agentkernel_testkit::TestEnv;
use std::{fs, os::unix::fs::PermissionsExt as _};

const VALUE: &str = "sk-ant-hidden-0123456789";

/// A PATH on which `names` are installed, and of those nothing can be started without leaving a trace.
fn installed(env: &TestEnv, names: &[&str]) -> String {
    let bin = env.directory("agents");
    for name in names {
        let trace = env.project().join("was-started");
        let file = env.file(&format!("agents/{name}"), format!("#!/bin/sh\ntouch '{}'\n", trace.display()));
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin.to_str().unwrap().to_owned()
}

#[test]
fn the_table_is_that_of_the_documentation_and_starts_nothing() {
    let env = TestEnv::new();
    let path = installed(&env, &["claude", "codex", "opencode"]);
    env.agentkernel(&["secret", "set", "OPENAI_API_KEY"]).input(VALUE).run().ok();
    let shown = env.agentkernel(&["agents"]).env("PATH", &path).env("ANTHROPIC_API_KEY", VALUE).run().ok();
    let expected = "\
AGENT           STATUS          API KEY
---------------------------------------------
Claude Code     installed       set
Gemini CLI      not installed   missing
Codex           installed       set
OpenCode        installed       set
";
    shown.prints(expected).silent_stderr();
    assert!(!env.project().join("was-started").exists(), "an agent was started");
}

#[test]
fn programs_read_names_and_never_values() {
    let env = TestEnv::new();
    let path = installed(&env, &["gemini"]);
    let done =
        env.agentkernel(&["agents", "--json"]).env("PATH", &path).env("GOOGLE_API_KEY", VALUE).run().ok();
    assert!(!done.out().contains(VALUE));
    let agents = done.json();
    assert_eq!(agents.as_array().unwrap().len(), 4);
    let gemini = &agents[1];
    assert_eq!((gemini["name"].as_str(), gemini["installed"].as_bool()), (Some("gemini"), Some(true)));
    assert_eq!(gemini["path"], format!("{path}/gemini"));
    assert_eq!(gemini["api_key"], "set");
    assert_eq!(gemini["keys"], serde_json::json!(["GEMINI_API_KEY", "GOOGLE_API_KEY"]));
    assert!(agents[0].get("path").is_none() && agents[0]["api_key"] == "missing", "{agents}");
}

#[test]
fn a_vault_with_a_passphrase_is_left_closed_and_said_to_be() {
    let env = TestEnv::new();
    let word = env.file("word", "correct horse");
    fs::set_permissions(&word, fs::Permissions::from_mode(0o600)).unwrap();
    let set = ["secret", "set", "ANTHROPIC_API_KEY", "--key", "passphrase", "--passphrase-file"];
    env.agentkernel(&[&set[..], &[word.to_str().unwrap()]].concat()).input(VALUE).run().ok();
    let shown = env.agentkernel(&["agents"]).run().ok();
    assert!(shown.out().contains("Claude Code     not installed   missing"), "{shown}");
    assert!(shown.err().contains("has a passphrase"), "{shown}");
}
