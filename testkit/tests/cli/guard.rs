//! What stays read-only in a directory that is mounted writable, seen from inside and on the host.

use agentkernel_testkit::TestEnv;
use std::{fs, os::unix::fs::symlink};

/// A project with a repository and some configuration.
fn project(env: &TestEnv) {
    for directory in [".git", ".git/hooks", ".vscode"] {
        env.directory(&format!("project/{directory}"));
    }
    for file in [".git/HEAD", ".git/config", ".git/hooks/pre-commit", ".envrc", ".vscode/tasks.json", "file"]
    {
        env.file(&format!("project/{file}"), "original\n");
    }
}

/// Tries to change each in every way that there is, and says what could be changed.
const ATTEMPTS: &str = "
try() { ( eval \"$1\" ) 2>/dev/null && echo \"done: $1\"; }
for f in .git/config .envrc .vscode/tasks.json .git/hooks/pre-commit; do
    try \"echo evil >$f\"; try \"rm -f $f\"; try \"mv $f away\"; try \"ln $f again\"; try \"chmod 777 $f\"
    try \"echo evil >new; mv -f new $f\"
done
try 'mv .git other'; try 'mv .git/hooks .git/other'; try 'rm -rf .git/hooks'; try 'mv .vscode other'
try 'echo evil >.git/hooks/post-commit'; try 'umount .envrc'; try 'mount --bind file .envrc'
echo new >file; echo new >.git/HEAD; echo new >made; echo end";

fn assert_kept(env: &TestEnv) {
    let read = |name: &str| fs::read_to_string(env.project().join(name)).unwrap();
    for name in [".git/config", ".git/hooks/pre-commit", ".envrc", ".vscode/tasks.json"] {
        assert_eq!(read(name), "original\n", "{name}");
    }
    assert!(!env.project().join(".git/hooks/post-commit").exists());
    for name in ["file", ".git/HEAD", "made"] {
        assert_eq!(read(name), "new\n", "{name}: the project itself is writable");
    }
}

#[test]
fn a_permissive_run_changes_the_project_but_not_what_the_host_obeys() {
    let env = TestEnv::new();
    project(&env);
    let run =
        env.agentkernel(&["run", "-i", "host", "-p", "permissive", "--", "sh", "-c", ATTEMPTS]).run().ok();
    run.prints("end\n");
    assert_kept(&env);
    env.assert_nothing_left();
}

#[test]
fn a_named_sandbox_keeps_it_over_every_start() {
    let env = TestEnv::new();
    project(&env);
    env.agentkernel(&["sandbox", "create", "box", "-i", "host", "--dir", "."]).run().ok();
    for _ in 0..2 {
        env.agentkernel(&["sandbox", "start", "box"]).run().ok();
        env.agentkernel(&["exec", "box", "--", "sh", "-c", ATTEMPTS]).run().ok().prints("end\n");
        assert_kept(&env);
        env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    }
    let info = env.agentkernel(&["sandbox", "info", "box"]).run().ok();
    let told = String::from_utf8(info.stdout).unwrap();
    assert!(told.contains("/workspace/.git/hooks (read-only)"), "{told}");

    // A link that came into its place since, as by another sandbox that was allowed to.
    fs::remove_file(env.project().join(".envrc")).unwrap();
    symlink("/etc/passwd", env.project().join(".envrc")).unwrap();
    env.agentkernel(&["sandbox", "start", "box"]).run().code(125).error_with_hint(&["/workspace/.envrc"]);
    fs::remove_file(env.project().join(".envrc")).unwrap();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn what_is_allowed_by_name_can_be_written() {
    let env = TestEnv::new();
    project(&env);
    let allowed =
        ["run", "-i", "host", "-p", "permissive", "--allow-write", ".envrc", "--allow-write", ".git/hooks"];
    let script = "echo new >.envrc; echo new >.git/hooks/pre-commit; ! echo new 2>/dev/null >.git/config";
    env.agentkernel(&allowed).args(["--", "sh", "-c", script]).run().ok();
    for (name, text) in
        [(".envrc", "new\n"), (".git/hooks/pre-commit", "new\n"), (".git/config", "original\n")]
    {
        assert_eq!(fs::read_to_string(env.project().join(name)).unwrap(), text, "{name}");
    }
    let shown = env.agentkernel(&allowed).args(["--dry-run", "--", "true"]).run().ok();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("/workspace/.git/config (read-only)"), "{shown}");
    assert!(!shown.contains(".envrc") && !shown.contains("hooks"), "{shown}");
    let typo = env.agentkernel(&["run", "--allow-write", ".envr", "--", "true"]).run();
    typo.our_failure().error_with_hint(&[".envr"]);
    let useless = env.agentkernel(&["run", "-i", "host", "--allow-write", ".envrc", "--", "true"]).run();
    useless.code(125).error_with_hint(&[".envrc"]);
}

#[test]
fn links_are_not_mounted_through() {
    let env = TestEnv::new();
    env.file("secret", "secret\n");
    env.file("project/file", "");
    symlink(env.project().join("../secret"), env.project().join(".envrc")).unwrap();
    let run = ["run", "-i", "host", "-p", "permissive"];
    let refused = env.agentkernel(&run).args(["--", "cat", ".envrc"]).run().code(125);
    let refused = refused.error_with_hint(&[".envrc", "symbolic link"]);
    assert!(refused.err().contains("--allow-write .envrc"), "{refused}");
    let allowed = env.agentkernel(&run).args(["--allow-write", ".envrc", "--", "cat", ".envrc"]).run();
    assert!(allowed.code != Some(0) && allowed.stdout.is_empty(), "the link leads nowhere inside: {allowed}");
    // A view is no way to the host, and needs no keeping.
    env.agentkernel(&["run", "-i", "host", "--", "true"]).run().ok();
}
