//! `agentkernel agents`: which coding agents are here, and what is never shown of their keys.

use agentkernel_testkit::TestEnv;
use serde_json::{Value, json};
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
    assert_eq!(gemini["keys"], json!(["GEMINI_API_KEY", "GOOGLE_API_KEY"]));
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

/// What `run --dry-run --json` says, with `words` before the command.
fn planned(env: &TestEnv, words: &[&str], program: &str) -> Value {
    let words = [&["run", "--image", "host", "--dry-run", "--json"], words, &["--", program]].concat();
    env.agentkernel(&words).env("ANTHROPIC_API_KEY", VALUE).run().ok().json()
}

fn rules(plan: &Value) -> &Value {
    &plan["spec"]["policy"]["network"]["rules"]
}

#[test]
fn an_agent_reaches_its_service_alone_and_its_key_stays_outside() {
    let env = TestEnv::new();
    env.directory("home/.claude");
    env.file("home/.claude/CLAUDE.md", "Be short.");
    env.file("home/.claude/.credentials.json", VALUE);
    let plan = planned(&env, &["--agent", "claude"], "claude");
    assert!(!plan.to_string().contains(VALUE), "{plan}");
    assert_eq!(plan["agent"], "claude");
    assert_eq!(*rules(&plan), json!({ "rules": ["allow api.anthropic.com:443"], "otherwise": "deny" }));
    let secret = json!([{ "name": "ANTHROPIC_API_KEY", "held": "vault", "host": "api.anthropic.com" }]);
    assert_eq!(plan["spec"]["policy"]["secrets"], secret);
    let mounts = plan["spec"]["policy"]["mounts"].as_array().unwrap();
    assert_eq!((mounts.len(), &mounts[0]["target"]), (1, &json!("/root/.claude/CLAUDE.md")));
    assert_eq!(mounts[0]["access"], "read_only");
    // And so it is in a sandbox that runs.
    let look = "echo $ANTHROPIC_API_KEY $IS_SANDBOX; cat ~/.claude/CLAUDE.md; ls -A ~/.claude; \
                echo x > ~/.claude/CLAUDE.md || echo kept";
    let words = ["run", "--image", "host", "-a", "claude", "--", "sh", "-c", look];
    let inside = env.agentkernel(&words).env("ANTHROPIC_API_KEY", VALUE).run().ok();
    inside.prints("ak-proxy-managed 1\nBe short.CLAUDE.md\nkept\n");
}

#[test]
fn a_key_of_the_vault_comes_first_and_one_that_was_written_wins() {
    let env = TestEnv::new();
    let set = ["secret", "set", "ANTHROPIC_API_KEY", "--host", "proxy.example.com"];
    env.agentkernel(&set).input("of the vault").run().ok();
    let plan = planned(&env, &["--agent", "claude"], "claude");
    // Its vault lets it go to another host only.
    assert_eq!(plan["spec"]["policy"]["secrets"], json!([{ "name": "ANTHROPIC_API_KEY", "held": "vault" }]));
    let own =
        ["--agent", "claude", "-S", "ANTHROPIC_API_KEY:proxy.example.com", "--deny", "api.anthropic.com"];
    let plan = planned(&env, &own, "claude");
    assert_eq!(plan["spec"]["policy"]["secrets"][0]["host"], "proxy.example.com");
    assert_eq!(rules(&plan)["rules"], json!(["deny api.anthropic.com", "allow api.anthropic.com:443"]));
    let plan = planned(&env, &["--agent", "claude", "--no-network"], "claude");
    assert_eq!(plan["spec"]["policy"]["network"], "off");
    assert!(plan["spec"]["policy"].get("secrets").is_none(), "{plan}");
    assert!(plan["notes"].to_string().contains("without a network"), "{plan}");
    let none = ["run", "--image", "host", "--agent", "gemini", "--dry-run", "--", "gemini"];
    let shown = env.agentkernel(&none).run().ok().out();
    assert!(shown.contains("there is no key for Gemini CLI (GEMINI_API_KEY)"), "{shown}");
}

#[test]
fn a_file_that_was_only_found_asks_for_no_key() {
    let env = TestEnv::new();
    let text = "[agent]\npreferred = 'claude'\ncompatibility_mode = 'claude'\n[security.domains]\nallow = ['evil.example.com']\n";
    env.file("project/agentkernel.toml", text);
    let plan = planned(&env, &[], "claude");
    assert!(plan.get("agent").is_none() && plan["spec"]["policy"].get("secrets").is_none(), "{plan}");
    assert!(plan["notes"].to_string().contains("agent.compatibility_mode"), "{plan}");
    // Nor does it add hosts to those of an agent that a flag asks for.
    let plan = planned(&env, &["--agent", "claude"], "claude");
    assert_eq!(rules(&plan)["rules"], json!(["allow api.anthropic.com:443"]));
    assert_eq!(planned(&env, &["--config", "agentkernel.toml"], "npm")["agent"], "claude");
    // What is preferred counts for itself alone, and when the file is trusted.
    env.file("project/agentkernel.toml", "[agent]\npreferred = 'claude'\n");
    assert!(planned(&env, &[], "claude").get("agent").is_none());
    env.agentkernel(&["trust"]).run().ok();
    assert_eq!(planned(&env, &[], "claude")["agent"], "claude");
    assert!(planned(&env, &[], "npm").get("agent").is_none());
}

#[test]
fn a_named_sandbox_says_where_its_key_comes_from() {
    let env = TestEnv::new();
    let create = ["sandbox", "create", "work", "--image", "host", "--agent", "codex"];
    let made = env.agentkernel(&create).env("OPENAI_API_KEY", VALUE).run().ok();
    assert!(made.err().contains("OPENAI_API_KEY is in your environment only"), "{made}");
    assert!(!made.err().contains(VALUE), "{made}");
    env.agentkernel(&["sandbox", "start", "work"]).run().code(125).error_with_hint(&["OPENAI_API_KEY"]);
    let start = ["sandbox", "start", "work", "--vault", "env"];
    env.agentkernel(&start).env("OPENAI_API_KEY", VALUE).run().ok();
    let look = ["exec", "work", "--", "sh", "-c", "echo $OPENAI_API_KEY $CODEX_API_KEY"];
    env.agentkernel(&look).run().ok().prints("ak-proxy-managed ak-proxy-managed\n");
    let info = env.agentkernel(&["sandbox", "info", "work"]).run().ok().out();
    assert!(info.contains("allow api.openai.com:443") && !info.contains(VALUE), "{info}");
    env.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_secret_that_somebody_named_is_not_taken_from_the_environment() {
    let env = TestEnv::new();
    let words =
        ["run", "--image", "host", "-a", "codex", "-S", "OPENAI_API_KEY:api.openai.com", "--", "true"];
    let refused = env.agentkernel(&words).env("OPENAI_API_KEY", VALUE).run().code(125);
    refused.error_with_hint(&["OPENAI_API_KEY"]);
    let words =
        [&["run", "--image", "host", "-a", "codex", "--vault", "file", "--dry-run"], &["--", "true"][..]];
    let shown = env.agentkernel(&words.concat()).env("OPENAI_API_KEY", VALUE).run().ok().out();
    assert!(shown.contains("there is no key for Codex"), "{shown}");
}
