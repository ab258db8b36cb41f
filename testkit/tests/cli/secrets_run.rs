//! Secrets of sandboxes: what is inside, what never is, and what is refused. Real requests are elsewhere.

use agentkernel_testkit::{
    TestEnv,
    env::{Finished, Invocation},
    proc,
};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

const VALUE: &str = "sk-hidden-0123456789";
const PLACEHOLDER: &str = "ak-proxy-managed";

fn set(env: &TestEnv, name: &str, value: &str) {
    env.agentkernel(&["secret", "set", name, "--host", "api.example.com"]).input(value).run().ok();
}

fn run(env: &TestEnv, flags: &[&str], script: &str) -> Invocation {
    let words = [&["run", "--image", "host", "--no-workspace"], flags, &["--", "sh", "-c", script]].concat();
    env.agentkernel(&words)
}

/// Every file below `directory` in which `what` is.
fn holding(directory: &Path, what: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(holding(&path, what));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(what.len()).any(|part| part == what.as_bytes()))
        {
            found.push(path);
        }
    }
    found
}

/// Whether `what` is in an argument or a variable of any process.
fn is_in_a_process(what: &str) -> bool {
    let shown = |pid: &i32, file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let has = |bytes: Vec<u8>| bytes.windows(what.len()).any(|part| part == what.as_bytes());
    proc::all().unwrap().iter().any(|pid| has(shown(pid, "cmdline")) || has(shown(pid, "environ")))
}

/// It failed with an error and a hint, in which these words are.
#[track_caller]
fn says(refused: Finished, words: &[&str]) {
    let refused = refused.code(125).error_with_hint(&[]);
    for word in words {
        assert!(refused.err().contains(word), "want '{word}': {refused}");
    }
    assert!(!refused.err().contains("hunter2"), "{refused}");
}

fn create(env: &TestEnv, name: &str, flags: &[&str]) {
    env.agentkernel(&[&["sandbox", "create", name, "--image", "host"], flags].concat()).run().ok();
}

#[test]
fn a_command_sees_a_placeholder_and_the_way_out() {
    let env = TestEnv::new();
    set(&env, "MY_KEY", VALUE);
    let out = run(&env, &["--secret", "MY_KEY:api.example.com"], "env").run().ok().out();
    for line in [
        format!("MY_KEY={PLACEHOLDER}"),
        "https_proxy=http://192.0.2.53:3128".to_owned(),
        "NO_PROXY=localhost,127.0.0.1,::1".to_owned(),
        "SSL_CERT_FILE=/run/agentkernel/ca-bundle.crt".to_owned(),
    ] {
        assert!(out.lines().any(|found| found == line), "{line} is not in {out}");
    }
    assert!(!out.contains(VALUE));
    // What somebody wrote wins, and without secrets nothing is set.
    let own =
        run(&env, &["-S", "MY_KEY", "-e", "MY_KEY=mine", "-e", "https_proxy="], "echo $MY_KEY$https_proxy");
    own.run().ok().prints("mine\n");
    let plain = run(&env, &[], "env; ls /run/agentkernel").run().out();
    assert!(!plain.contains("proxy") && !plain.contains("CERT"), "{plain}");
}

#[test]
fn what_a_gateway_is_believed_by_is_there_before_the_command() {
    let env = TestEnv::new();
    set(&env, "MY_KEY", VALUE);
    let script = "test -r $NODE_EXTRA_CA_CERTS && head -c4 /run/agentkernel/cacerts | od -An -tx1 && test -r $SSL_CERT_FILE";
    run(&env, &["-S", "MY_KEY"], script).run().ok().prints(" fe ed fe ed\n");
}

#[test]
fn a_secret_file_is_in_memory_for_whoever_runs_and_gone_afterwards() {
    let env = TestEnv::new();
    set(&env, "DEPLOY", VALUE);
    let script =
        "cd $AGENTKERNEL_SECRETS_PATH && pwd && stat -c '%a %u' DEPLOY && cat DEPLOY && stat -f -c ' %T' .";
    let expected = format!("/run/agentkernel/secrets\n400 0\n{VALUE} tmpfs\n");
    run(&env, &["--secret-file", "DEPLOY"], script).run().ok().prints(&expected);
    // A read-only root has a place for it as well, and no network is needed.
    run(&env, &["--secret-file", "DEPLOY", "--profile", "restrictive"], script).run().ok().prints(&expected);

    create(&env, "box", &["--secret-file", "DEPLOY"]);
    for _ in 0..2 {
        env.agentkernel(&["sandbox", "start", "box"]).run().ok();
        env.agentkernel(&["exec", "box", "--", "cat", "/run/agentkernel/secrets/DEPLOY"])
            .run()
            .ok()
            .prints(VALUE);
        assert_eq!(holding(&env.data(), VALUE), Vec::<PathBuf>::new());
        assert!(!is_in_a_process(VALUE));
        env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
        assert_eq!(holding(&env.data(), VALUE), Vec::<PathBuf>::new());
    }
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
}

#[test]
fn another_user_inside_has_its_own() {
    let env = TestEnv::new();
    set(&env, "DEPLOY", VALUE);
    let finished = run(
        &env,
        &["--backend", "native", "--secret-file", "DEPLOY", "--user", "1000:1000"],
        "stat -c '%a %u:%g' /run/agentkernel/secrets/DEPLOY; cat /run/agentkernel/secrets/DEPLOY",
    )
    .run();
    if finished.err().contains("no subordinate ids") {
        return;
    }
    finished.ok().prints(format!("400 1000:1000\n{VALUE}"));
}

#[test]
fn a_sandbox_that_stays_gets_its_secrets_at_each_start() {
    let env = TestEnv::new();
    set(&env, "MY_KEY", VALUE);
    create(&env, "box", &["-S", "MY_KEY"]);
    let info = env.agentkernel(&["sandbox", "info", "box"]).run().ok().out();
    assert!(info.contains("MY_KEY to the hosts that the vault has for it"), "{info}");
    for _ in 0..2 {
        env.agentkernel(&["sandbox", "start", "box"]).run().ok();
        env.agentkernel(&["exec", "box", "--", "sh", "-c", "echo $MY_KEY"])
            .run()
            .ok()
            .prints(format!("{PLACEHOLDER}\n"));
        assert!(!is_in_a_process(VALUE));
        env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    }
    // Files go in and out of one that runs; to start it needs a vault, which nobody named.
    env.file("project/file", "x");
    let copied = env.agentkernel(&["sandbox", "cp", "file", "box:/tmp/file"]).run();
    says(copied, &["agentkernel sandbox start box"]);
    env.agentkernel(&["secret", "delete", "MY_KEY"]).run().ok();
    let refused = env.agentkernel(&["sandbox", "start", "box"]).run();
    says(refused, &["there is no secret 'MY_KEY'"]);
    env.agentkernel(&["sandbox", "start", "box", "-S", "MY_KEY=sk-another:api.example.com"]).run().ok();
    let late = env.agentkernel(&["sandbox", "start", "box", "-S", "MY_KEY=other:api.example.com"]).run();
    says(late, &["is running", "sandbox stop box"]);
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
}

#[test]
fn rules_that_come_later_bring_what_they_need() {
    let env = TestEnv::new();
    create(&env, "box", &[]);
    let look =
        ["exec", "box", "--", "sh", "-c", "echo $https_proxy; test -s $SSL_CERT_FILE && echo believed"];
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    assert!(!env.agentkernel(&look).run().out().contains("192.0.2.53"));
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["sandbox", "network", "box", "--deny", "POST api.example.com"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&look).run().ok().prints("http://192.0.2.53:3128\nbelieved\n");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
}

#[test]
fn the_memory_of_a_keeper_with_values_is_closed() {
    let env = TestEnv::new();
    set(&env, "MY_KEY", VALUE);
    create(&env, "box", &["-S", "MY_KEY"]);
    create(&env, "plain", &[]);
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.agentkernel(&["sandbox", "start", "plain"]).run().ok();
    let core = |pid: &i32| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        line.split_whitespace().nth(5).unwrap().to_owned()
    };
    let pid = |name: &str| -> i32 {
        let info = env.agentkernel(&["sandbox", "info", name, "--json"]).run().ok().json();
        let lock = env.data().join("sandboxes").join(info["uuid"].as_str().unwrap()).join("keeper.lock");
        fs::read_to_string(lock).unwrap().trim().parse().unwrap()
    };
    let keeper = pid("box");
    assert!(matches!(core(&keeper).as_str(), "0" | "1"), "{}", core(&keeper));
    // proc(5): of a process that is not dumpable it belongs to root, whoever runs it.
    let owner = |pid: i32| fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    assert_eq!(owner(keeper), 0);
    if !env.is_root() {
        assert_ne!(owner(pid("plain")), 0, "the other one shows that this is a test");
    }
    for name in ["box", "plain"] {
        env.agentkernel(&["sandbox", "remove", name]).run().ok();
    }
}

#[test]
fn a_value_on_the_command_line_is_warned_about_and_stays_nowhere() {
    // Not that of other tests, which run beside this one.
    const INLINE: &str = "sk-inline-0123456789";
    let env = TestEnv::new();
    let binding = format!("MY_KEY={INLINE}:api.example.com");
    let ran = run(&env, &["-S", &binding], "echo $MY_KEY").run().ok();
    let warned = ran.err().matches("is on the command line").count();
    assert_eq!((warned, ran.err().contains(INLINE)), (1, false), "{ran}");
    ran.prints(format!("{PLACEHOLDER}\n"));
    create(&env, "box", &["-S", &binding]);
    assert_eq!(holding(&env.data(), INLINE), Vec::<PathBuf>::new());
    // Encrypted, it is there for each start, and with the sandbox it goes.
    let list = env.agentkernel(&["secret", "list"]).run().ok();
    assert!(!list.out().contains("MY_KEY"), "{list}");
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    assert_eq!(holding(&env.data(), INLINE), Vec::<PathBuf>::new());
    assert!(!is_in_a_process(INLINE), "the keeper has it in its memory alone");
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box", "-S", "MY_KEY=sk-other:api.example.com"]).run().ok();
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    fs::remove_dir_all(env.data().join("secrets")).unwrap();
    says(env.agentkernel(&["sandbox", "start", "box"]).run(), &["the vault is another one"]);
    let shown = env.agentkernel(&["sandbox", "info", "box", "--json"]).run().ok().out();
    assert!(!shown.contains(INLINE) && shown.contains("\"caller\""), "{shown}");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
}

#[test]
fn more_than_a_socket_holds_comes_over() {
    let env = TestEnv::new();
    let names: Vec<String> = (0..4).map(|number| format!("LONG_{number}")).collect();
    let long = "x".repeat(65536);
    names.iter().for_each(|name| set(&env, name, &long));
    let flags: Vec<&str> = names.iter().flat_map(|name| ["--secret-file", name]).collect();
    create(&env, "box", &flags);
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let count = ["exec", "box", "--", "sh", "-c", "cat /run/agentkernel/secrets/* | wc -c"];
    env.agentkernel(&count).run().ok().prints("262144\n");
    env.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    // And a keeper that fails before it reads them says why.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("{}:80", held.local_addr().unwrap().port());
    create(&env, "taken", &[&flags[..], &["--publish", &port]].concat());
    says(env.agentkernel(&["sandbox", "start", "taken"]).run(), &["port"]);
    for name in ["box", "taken"] {
        env.agentkernel(&["sandbox", "remove", name]).run().ok();
    }
}

#[test]
fn a_branch_that_runs_takes_no_new_value() {
    let env = TestEnv::new();
    env.directory("project/.git");
    env.file("project/.git/HEAD", "ref: refs/heads/one\n");
    let on_branch = |flags: &[&str]| {
        env.agentkernel(&[&["run", "--branch", "-i", "host"], flags, &["--", "true"]].concat()).run()
    };
    let binding = "MY_KEY=first:api.example.com";
    on_branch(&["-S", binding]).ok();
    on_branch(&["-S", binding]).ok();
    on_branch(&[]).ok();
    says(on_branch(&["-S", "MY_KEY=hunter2:api.example.com"]), &["is running", "sandbox stop project-one"]);
    says(on_branch(&["-S", "OTHER=hunter2:api.example.com"]), &["was not made with secret 'OTHER'"]);
    env.agentkernel(&["sandbox", "stop", "project-one"]).run().ok();
    on_branch(&["-S", "MY_KEY=second:api.example.com"]).ok();
    env.agentkernel(&["sandbox", "remove", "project-one"]).run().ok();
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let env = TestEnv::new();
    set(&env, "MY_KEY", VALUE);
    let binding = "MY_KEY:api.example.com";
    for (flags, words) in [
        (&["--no-network", "-S", binding][..], "need a network"),
        (&["--profile", "restrictive", "-S", binding], "need a network"),
        (&["-S", "MY_KY:api.example.com"], "did you mean 'MY_KEY'?"),
        (&["--secret-file", "MY_KY"], "did you mean 'MY_KEY'?"),
        (&["-S", "MY_KEY:evil.example"], "may not go to evil.example"),
        (&["-S", binding, "-S", "OTHER=x:api.example.com"], "would both be sent to api.example.com"),
        (&["-S", "MY_KEY=hunter2"], "no valid host is named for secret 'MY_KEY'"),
        (&["-S", "ghp_hunter2:github.com"], "a value stands where the name"),
        (&["--secret-file", "ghp_hunter2"], "a value stands where the name"),
        (&["--volume", "/tmp:/run/agentkernel"], "nothing can be mounted on"),
        (&["--volume", "/tmp:/run/agentkernel/secrets/x"], "nothing can be mounted on"),
        (&["--volume", "/tmp:/var/run/agentkernel"], "nothing can be mounted on"),
        (&["--volume", "/tmp:/run"], "nothing can be mounted on '/run'"),
    ] {
        let refused = run(&env, flags, "true").run();
        says(refused, &[words]);
    }
    let left = fs::read_dir(env.data().join("sandboxes")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "a sandbox whose secret is missing is removed again");
}

#[test]
fn a_configuration_binds_secrets_only_when_a_person_says_so() {
    let env = TestEnv::new();
    set(&env, "MY_KEY", VALUE);
    let text = "[sandbox]\nbase_image = \"host\"\n[security]\nsecret_files = [\"MY_KEY\"]\n[secrets]\nMY_KEY = \"api.example.com\"\n";
    env.file("project/agentkernel.toml", text);
    let script = "echo \"[$MY_KEY]\"; cat /run/agentkernel/secrets/MY_KEY";
    let found = env.agentkernel(&["run", "--", "sh", "-c", script]).run();
    assert!(found.out().contains("[]\n") && !found.out().contains(VALUE), "{found}");
    assert!(found.err().contains("secrets.MY_KEY") && found.err().contains("agentkernel trust"), "{found}");
    let named = env.agentkernel(&["run", "--config", "agentkernel.toml", "--", "sh", "-c", script]).run();
    named.ok().prints(format!("[{PLACEHOLDER}]\n{VALUE}"));
    let dry = env.agentkernel(&["run", "--config", "agentkernel.toml", "--dry-run", "true"]).run().ok().out();
    assert!(dry.contains("MY_KEY to api.example.com") && dry.contains("to hosts of secrets"), "{dry}");
    assert!(!dry.contains(VALUE));
}

#[test]
fn settings_of_the_gateway_are_read_where_one_is_made() {
    let env = TestEnv::new();
    env.directory("home/.config/agentkernel");
    env.file("home/.config/agentkernel/gateway.toml", "ca_bundel = \"/x\"\n");
    run(&env, &["--no-network"], "echo fine").run().ok().prints("fine\n");
    let refused = run(&env, &[], "true").run();
    says(refused, &["gateway.toml:1:1: unknown key 'ca_bundel'", "did you mean 'ca_bundle'?"]);
}
