//! `run`: exit codes, environment, place, dry runs, JSON, deadlines.

use agentkernel_testkit::TestEnv;
use std::{fs, time::Duration};

#[test]
fn a_command_runs_and_nothing_of_ours_is_on_stdout() {
    let env = TestEnv::new();
    env.agentkernel(&["run", "--image", "host", "--", "echo", "hello"]).run().ok().prints("hello\n");
    env.agentkernel(&["run", "--image", "host", "printf", "%s\\n", "--help"]).run().ok().prints("--help\n");
    env.assert_nothing_left();
}

#[test]
fn the_first_command_of_a_fresh_machine_needs_no_flag() {
    let env = TestEnv::new();
    let finished = env.agentkernel(&["run", "sh", "-c", "echo hello"]).run().ok().prints("hello\n");
    let lines = finished.err().lines().filter(|l| !l.starts_with("note: ")).count();
    assert_eq!(lines, 0, "only notes on stderr: {finished}");
}

#[test]
fn exit_codes_are_the_commands() {
    let env = TestEnv::new();
    for code in [0, 1, 42, 124, 125, 255] {
        let script = format!("exit {code}");
        env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", &script]).run().code(code).prints("");
    }
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        let script = format!("kill -{signal} $$");
        env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", &script]).run().code(code);
    }
}

#[test]
fn commands_that_cannot_begin_are_127_and_126() {
    let env = TestEnv::new();
    for program in ["no-such-program", "/no/such/program"] {
        env.agentkernel(&["run", "-i", "host", "--", program]).run().code(127).error_with_hint(&[program]);
    }
    for program in ["/etc/passwd", "/etc"] {
        env.agentkernel(&["run", "-i", "host", "--", program]).run().code(126).error_with_hint(&[program]);
    }
    env.assert_nothing_left();
}

#[test]
fn a_deadline_ends_the_command_with_124() {
    let env = TestEnv::new();
    let finished =
        env.agentkernel(&["run", "-i", "host", "--timeout", "1s", "--", "sleep", "60"]).run().code(124);
    assert!(finished.elapsed >= Duration::from_secs(1), "{finished}");
    assert!(finished.elapsed < Duration::from_secs(6), "{finished}");
    let stubborn =
        ["run", "-i", "host", "--timeout", "1s", "--", "sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"];
    let finished = env.agentkernel(&stubborn).run().code(124);
    assert!(finished.elapsed < Duration::from_secs(10), "{finished}");
    env.agentkernel(&["run", "-i", "host", "--timeout", "30s", "--", "true"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn the_callers_environment_stays_outside() {
    let env = TestEnv::new();
    let run = env.agentkernel(&["run", "-i", "host", "-e", "GIVEN=a b=c", "--", "env"]);
    let inside = run.env("SECRET_TOKEN", "leaked").env("LD_PRELOAD_X", "leaked").run().ok().out();
    assert!(!inside.contains("leaked") && !inside.contains("AGENTKERNEL_TEST_MARKER"), "{inside}");
    assert!(inside.lines().any(|l| l == "GIVEN=a b=c"), "{inside}");
    assert!(!inside.contains(&env.home().display().to_string()), "{inside}");
}

#[test]
fn the_working_directory_is_the_project_or_the_one_given() {
    let env = TestEnv::new();
    env.agentkernel(&["run", "-i", "host", "--", "pwd"]).run().ok().prints("/workspace\n");
    env.agentkernel(&["run", "-i", "host", "-w", "/tmp", "--", "pwd"]).run().ok().prints("/tmp\n");
    let missing = env.agentkernel(&["run", "-i", "host", "-w", "/no/such", "--", "pwd"]).run();
    missing.code(125).error_with_hint(&["/no/such"]);
}

#[test]
fn the_project_comes_along_and_is_not_written() {
    let env = TestEnv::new();
    env.file("project/file", "original\n");
    let script = "cat file; echo changed >file; echo new >new; cat file";
    env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", script])
        .run()
        .ok()
        .prints("original\nchanged\n");
    assert_eq!(fs::read_to_string(env.project().join("file")).unwrap(), "original\n");
    assert!(!env.project().join("new").exists());
    let none = env
        .agentkernel(&["run", "-i", "host", "--no-workspace", "--", "sh", "-c", "pwd; ls -d /workspace/*"])
        .run();
    assert_eq!(none.out(), "/\n", "{none}");
}

#[test]
fn neither_the_home_nor_the_root_becomes_a_project() {
    let env = TestEnv::new();
    env.file("home/private", "private\n");
    for place in [env.home(), "/".into()] {
        let script = "cat private 2>/dev/null; ls -d /workspace/* 2>/dev/null; echo end";
        let run = env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", script]).directory(&place).run();
        run.ok().prints("end\n");
    }
}

#[test]
fn a_dry_run_says_what_would_be_and_starts_nothing() {
    let env = TestEnv::new();
    let text = env
        .agentkernel(&["run", "-i", "host", "-p", "restrictive", "--dry-run", "--", "touch", "made"])
        .run()
        .ok();
    for word in ["restrictive", "touch"] {
        assert!(text.out().contains(word), "want '{word}': {text}");
    }
    let asked = ["run", "-i", "host", "-p", "restrictive", "--dry-run", "--json", "--", "touch", "made"];
    let json = env.agentkernel(&asked).run().ok().json();
    let policy = json.pointer("/spec/policy").unwrap_or_else(|| panic!("no spec.policy in {json}"));
    assert_eq!(policy["profile"], "restrictive", "{json}");
    assert_eq!((&policy["root"], &policy["network"]), (&"read_only".into(), &"off".into()), "{json}");
    assert_eq!(policy.pointer("/limits/memory/default"), Some(&(256_u64 << 20).into()), "{json}");
    assert!(!env.project().join("made").exists());
    env.assert_nothing_left();
}

#[test]
fn json_is_one_object_with_the_streams_and_the_code() {
    let env = TestEnv::new();
    let script = "echo out; echo err >&2; exit 3";
    let json =
        env.agentkernel(&["run", "-i", "host", "--json", "--", "sh", "-c", script]).run().code(3).json();
    assert_eq!(json["exit_code"], 3, "{json}");
    assert_eq!(json["stdout"], "out\n", "{json}");
    assert_eq!(json["stderr"], "err\n", "{json}");
    assert_eq!(json["image"], "host", "{json}");
    assert!(json["backend"].is_string(), "{json}");
}

#[test]
fn a_kept_sandbox_is_named_and_can_be_removed() {
    let env = TestEnv::new();
    let kept = env
        .agentkernel(&["run", "-i", "host", "--keep", "--", "sh", "-c", "echo kept >/kept; echo out"])
        .run();
    let kept = kept.ok().prints("out\n");
    let name = kept
        .err()
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .find(|w| w.starts_with("run-"))
        .map(str::to_owned);
    let name = name.unwrap_or_else(|| panic!("no name on stderr: {kept}"));
    assert!(kept.err().contains("remove"), "it does not say how to remove: {kept}");
    env.agentkernel(&["sandbox", "start", &name]).run().ok();
    env.agentkernel(&["exec", &name, "--", "cat", "/kept"]).run().ok().prints("kept\n");
    env.agentkernel(&["sandbox", "remove", &name]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn help_and_version_need_nothing() {
    let env = TestEnv::new();
    let version = env.agentkernel(&["--version"]).without_env("HOME").run().ok().silent_stderr();
    assert_eq!(version.out(), format!("agentkernel {}\n", env!("CARGO_PKG_VERSION")));
    for verb in [
        &["--help"][..],
        &["run", "--help"],
        &["exec", "--help"],
        &["sandbox", "--help"],
        &["sandbox", "create", "--help"],
    ] {
        let help = env.agentkernel(verb).run().ok().silent_stderr();
        assert!(help.out().contains("agentkernel"), "{help}");
    }
    assert!(!env.data().exists(), "help made the data directory");
}
