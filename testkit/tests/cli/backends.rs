//! Sandboxes whose backend cannot be asked, and what is said about backends.

use agentkernel_testkit::{TestEnv, env::Finished};
use serde_json::Value;

/// Those of this build.
const BUILT_IN: &str = "native";
/// One that no build has.
const GONE: &str = "gone";

fn create(env: &TestEnv, name: &str) {
    env.agentkernel(&["sandbox", "create", name, "--image", "host", "-B", BUILT_IN]).run().ok();
}

/// Makes `name` one of another backend's, as it would be after a build with fewer backends was installed.
fn give(env: &TestEnv, name: &str, backend: &str) {
    let database = rusqlite::Connection::open(env.data().join("state.db")).unwrap();
    let given = database.execute("UPDATE sandboxes SET backend = ?1 WHERE name = ?2", [backend, name]);
    assert_eq!(given.unwrap(), 1);
}

fn list(env: &TestEnv) -> Finished {
    env.agentkernel(&["sandbox", "list"]).run().ok()
}

#[test]
fn what_cannot_be_asked_is_unknown_and_left_alone() {
    let env = TestEnv::new();
    create(&env, "ours");
    create(&env, "theirs");
    give(&env, "theirs", GONE);

    let listed = list(&env);
    let row = |name: &str| {
        let table = listed.out();
        let found = table.lines().find(|line| line.starts_with(name));
        found.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("NAME"), ["NAME", "STATUS", "BACKEND", "IP", "IMAGE", "PORTS", "LABELS"]);
    assert_eq!(row("ours")[..4], ["ours", "stopped", BUILT_IN, "-"]);
    assert_eq!(row("theirs")[..4], ["theirs", "unknown", GONE, "-"]);
    assert_eq!(listed.err(), "note: unknown: theirs: this build has no backend 'gone'\n");
    let json = env.agentkernel(&["sandbox", "list", "--json"]).run().ok().silent_stderr().json();
    assert_eq!(json[1]["status"], "unknown");
    assert_eq!(json[1]["reason"], "this build has no backend 'gone'");
    let info = env.agentkernel(&["sandbox", "info", "theirs"]).run().ok();
    assert!(info.out().contains("unknown (this build has no backend 'gone')"), "{info}");

    let refused = env.agentkernel(&["sandbox", "remove", "theirs"]).run();
    refused.code(125).error_with_hint(&["theirs", GONE]);
    let swept = env.agentkernel(&["sandbox", "gc", "--stopped", "--dry-run"]).run().ok();
    swept.prints("would remove 1\n  ours\n");
    let cleaned = env.agentkernel(&["sandbox", "clean", "--force"]).run().ok();
    assert!(cleaned.err().contains("left alone: theirs: this build has no backend 'gone'"), "{cleaned}");
    assert!(list(&env).out().contains("theirs") && !list(&env).out().contains("ours"));

    give(&env, "theirs", BUILT_IN);
    assert_eq!(
        env.agentkernel(&["sandbox", "info", "theirs", "--json"]).run().ok().json()["status"],
        "stopped"
    );
    env.agentkernel(&["sandbox", "remove", "theirs"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn setup_says_what_is_chosen_first() {
    let env = TestEnv::new();
    let checked = env.agentkernel(&["setup", "--check"]).run().ok();
    let text = checked.out();
    let chosen = text.lines().next().and_then(|line| line.strip_prefix("Selected backend: ")).unwrap();
    assert!(text.contains(&format!("\n{chosen}: works, used when none is named\n")), "{checked}");
    let reports = env.agentkernel(&["setup", "--check", "--json"]).run().ok().json();
    let reports = reports.as_array().unwrap();
    let selected: Vec<&Value> = reports.iter().filter(|report| report["selected"] == true).collect();
    assert_eq!((selected.len(), &selected[0]["id"]), (1, &chosen.into()), "{reports:?}");
    let ranks: Vec<u64> = reports.iter().filter_map(|report| report["rank"].as_u64()).collect();
    assert!(!ranks.is_empty() && ranks.is_sorted(), "{reports:?}");
    env.assert_nothing_left();
}

#[test]
fn a_runtime_is_refused_where_there_are_none() {
    let env = TestEnv::new();
    let run = ["run", "-i", "host", "-B", BUILT_IN, "--runtime", "runsc", "--", "true"];
    env.agentkernel(&run).run().code(125).error_with_hint(&["another OCI runtime"]);
    let path = ["run", "-i", "host", "--runtime", "/usr/bin/runsc", "--", "true"];
    env.agentkernel(&path).run().our_failure();
    // A project that was only cloned does not choose a runtime of this machine.
    env.file("project/agentkernel.toml", "[sandbox]\noci_runtime = 'runsc'\n");
    let found = ["run", "-i", "host", "-B", BUILT_IN, "--", "true"];
    let ran = env.agentkernel(&found).run().ok();
    assert!(ran.err().contains("sandbox.oci_runtime = \"runsc\" is not applied"), "{ran}");
    let named = ["run", "-i", "host", "-B", BUILT_IN, "-c", "agentkernel.toml", "--", "true"];
    env.agentkernel(&named).run().code(125).error_with_hint(&["another OCI runtime"]);
    env.assert_nothing_left();
}
