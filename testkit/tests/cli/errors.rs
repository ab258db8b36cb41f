//! Bad input: one line that says what failed, on what, and a hint; nothing created, nothing lost.

use agentkernel_testkit::TestEnv;

/// Each: the arguments, and words of the error.
#[test]
fn mistyped_values_are_named_with_a_hint() {
    let env = TestEnv::new();
    let table: &[(&[&str], &[&str])] = &[
        (&["run", "--profile", "restrictve", "--", "true"], &["restrictve"]),
        (&["run", "--backend", "natve", "--", "true"], &["natve"]),
        (&["run", "--image", "not an image", "--", "true"], &["not an image"]),
        (&["run", "--image", "agentkernel.invalid/none:1", "--", "true"], &["agentkernel.invalid/none:1"]),
        (&["run", "--memory", "lots", "--", "true"], &["lots"]),
        (&["run", "--cpus", "none", "--", "true"], &["none"]),
        (&["run", "--timeout", "soon", "--", "true"], &["soon"]),
        (&["run", "--env", "NOVALUE", "--", "true"], &["NOVALUE"]),
        (&["run", "--workdir", "relative", "--", "true"], &["relative"]),
        (&["run", "--user", "nobody", "--", "true"], &["nobody"]),
        (&["run", "--publish", "99999", "--", "true"], &["99999"]),
        (&["run", "--isolation", "wm", "--", "true"], &["wm"]),
        (&["run", "--config", "none.toml", "--", "true"], &["none.toml"]),
        (&["exec", "nobody", "--", "true"], &["nobody"]),
        (&["sandbox", "start", "nobody"], &["nobody"]),
        (&["sandbox", "stop", "nobody"], &["nobody"]),
        (&["sandbox", "remove", "nobody"], &["nobody"]),
        (&["sandbox", "info", "nobody"], &["nobody"]),
    ];
    let mut wrong = Vec::new();
    for (arguments, words) in table {
        let run = env.agentkernel(arguments).run();
        let shown = run.to_string();
        // All rows are looked at: a person who mends one wants to see the others.
        let row = std::panic::catch_unwind(|| run.our_failure().error_with_hint(words));
        if row.is_err() {
            wrong.push(shown);
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    env.assert_nothing_left();
}

#[test]
fn near_misses_are_suggested() {
    let env = TestEnv::new();
    for (arguments, meant) in [
        (&["run", "--profile", "restrictve", "--", "true"][..], "restrictive"),
        (&["run", "--no-netwrk", "--", "true"], "--no-network"),
        (&["sandbox", "crate", "x"], "create"),
        (&["rnu", "true"], "run"),
    ] {
        let run = env.agentkernel(arguments).run().our_failure();
        assert!(run.err().contains(meant), "want '{meant}': {run}");
        assert!(run.stdout.is_empty(), "{run}");
    }
}

#[test]
fn a_malformed_configuration_is_named_by_line_and_column() {
    let env = TestEnv::new();
    env.file("project/agentkernel.toml", "[sandbox]\nname = \"x\"\nbase_imge = \"host\"\n");
    let run = env.agentkernel(&["run", "-i", "host", "--", "true"]).run().code(125);
    let run = run.error_with_hint(&["agentkernel.toml", "3", "base_imge"]);
    assert!(run.err().contains("base_image"), "the key that was meant: {run}");
    env.file("project/agentkernel.toml", "[resources]\nmemory_mb = \"much\"\n");
    env.agentkernel(&["run", "-i", "host", "--", "true"])
        .run()
        .code(125)
        .error_with_hint(&["agentkernel.toml", "2"]);
    env.file("project/agentkernel.toml", "[sandbox\n");
    env.agentkernel(&["run", "-i", "host", "--", "true"])
        .run()
        .code(125)
        .error_with_hint(&["agentkernel.toml", "1"]);
}

#[test]
fn a_configuration_that_was_only_found_cannot_loosen() {
    let env = TestEnv::new();
    env.file("project/agentkernel.toml", "[security]\nprofile = \"permissive\"\nmount_cwd = true\n");
    let run = env
        .agentkernel(&["run", "-i", "host", "--", "sh", "-c", "echo x >found; echo end"])
        .run()
        .ok()
        .prints("end\n");
    assert!(run.err().contains("--config"), "it does not say how to allow it: {run}");
    assert!(!env.project().join("found").exists(), "a found configuration mounted the project writable");
}

#[test]
fn names_with_escape_sequences_are_shown_safely() {
    let env = TestEnv::new();
    let evil = "a\u{1b}[2J\u{1b}]0;owned\u{7}b\rc\nerror: d";
    let flag = format!("--{evil}");
    for arguments in [
        &["sandbox", "create", evil][..],
        &["sandbox", "start", evil],
        &["exec", evil, "--", "true"],
        &["run", "--backend", evil, "--", "true"],
        &["run", "--image", evil, "--", "true"],
        &["run", "--profile", evil, "--", "true"],
        &["run", "-i", "host", "--", evil],
        &["run", "-i", "host", "-v", evil, "--", "true"],
        &[evil],
        &["sandbox", evil],
        &["run", &flag, "--", "true"],
        &["run", "--allow-write", evil, "--", "true"],
        &["sandbox", "start", "a", evil],
        &["doctor", evil],
    ] {
        let run = env.agentkernel(arguments).run();
        assert_ne!(run.code, Some(0), "{run}");
        let raw = run.stderr.iter().chain(&run.stdout).any(|b| matches!(b, 0x1b | 0x07 | b'\r'));
        assert!(!raw, "raw control characters on the terminal: {run}");
        let forged = run.err().lines().any(|line| line.starts_with("error: d"));
        assert!(!forged, "a line that is not ours: {run}");
    }
}

#[test]
fn no_command_is_a_usage_error() {
    let env = TestEnv::new();
    for arguments in [
        &["run"][..],
        &["run", "-i", "host", "--"],
        &["exec", "x"],
        &["frobnicate"],
        &["run", "--frobnicate", "true"],
    ] {
        let run = env.agentkernel(arguments).run().code(2);
        assert!(run.stdout.is_empty() && run.err().starts_with("error: "), "{run}");
    }
}
