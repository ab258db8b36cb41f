//! `agentkernel plugin`: what it writes into a project that is new, and into one that others have written in.

use agentkernel_testkit::TestEnv;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

fn entry() -> Value {
    json!({ "command": "agentkernel", "args": ["mcp-server"], "env": {} })
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read '{}': {e}", path.display()))
}

fn statuses(env: &TestEnv, flags: &[&str]) -> Vec<String> {
    let list = env.agentkernel(&[&["plugin", "list", "--json"], flags].concat()).run().ok().json();
    list.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
}

/// Every file below `directory`, sorted.
fn files(directory: &Path) -> Vec<String> {
    fn walk(at: &Path, root: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(at).unwrap().map(|e| e.unwrap().path()) {
            match entry.is_dir() && !entry.is_symlink() {
                true => walk(&entry, root, into),
                false => into.push(entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}

#[test]
fn a_new_project_gets_what_each_agent_reads() {
    let env = TestEnv::new();
    assert_eq!(statuses(&env, &[]), ["not_installed"; 5]);
    let told = env.agentkernel(&["plugin", "install", "claude"]).run().ok();
    assert!(told.out().contains("created    .mcp.json") && told.out().contains("next: "), "{told}");
    assert_eq!(
        files(&env.project()),
        [".claude/commands/sandbox.md", ".claude/skills/agentkernel/SKILL.md", ".mcp.json"]
    );
    let servers: Value = serde_json::from_str(&read(&env.project().join(".mcp.json"))).unwrap();
    assert_eq!(servers, json!({ "mcpServers": { "agentkernel": entry() } }));
    // What is shared says of others only what is theirs.
    assert_eq!(
        statuses(&env, &[]),
        ["installed", "not_installed", "not_installed", "not_installed", "installed"]
    );
    for target in ["codex", "gemini", "opencode", "mcp"] {
        env.agentkernel(&["plugin", "install", target]).run().ok().silent_stderr();
    }
    assert_eq!(statuses(&env, &[]), ["installed"; 5]);
    let found = files(&env.project());
    for path in [
        ".codex/config.toml",
        ".gemini/settings.json",
        ".opencode/package.json",
        ".opencode/plugins/agentkernel.ts",
    ] {
        assert!(found.iter().any(|file| file == path), "{path}: {found:?}");
    }
    let table = env.agentkernel(&["plugin", "list"]).run().ok().out();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("TARGET       DESCRIPTION                         STATUS"));
    assert_eq!(lines.next(), Some("claude       Claude Code: skill, command, MCP    installed"));
    // Once more changes nothing.
    let before: Vec<_> =
        found.iter().map(|f| fs::metadata(env.project().join(f)).unwrap().modified().unwrap()).collect();
    for target in ["claude", "codex", "gemini", "opencode", "mcp"] {
        let again = env.agentkernel(&["plugin", "install", target, "--json"]).run().ok().json();
        let actions: Vec<&str> =
            again["files"].as_array().unwrap().iter().map(|f| f["action"].as_str().unwrap()).collect();
        assert!(actions.iter().all(|action| *action == "unchanged"), "{again}");
    }
    let after: Vec<_> =
        found.iter().map(|f| fs::metadata(env.project().join(f)).unwrap().modified().unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_home_gets_what_agents_read_there_and_the_project_nothing() {
    let env = TestEnv::new();
    let history = "{\n  \"numStartups\": 7,\n  \"projects\": { \"/x\": {} }\n}\n";
    fs::set_permissions(env.file("home/.claude.json", history), fs::Permissions::from_mode(0o600)).unwrap();
    for target in ["claude", "codex", "gemini", "opencode"] {
        env.agentkernel(&["plugin", "install", target, "-g"]).run().ok();
    }
    assert_eq!(statuses(&env, &["--global"])[..4], ["installed"; 4]);
    assert_eq!(files(&env.project()), [""; 0]);
    let file = env.home().join(".claude.json");
    let servers: Value = serde_json::from_str(&read(&file)).unwrap();
    assert_eq!((&servers["numStartups"], &servers["mcpServers"]["agentkernel"]), (&json!(7), &entry()));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(env.home().join(".config/opencode/plugins/agentkernel.ts").is_file());
    assert!(env.home().join(".codex/config.toml").is_file());
}

#[test]
fn what_others_wrote_stays_and_a_dry_run_shows_the_rest() {
    let env = TestEnv::new();
    env.directory("project/.gemini");
    let mine = "{\n  // mine\n  \"mcpServers\": {\n    \"docs\": { \"command\": \"npx\" }\n  },\n  \"theme\": \"x\"\n}\n";
    let settings = env.file("project/.gemini/settings.json", mine);
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o640)).unwrap();
    let shown = env.agentkernel(&["plugin", "install", "gemini", "--dry-run"]).run().ok().out();
    assert!(shown.starts_with("--- a/.gemini/settings.json\n+++ b/.gemini/settings.json\n@@ "), "{shown}");
    assert!(shown.contains("+    \"agentkernel\": {\n") && shown.contains("nothing was written"), "{shown}");
    assert!(!shown.lines().any(|line| line.starts_with("-  ") && line.contains("mine")), "{shown}");
    assert_eq!(read(&settings), mine);
    let answer = env.agentkernel(&["plugin", "install", "gemini", "--dry-run", "--json"]).run().ok().json();
    assert_eq!((&answer["dry_run"], &answer["files"][0]["action"]), (&json!(true), &json!("updated")));
    assert!(answer["files"][0]["diff"].as_str().unwrap().contains("+++ b/.gemini/settings.json"), "{answer}");

    env.agentkernel(&["plugin", "install", "gemini"]).run().ok();
    let after = read(&settings);
    for line in mine.lines().filter(|line| !line.contains("docs")) {
        assert!(after.lines().any(|other| other == line), "{line} is gone:\n{after}");
    }
    assert!(after.contains("\"docs\": { \"command\": \"npx\" },"), "{after}");
    assert_eq!(settings.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_somebody_changed_is_replaced_with_force_only() {
    let env = TestEnv::new();
    let theirs = r#"{"mcpServers": {"agentkernel": {"command": "theirs"}, "z": {"command": "z"}}}"#;
    let servers = env.file("project/.mcp.json", theirs);
    let refused = env.agentkernel(&["plugin", "install", "claude"]).run().code(125);
    assert!(refused.err().contains("plugin install claude --force"), "{refused}");
    refused.error_with_hint(&[".mcp.json"]);
    assert_eq!(read(&servers), theirs);
    assert_eq!(files(&env.project()), [".mcp.json"], "nothing is written where one file is refused");
    let told = env.agentkernel(&["plugin", "install", "mcp", "--force"]).run().ok().out();
    assert!(told.contains("replaced   .mcp.json"), "{told}");
    let after: Value = serde_json::from_str(&read(&servers)).unwrap();
    assert_eq!(
        (&after["mcpServers"]["agentkernel"], &after["mcpServers"]["z"]["command"]),
        (&entry(), &json!("z"))
    );

    env.agentkernel(&["plugin", "install", "claude"]).run().ok();
    let command = env.project().join(".claude/commands/sandbox.md");
    fs::write(&command, read(&command).replace("sandbox", "box")).unwrap();
    assert_eq!(statuses(&env, &[])[0], "different");
    env.agentkernel(&["plugin", "install", "claude"]).run().code(125).error_with_hint(&["sandbox.md"]);
    env.agentkernel(&["plugin", "install", "claude", "-f"]).run().ok();
    fs::remove_file(&command).unwrap();
    assert_eq!(statuses(&env, &[])[0], "outdated");
    env.agentkernel(&["plugin", "install", "claude"]).run().ok();
    assert_eq!(statuses(&env, &[])[0], "installed");
}

#[test]
fn broken_files_are_named_with_line_and_column_and_left_alone() {
    let env = TestEnv::new();
    let broken = env.file("project/.mcp.json", "{\n  \"mcpServers\": {\n");
    let error = env.agentkernel(&["plugin", "install", "mcp", "--force"]).run().code(125);
    error.error_with_hint(&[".mcp.json:2:17"]);
    let error = env.agentkernel(&["plugin", "install", "claude", "--json"]).run().code(125);
    let told: Value = serde_json::from_str(error.err().trim()).unwrap();
    assert_eq!(told["kind"], "config");
    assert_eq!(read(&broken), "{\n  \"mcpServers\": {\n");
    assert_eq!(files(&env.project()), [".mcp.json"]);
    let list = env.agentkernel(&["plugin", "list"]).run().ok();
    assert!(list.err().contains(".mcp.json:2:17") && list.out().contains("different"), "{list}");
    env.directory("project/.codex");
    env.file("project/.codex/config.toml", "model = \n");
    fs::remove_file(&broken).unwrap();
    let error = env.agentkernel(&["plugin", "install", "codex"]).run().code(125);
    error.error_with_hint(&[".codex/config.toml:1:"]);
    let error = env.agentkernel(&["plugin", "install", "cladue"]).run().code(125);
    assert!(error.err().contains("did you mean 'claude'?"), "{error}");
}

#[test]
fn links_lead_out_of_the_project_only_with_force() {
    let env = TestEnv::new();
    let outside = env.directory("outside");
    symlink(&outside, env.project().join(".claude")).unwrap();
    let refused = env.agentkernel(&["plugin", "install", "claude"]).run().code(125);
    assert!(refused.err().contains("--force"), "{refused}");
    refused.error_with_hint(&["leads out of the directory"]);
    assert_eq!(files(&outside), [""; 0]);
    assert!(!env.project().join(".mcp.json").exists());
    env.agentkernel(&["plugin", "install", "claude", "--force"]).run().ok();
    assert_eq!(files(&outside), ["commands/sandbox.md", "skills/agentkernel/SKILL.md"]);
    assert_eq!(statuses(&env, &[])[0], "installed");
    // A link to a file that is not there would make one wherever it says.
    symlink(outside.join("made"), env.project().join(".gemini")).unwrap();
    env.agentkernel(&["plugin", "install", "gemini", "--force"])
        .run()
        .code(125)
        .error_with_hint(&["leads nowhere"]);
    assert!(!outside.join("made").exists());
}
