//! Configurations, templates and trust, as a project meets them.

use agentkernel_testkit::TestEnv;
use std::fs;

#[test]
fn trust_is_for_one_content_of_one_file() {
    let env = TestEnv::new();
    let text = "[security]\nmount_cwd = true\n";
    env.file("project/agentkernel.toml", text);
    let shown = |env: &TestEnv| env.agentkernel(&["run", "--dry-run", "-i", "host", "--", "true"]).run().ok();
    let before = shown(&env);
    assert!(before.out().contains("copy-on-write") && before.out().contains("agentkernel trust"), "{before}");

    env.agentkernel(&["trust"]).run().ok();
    let trusted = shown(&env);
    assert!(trusted.out().contains("itself (writable)"), "{trusted}");
    let list = env.agentkernel(&["trust", "--list", "--json"]).run().ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(1));

    env.file("project/agentkernel.toml", format!("{text}# one more byte\n"));
    assert!(shown(&env).out().contains("copy-on-write"), "another content is not what was agreed to");
    env.file("project/agentkernel.toml", text);
    env.agentkernel(&["trust", "--revoke"]).run().ok();
    assert!(shown(&env).out().contains("copy-on-write"));
    env.agentkernel(&["trust", "--revoke"]).run().code(125).error_with_hint(&["was not trusted"]);
}

#[test]
fn a_found_file_cannot_loosen_anything() {
    let env = TestEnv::new();
    env.directory("secret");
    env.file("secret/key", "secret");
    let planned =
        || env.agentkernel(&["run", "--dry-run", "-i", "host", "--json", "--", "true"]).run().ok().json();
    let plain = planned();
    for line in [
        "[security]\nprofile = \"permissive\"",
        "[security]\nmount_cwd = true",
        "[workspace]\npath = \"../secret\"",
        "[workspace]\nmode = \"rw\"",
        "[[mounts]]\nsource = \"../secret\"\ntarget = \"/data\"",
        "[[files]]\nsource = \"../secret/key\"\ndest = \"/data\"",
        "[[files]]\ncontent = \"x\"\ndest = \"/workspace/x\"",
        "[network]\nports = [\"8080:80\"]",
        "[network]\nrules = [\"allow 10.0.0.0/8\"]",
        "[network]\nrules = [\"allow udp:9.9.9.9:123\"]",
        "[security.domains]\nallow = [\"192.168.0.0/16\"]",
        "[security]\nallow_write = [\".envrc\"]",
        "[security]\nsecret_files = [\"KEY\"]",
        "[secrets]\nKEY = \"api.example.com\"",
        "[agent]\ncompatibility_mode = \"claude\"",
        "[resources]\npids = 100000",
        "[sandbox]\nbackend = \"docker\"",
        "[sandbox]\noci_runtime = \"other\"",
        "[build]\ncontext = \"..\"",
        "[build]\ndockerfile = \"../secret/Dockerfile\"",
    ] {
        env.file("project/agentkernel.toml", line);
        let run = planned();
        assert!(run.to_string().contains("agentkernel trust"), "{line}: what was left out is said: {run}");
        assert_eq!((&run["spec"], &run["backend"]), (&plain["spec"], &plain["backend"]), "{line}");
    }
    // What is a link in the project leads out of it as well.
    std::os::unix::fs::symlink("../secret/key", env.project().join("inside")).unwrap();
    env.file("project/agentkernel.toml", "[[files]]\nsource = \"inside\"\ndest = \"/data\"");
    let refused = env.agentkernel(&["run", "-i", "host", "--", "cat", "/data"]).run();
    refused.code(125).error_with_hint(&["inside"]);
}

#[test]
fn files_environment_and_init_script_of_a_project_reach_the_inside() {
    let env = TestEnv::new();
    env.file("project/motd", "hello\n");
    env.file(
        "project/agentkernel.toml",
        "[sandbox]\ninit_script = \"echo $WHO >/root/by\"\n[environment]\nWHO = \"init\"\n\
         [[files]]\nsource = \"motd\"\ndest = \"/etc/deep/motd\"\nmode = \"0600\"\n\
         [[files]]\ncontent = \"x\"\ndest = \"/root/x\"\n",
    );
    let script = "cat /etc/deep/motd /root/x /root/by; stat -c %a /etc/deep/motd";
    let expected = "hello\nxinit\n600\n";
    env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", script]).run().ok().prints(expected);
    env.agentkernel(&["sandbox", "create", "box", "-i", "host"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "sh", "-c", script]).run().ok().prints(expected);
    // Once, not at every start.
    env.agentkernel(&["exec", "box", "--", "rm", "/root/by"]).run().ok();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["exec", "box", "--", "test", "!", "-e", "/root/by"]).run().ok();
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn an_init_script_that_fails_starts_nothing() {
    let env = TestEnv::new();
    env.file("project/agentkernel.toml", "[sandbox]\ninit_script = \"echo the reason >&2; exit 3\"\n");
    let run = env.agentkernel(&["run", "-i", "host", "--", "echo", "no"]).run().code(125).prints("");
    run.error_with_hint(&["exit code 3", "the reason"]);
    env.agentkernel(&["sandbox", "create", "box", "-i", "host"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().code(125).error_with_hint(&["exit code 3"]);
    let info = env.agentkernel(&["sandbox", "info", "box", "--json"]).run().ok().json();
    assert_eq!(info["status"], "stopped");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_sandbox_comes_back_from_its_exported_configuration() {
    let env = TestEnv::new();
    env.agentkernel(&["volume", "create", "cache"]).run().ok();
    let create = [
        "sandbox",
        "create",
        "box",
        "-i",
        "host",
        "--dir",
        ".:ro",
        "-l",
        "team=web",
        "--ttl",
        "3h",
        "--description",
        "a box",
        "-e",
        "A=b c\"'",
        "-w",
        "/srv",
        "-u",
        "0",
        "-P",
        "0:80",
        "-v",
        "cache:/data:ro",
    ];
    // Limits that somebody wrote are refused where a user cannot have them enforced.
    let sizes: &[&str] = if env.is_root() { &["--memory", "256MB", "--cpus", "0.5"] } else { &[] };
    env.agentkernel(&create).args(sizes).run().ok();
    let text = env.agentkernel(&["sandbox", "export-config", "box"]).run().ok().out();
    env.file("project/box.toml", &text);
    env.agentkernel(&["sandbox", "import-config", "box.toml", "--as", "again"]).run().ok();
    let info = |name: &str| {
        let mut info = env.agentkernel(&["sandbox", "info", name, "--json"]).run().ok().json();
        for own in ["name", "uuid", "created_at", "expires_at"] {
            info.as_object_mut().unwrap().remove(own);
        }
        info
    };
    assert_eq!(info("box"), info("again"), "{text}");
    env.agentkernel(&["sandbox", "import-config", "box.toml"]).run().code(125).error_with_hint(&["'box'"]);
    for name in ["box", "again"] {
        env.agentkernel(&["sandbox", "remove", name]).run().ok();
    }
}

#[test]
fn templates_are_listed_saved_added_and_removed() {
    let env = TestEnv::new();
    let names = |env: &TestEnv| {
        let list = env.agentkernel(&["template", "list", "--json"]).run().ok().json();
        let names = list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<String>>()
    };
    let builtin = names(&env);
    for name in
        "python node rust go ruby java dotnet php elixir c-cpp shell terraform python-ci node-ci rust-ci \
                 data-science web-dev fullstack"
            .split_whitespace()
    {
        assert!(builtin.iter().any(|n| n == name), "{name} is missing from {builtin:?}");
    }
    env.agentkernel(&["sandbox", "create", "box", "-i", "host", "-w", "/srv"]).run().ok();
    env.agentkernel(&["template", "save", "--from", "box", "mine"]).run().ok();
    env.agentkernel(&["sandbox", "create", "two", "--template", "mine"]).run().ok();
    let info = env.agentkernel(&["sandbox", "info", "two"]).run().ok().out();
    assert!(info.contains("/srv"), "{info}");
    env.file("project/t.toml", "[sandbox]\nbase_image = \"host\"\nworkdir = \"/opt\"\n");
    env.agentkernel(&["template", "add", "other", "t.toml"]).run().ok();
    env.agentkernel(&["template", "add", "other", "t.toml"]).run().code(125).error_with_hint(&["already"]);
    assert_eq!(names(&env).len(), builtin.len() + 2);
    env.agentkernel(&["run", "--template", "other", "--", "pwd"]).run().ok().prints("/opt\n");
    // The sizes of a built-in template are as good as a profile's: no reason to refuse.
    env.agentkernel(&["run", "--template", "python-ci", "-i", "host", "--", "true"]).run().ok();
    env.agentkernel(&["template", "remove", "other"]).run().ok();
    env.agentkernel(&["template", "remove", "python"]).run().code(125).error_with_hint(&["built in"]);
    env.agentkernel(&["run", "--template", "pyhton", "--", "true"])
        .run()
        .code(125)
        .error_with_hint(&["'pyhton'"]);

    env.file("project/a.toml", "[template]\nextends = \"b\"\n");
    env.file("project/b.toml", "[template]\nextends = \"a\"\n");
    env.agentkernel(&["template", "add", "a", "a.toml"]).run().ok();
    env.agentkernel(&["template", "add", "b", "b.toml"]).run().ok();
    env.agentkernel(&["run", "--template", "a", "--", "true"])
        .run()
        .code(125)
        .error_with_hint(&["a -> b -> a"]);
    for name in ["box", "two"] {
        env.agentkernel(&["sandbox", "remove", name]).run().ok();
    }
}

#[test]
fn init_writes_a_configuration_that_can_be_read() {
    let env = TestEnv::new();
    env.agentkernel(&["init", "--template", "python", "--agent", "claude"]).run().ok();
    let text = fs::read_to_string(env.project().join("agentkernel.toml")).unwrap();
    assert!(text.contains("python:3.12-alpine") && text.contains("claude"), "{text}");
    env.agentkernel(&["run", "-i", "host", "--", "true"]).run().ok();
    env.agentkernel(&["init"]).run().code(125).error_with_hint(&["already"]);
    env.agentkernel(&["init", "--agent", "cloude"]).run().our_failure().error_with_hint(&["'cloude'"]);
}

#[test]
fn a_branch_has_a_sandbox_of_its_own() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "--branch", "-i", "host"])
        .run()
        .code(125)
        .error_with_hint(&["git"]);
    env.directory("project/.git");
    env.file("project/.git/HEAD", "ref: refs/heads/Feature/one\n");
    env.agentkernel(&["sandbox", "create", "--branch", "-i", "host"]).run().ok();
    env.agentkernel(&["sandbox", "create", "--branch", "-i", "host"]).run().ok();
    let list = env.agentkernel(&["sandbox", "list", "--project", "project", "--json"]).run().ok().json();
    assert_eq!(list[0]["name"], "project-feature-one");
    env.file("project/.git/HEAD", "ref: refs/heads/two\n");
    let run = ["run", "--branch", "-i", "host", "--", "sh", "-c", "echo x >>/root/f; wc -l </root/f"];
    env.agentkernel(&run).run().ok().prints("1\n");
    env.agentkernel(&run).run().ok().prints("2\n");
    for name in ["project-feature-one", "project-two"] {
        env.agentkernel(&["sandbox", "remove", name]).run().ok();
    }
    env.assert_nothing_left();
}

#[test]
fn a_devcontainer_sets_the_sandbox_up_and_runs_nothing_here() {
    let env = TestEnv::new();
    env.directory("project/.devcontainer");
    env.file(
        "project/.devcontainer/devcontainer.json",
        "{\n  // a comment\n  \"image\": \"host\",\n  \"containerEnv\": {\"WHO\": \"dev\"},\n  \
         \"initializeCommand\": \"touch stolen\",\n  \"postCreateCommand\": \"echo $WHO >/root/by\",\n}\n",
    );
    let run =
        env.agentkernel(&["run", "--auto-devcontainer", "--", "cat", "/root/by"]).run().ok().prints("dev\n");
    assert!(run.err().contains("initializeCommand"), "{run}");
    assert!(!env.project().join("stolen").exists());
    env.assert_nothing_left();
}

#[test]
fn files_that_nobody_would_see_are_refused() {
    let env = TestEnv::new();
    for place in ["/tmp/x", "/workspace/x", "/usr/local/x"] {
        env.file("project/agentkernel.toml", format!("[[files]]\ncontent = \"x\"\ndest = \"{place}\"\n"));
        let config = ["run", "-i", "host", "--config", "agentkernel.toml", "--", "true"];
        env.agentkernel(&config).run().code(125).error_with_hint(&[place]);
    }
}

#[test]
fn a_found_file_reaches_no_directory_of_a_named_one() {
    let env = TestEnv::new();
    env.directory("home/.ssh");
    env.file("home/.ssh/id", "secret");
    env.file("home/mine.toml", "[environment]\nA = \"b\"\n");
    env.directory("home/.devcontainer");
    env.file("home/.devcontainer/devcontainer.json", "{\"image\": \"host\"}");
    env.file("project/agentkernel.toml", "[[files]]\nsource = \".ssh/id\"\ndest = \"/etc/loot\"\n");
    let home = env.home();
    for (flag, path) in [("--template", "mine.toml"), ("--devcontainer", ".devcontainer/devcontainer.json")] {
        let path = home.join(path);
        let run =
            env.agentkernel(&["run", flag, path.to_str().unwrap(), "-i", "host", "--", "cat", "/etc/loot"]);
        let refused = run.run().code(125).prints("");
        refused.error_with_hint(&[".ssh/id"]);
    }
}

#[test]
fn trust_is_not_borrowed_through_links() {
    let env = TestEnv::new();
    env.directory("good");
    env.file("good/agentkernel.toml", "[security]\nmount_cwd = true\n");
    let good = env.project().join("../good");
    env.agentkernel(&["trust"]).directory(&good).run().ok();
    std::os::unix::fs::symlink("../good/agentkernel.toml", env.project().join("agentkernel.toml")).unwrap();
    let shown = env.agentkernel(&["run", "--dry-run", "-i", "host", "--", "true"]).run().ok();
    assert!(shown.out().contains("copy-on-write"), "{shown}");
    env.agentkernel(&["trust"]).run().code(125).error_with_hint(&["symbolic link"]);
}

#[test]
fn agentkernels_own_files_are_never_inside() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "box", "-i", "host"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let look = "find /home/user/.local/share/agentkernel -mindepth 1 | wc -l; find / -xdev -name init.sock 2>/dev/null | wc -l";
    let permissive = ["run", "-i", "host", "-p", "permissive", "--", "sh", "-c", look];
    env.agentkernel(&permissive).run().ok().prints("0\n0\n");
    let volume = format!("{}:/h:ro", env.home().display());
    let script = "find /h -name '*.sock' | wc -l";
    env.agentkernel(&["run", "-i", "host", "-v", &volume, "--", "sh", "-c", script]).run().ok().prints("0\n");
    // Nor in a sandbox that stays, whose own files are among them.
    env.agentkernel(&["sandbox", "create", "two", "-i", "host", "-v", &volume]).run().ok();
    env.agentkernel(&["sandbox", "start", "two"]).run().ok();
    env.agentkernel(&["exec", "two", "--", "sh", "-c", script]).run().ok().prints("0\n");
    let own = format!("{}:/h", env.data().join("sandboxes").display());
    env.agentkernel(&["run", "-i", "host", "-v", &own, "--", "true"])
        .run()
        .code(125)
        .error_with_hint(&["own"]);
    for name in ["box", "two"] {
        env.agentkernel(&["sandbox", "remove", name]).run().ok();
    }
    env.assert_nothing_left();
}

#[test]
fn a_crowded_directory_is_known_by_names_and_not_listed() {
    let env = TestEnv::new();
    for number in 0..5000 {
        fs::write(env.project().join(format!("{number}.lua")), "").unwrap();
    }
    let from = || {
        let shown = env.agentkernel(&["run", "--dry-run", "--json", "--", "./x"]).run().ok().json();
        (shown["spec"]["image"].clone(), shown.to_string())
    };
    let (image, shown) = from();
    assert_eq!(image, "alpine:3.20", "{shown}");
    env.file("project/mix.exs", "");
    let (image, shown) = from();
    assert_eq!(image, "elixir:1.16-alpine", "{shown}");
}
