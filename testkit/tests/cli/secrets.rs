//! `agentkernel secret`: what is kept, what is shown, and what never is.

use agentkernel_testkit::TestEnv;
use rustix::{fs::Mode, process::Signal};
use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::mpsc::channel,
    time::Duration,
};

const VALUE: &str = "sk-ant-hidden-0123456789";

/// Every file below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn set(env: &TestEnv, name: &str, value: &str) {
    env.agentkernel(&["secret", "set", name]).input(value).run().ok();
}

fn names(env: &TestEnv) -> Vec<String> {
    let list = env.agentkernel(&["secret", "list", "--json"]).run().ok().json();
    list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_secret_is_set_shown_listed_and_deleted() {
    let env = TestEnv::new();
    let list = env.agentkernel(&["secret", "list"]).run().ok();
    assert!(list.prints("").err().contains("no secrets found"));
    let made =
        env.agentkernel(&["secret", "set", "ANTHROPIC_API_KEY"]).input(format!("{VALUE}\n")).run().ok();
    let said = made.out();
    assert!(
        said.contains("'ANTHROPIC_API_KEY' in the file vault") && said.contains("api.anthropic.com"),
        "{said}"
    );
    assert!(made.err().contains("key is in a file"), "what protects it is said: {made}");

    env.agentkernel(&["secret", "get", "ANTHROPIC_API_KEY"]).run().ok().prints(format!("{VALUE}\n"));
    let again = env
        .agentkernel(&["secret", "set", "ANTHROPIC_API_KEY", "--stdin", "--json"])
        .input("other\r\n")
        .run();
    let again = again.ok().json();
    assert!(again["replaced"] == true && again["hosts"][0] == "api.anthropic.com", "{again}");
    env.agentkernel(&["secret", "get", "ANTHROPIC_API_KEY"]).run().ok().prints("other\n");

    let hosts = [
        "secret",
        "set",
        "MINE",
        "-",
        "--host",
        "API.example.com",
        "--host",
        "*.example.org",
        "--header",
        "X-Mine",
    ];
    env.agentkernel(&hosts).input("two\nlines\n").run().ok();
    env.agentkernel(&["secret", "get", "MINE"]).run().ok().prints("two\nlines\n");
    let list = env.agentkernel(&["secret", "list", "--json"]).run().ok().json();
    assert_eq!(list[1]["name"], "MINE");
    assert_eq!(list[1]["hosts"], serde_json::json!(["api.example.com", "*.example.org"]));
    assert_eq!((&list[1]["header"], &list[1]["vault"]), (&"x-mine".into(), &"file".into()));
    assert!(list[1]["set_at"].as_str().unwrap().ends_with('Z'), "{list}");
    assert!(list[1].get("value").is_none(), "{list}");
    let table = env.agentkernel(&["secret", "list"]).run().ok().out();
    assert!(
        table.starts_with("KEY") && table.contains("*.example.org") && !table.contains("lines"),
        "{table}"
    );

    env.agentkernel(&["secret", "delete", "MINE"]).run().ok();
    assert_eq!(names(&env), ["ANTHROPIC_API_KEY"]);
    env.agentkernel(&["secret", "get", "MINE"]).run().code(125).error_with_hint(&["'MINE'"]);
    env.agentkernel(&["secret", "delete", "MINE"]).run().code(125).error_with_hint(&["'MINE'"]);
}

#[test]
fn mistakes_are_told_and_values_are_not() {
    let env = TestEnv::new();
    set(&env, "ANTHROPIC_API_KEY", VALUE);
    let typo = env.agentkernel(&["secret", "get", "ANTHROPIC_API_KYE"]).run().code(125);
    assert!(typo.error_with_hint(&["ANTHROPIC_API_KYE"]).err().contains("did you mean 'ANTHROPIC_API_KEY'?"));
    let warned = env.agentkernel(&["secret", "set", "OTHER", VALUE]).run().ok();
    assert!(warned.err().contains("list of processes") && !warned.err().contains(VALUE), "{warned}");
    let long = "x".repeat(64 * 1024 + 1);
    for (words, input) in [
        // The value where the name should be.
        (&["secret", "set", VALUE][..], ""),
        (&["secret", "set", "ghp_hidden0123", "x"], ""),
        (&["secret", "get", VALUE], ""),
        (&["secret", "set", "K"], ""),
        (&["secret", "set", "K"], "\n"),
        (&["secret", "set", "K"], long.as_str()),
        (&["secret", "set", "K", "--host", "10.0.0.1"], VALUE),
        (&["secret", "set", "K", "--host", "https://a.com"], VALUE),
        (&["secret", "set", "K", "--header", "X-Key: sk-ant-hidden-0123456789"], VALUE),
        (&["secret", "set", "K", "--header", "Host"], VALUE),
        (&["secret", "set", "K", "--vault", "fiel"], VALUE),
        (&["secret", "set", "K", "--vault", "env"], VALUE),
        (&["secret", "set", "K", "--vault", "keychain"], VALUE),
        (&["secret", "set", "K", "--key", "passphrase"], VALUE),
        (&["secret", "delete", "K", "--vault", "env"], ""),
        (&["secret", "set", "K", "my", VALUE], ""),
        (&["secret", "set", "K", "--host", VALUE], ""),
        (&["secret", "set", "K", "--vault", VALUE], ""),
        (&["secret", "set", "K", "--key", VALUE], ""),
        (&["secret", "set", "K", "-----BEGIN sk-ant-hidden-0123456789"], ""),
        (&["secret", "set", "K", "--sk-ant-hidden-0123456789"], ""),
    ] {
        let told = env.agentkernel(words).input(input).run().code(125).error_with_hint(&[]);
        for hidden in [VALUE, "ghp_hidden", "xxxxxxxx"] {
            assert!(!told.err().contains(hidden), "{told}");
        }
    }
    assert_eq!(names(&env), ["ANTHROPIC_API_KEY", "OTHER"]);
}

#[test]
fn no_file_of_this_user_holds_a_value_in_clear() {
    let env = TestEnv::new();
    set(&env, "ANTHROPIC_API_KEY", VALUE);
    env.agentkernel(&["secret", "get", "ANTHROPIC_API_KEY"]).run().ok();
    env.agentkernel(&["run", "-i", "host", "--", "true"]).run().ok();
    let all = files(&env.home());
    assert!(all.iter().any(|path| path.ends_with("secrets/vault")), "{all:?}");
    for path in all {
        let bytes = fs::read(&path).unwrap();
        for text in [VALUE, "ANTHROPIC_API_KEY"] {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{text} is in {}", path.display());
        }
        if path.parent().unwrap().ends_with("secrets") {
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn a_vault_that_is_not_private_or_not_whole_is_refused_and_left_alone() {
    let env = TestEnv::new();
    set(&env, "A", VALUE);
    let (vault, aside) = (env.data().join("secrets/vault"), env.data().join("aside"));
    let refused = |what: &str| {
        for words in [
            &["secret", "get", "A"][..],
            &["secret", "list"],
            &["secret", "set", "B"],
            &["secret", "delete", "A"],
        ] {
            let told = env.agentkernel(words).input("x").run().code(125);
            assert!(told.error_with_hint(&["secrets/vault"]).err().contains("hint"), "{what}");
        }
    };
    fs::set_permissions(&vault, Permissions::from_mode(0o644)).unwrap();
    refused("readable by others");
    fs::set_permissions(&vault, Permissions::from_mode(0o600)).unwrap();
    fs::rename(&vault, &aside).unwrap();
    symlink(&aside, &vault).unwrap();
    refused("a link");
    fs::remove_file(&vault).unwrap();
    fs::rename(&aside, &vault).unwrap();
    let whole = fs::read(&vault).unwrap();
    for broken in [&whole[..whole.len() - 1], b"", b"{\"secrets\":{}}"] {
        fs::write(&vault, broken).unwrap();
        refused("broken");
        assert_eq!(fs::read(&vault).unwrap(), broken);
    }
    fs::write(&vault, &whole).unwrap();
    env.agentkernel(&["secret", "get", "A"]).run().ok().prints(format!("{VALUE}\n"));
}

#[test]
fn a_passphrase_comes_from_a_private_file() {
    let env = TestEnv::new();
    let right = env.file("project/right", "correct horse\n");
    let wrong = env.file("project/wrong", "wrong horse\n");
    for file in [&right, &wrong] {
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }
    let set = ["secret", "set", "A", "--key", "passphrase", "--passphrase-file", "right"];
    env.agentkernel(&set).input(VALUE).run().ok();
    assert!(!env.data().join("secrets/vault.key").exists());
    let get = |file: &str| env.agentkernel(&["secret", "get", "A", "--passphrase-file", file]).run();
    get("right").ok().prints(format!("{VALUE}\n"));
    get("wrong").code(125).error_with_hint(&["passphrase"]);
    get("none").code(125).error_with_hint(&["none"]);
    fs::set_permissions(&right, Permissions::from_mode(0o644)).unwrap();
    get("right").code(125).error_with_hint(&["right"]);
}

#[test]
fn the_environment_is_a_vault_when_it_is_named() {
    let env = TestEnv::new();
    let ask =
        |words: &[&str]| env.agentkernel(words).env("OPENAI_API_KEY", VALUE).env("OTHER", "no secret").run();
    ask(&["secret", "get", "OPENAI_API_KEY", "--vault", "env"]).ok().prints(format!("{VALUE}\n"));
    ask(&["secret", "get", "OPENAI_API_KEY"]).code(125).error_with_hint(&["OPENAI_API_KEY"]);
    let list = ask(&["secret", "list", "--vault", "env", "--json"]).ok().json();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &"OPENAI_API_KEY".into()), "{list}");
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let env = TestEnv::new();
    set(&env, "KEPT", VALUE);
    let whole = env.agentkernel(&["secret", "set", "KEPT"]).input(VALUE).run().ok().elapsed;
    let rounds = 40;
    for round in 0..rounds {
        let name = format!("K{round}");
        let live = env.agentkernel(&["secret", "set", &name]).input("value").start();
        // From its first moment to past its end.
        let _killed_below = live.ends_within(whole * round / rounds * 2);
        live.signal(Signal::KILL);
        let ended = live.finish();
        env.agentkernel(&["secret", "get", "KEPT"]).run().ok().prints(format!("{VALUE}\n"));
        if ended.code == Some(0) {
            env.agentkernel(&["secret", "get", &name]).run().ok().prints("value\n");
        }
    }
    set(&env, "AFTER", "after");
    assert!(!env.data().join("secrets/vault.new").exists());
    env.assert_nothing_left();
}

#[test]
fn writers_at_once_lose_nothing() {
    let env = TestEnv::new();
    let all: Vec<String> = (0..12).map(|n| format!("K{n:02}")).collect();
    let live: Vec<_> =
        all.iter().map(|name| env.agentkernel(&["secret", "set", name]).input("v").start()).collect();
    live.into_iter().for_each(|live| drop(live.finish().ok()));
    assert_eq!(names(&env), all);
}

#[test]
fn a_sandbox_does_not_see_the_vault() {
    let env = TestEnv::new();
    set(&env, "A", VALUE);
    let data = env.data();
    let script = format!("ls -A {0}/secrets {0}/secrets/vault.key; true", data.display());
    let inside =
        env.agentkernel(&["run", "-i", "host", "-p", "permissive", "--", "sh", "-c", &script]).run().ok();
    assert!(inside.out().is_empty(), "{inside}");
    let mount = format!("{}:/x", data.join("secrets").display());
    env.agentkernel(&["run", "-i", "host", "-v", &mount, "--", "true"]).run().our_failure();
}

/// What is said here holds while it waits for a passphrase, with the value in its memory already.
#[test]
fn a_process_that_has_a_value_leaves_no_core_and_shows_no_memory() {
    let env = TestEnv::new();
    let pipe = env.project().join("passphrase");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
    fs::set_permissions(&pipe, Permissions::from_mode(0o666)).unwrap();
    let words = ["secret", "set", "A", "--key", "passphrase", "--passphrase-file", "passphrase"];
    let live = env.agentkernel(&words).input(VALUE).start();
    // Opening it to write returns when it is opened to be read.
    let (told, hear) = channel();
    std::thread::spawn(move || told.send(OpenOptions::new().write(true).open(pipe)));
    let mut writer = hear.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    let place = PathBuf::from(format!("/proc/{}", live.pid()));
    let limits = fs::read_to_string(place.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // proc(5): of a process that is not dumpable it belongs to root.
    assert_eq!(fs::metadata(place.join("mem")).unwrap().uid(), 0);
    writer.write_all(b"correct horse\n").unwrap();
    drop(writer);
    live.finish().ok();
}
