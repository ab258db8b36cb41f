//! The lines about servers, plugins and agents that people have in their notes, as they are written there: this suite alone
//! has the port 18888 for itself.

use super::packages::modules;
use crate::Test;
use agentkernel_testkit::{
    TestEnv,
    env::{Invocation, Live},
};
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

pub(crate) const TESTS: &[Test] =
    &[("plugins_are_installed_as_it_is_written", plugins), ("servers_are_started_as_it_is_written", servers)];

fn shell(env: &TestEnv, script: &str) -> Invocation {
    let ours = env.binary().parent().unwrap().display().to_string();
    // With a real agent on it, which `agents` looks for.
    let claude = modules().join("@anthropic-ai/claude-code-linux-x64");
    let path = format!("{ours}:{}:/usr/bin:/bin", claude.display());
    env.program(Path::new("/bin/sh"), &["-ec", script]).env("PATH", path)
}

fn plugins() {
    let env = TestEnv::new();
    let list = shell(
        &env,
        "agentkernel plugin install claude # Claude Code: skill + MCP config
agentkernel plugin install codex # Codex: MCP config
agentkernel plugin install gemini # Gemini CLI: MCP config
agentkernel plugin install opencode # OpenCode: TypeScript plugin
agentkernel plugin install mcp # Any MCP-compatible agent
agentkernel plugin list # Show install status
",
    );
    let list = list.run().ok().silent_stderr();
    assert_eq!(
        list.out().lines().filter(|line| line.trim_end().ends_with("  installed")).count(),
        5,
        "{list}"
    );
    for file in [
        ".claude/skills/agentkernel/SKILL.md",
        ".claude/commands/sandbox.md",
        ".mcp.json",
        ".gemini/settings.json",
        ".opencode/plugins/agentkernel.ts",
    ] {
        assert!(env.project().join(file).is_file(), "{file}");
    }
    let agents = shell(&env, "agentkernel agents").run().ok();
    let rows: Vec<Vec<String>> = agents
        .out()
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect())
        .collect();
    assert_eq!(rows[0], ["AGENT", "STATUS", "API KEY"], "{agents}");
    assert!(rows.contains(&["Claude Code", "installed", "missing"].map(str::to_owned).to_vec()), "{agents}");
    assert!(rows.contains(&["Codex", "not installed", "missing"].map(str::to_owned).to_vec()), "{agents}");
}

/// One that listens.
fn started(env: &TestEnv, line: &str) -> Live {
    let (reader, writer) = std::io::pipe().unwrap();
    let live = shell(env, &format!("exec {line} 2>&1")).stdout(writer).start();
    let mut said = String::new();
    let mut lines = BufReader::new(reader);
    while !said.contains("http://127.0.0.1:18888") {
        said.clear();
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "'{line}' does not listen: {}", live.finish());
    }
    live
}

fn servers() {
    let env = TestEnv::new();
    let file = env.file("api-keys", "sk-of-one\nsk-of-another\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let from_file = format!("agentkernel serve --api-key-file {}", file.display());
    let lines: [(&str, &[&str]); 4] = [
        ("agentkernel serve --host 127.0.0.1 --port 18888", &[]),
        (r#"agentkernel serve --api-key "sk-my-secret-key""#, &["sk-my-secret-key"]),
        ("agentkernel serve --api-key sk-first --api-key sk-second", &["sk-first", "sk-second"]),
        (&from_file, &["sk-of-one", "sk-of-another"]),
    ];
    for (line, keys) in lines {
        if keys.is_empty() && env.is_root() {
            // What root's server does, anybody could have it do.
            shell(&env, line).run().our_failure().error_with_hint(&["root"]);
            continue;
        }
        let live = started(&env, line);
        let health = shell(&env, "curl -sS http://localhost:18888/health").run().ok().json();
        assert_eq!(health, json!({"success": true, "data": "ok"}), "{line}");
        let stats = "curl -sS -o /dev/null -w '%{http_code}' http://localhost:18888/stats";
        let stranger = shell(&env, stats).run().ok().out();
        assert_eq!(stranger, if keys.is_empty() { "200" } else { "401" }, "{line}");
        for key in keys {
            let with = format!("{stats} -H 'Authorization: Bearer {key}'");
            assert_eq!(shell(&env, &with).run().ok().out(), "200", "{line}");
        }
        live.signal(Signal::TERM);
        live.finish().ok();
    }
    env.assert_nothing_left();
}
