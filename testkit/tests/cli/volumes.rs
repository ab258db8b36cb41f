//! Managed volumes.

use agentkernel_testkit::TestEnv;
use std::io::{BufRead as _, BufReader};

#[test]
fn a_volume_outlives_sandboxes_and_is_shared() {
    let env = TestEnv::new();
    env.agentkernel(&["volume", "create", "cache"]).run().ok();
    let write = ["run", "-i", "host", "--volume", "cache:/data", "--", "sh", "-c", "echo kept >/data/note"];
    env.agentkernel(&write).run().ok();
    let read = [
        "run",
        "-i",
        "host",
        "-v",
        "cache:/data:ro",
        "--",
        "sh",
        "-c",
        "cat /data/note; ! echo x 2>/dev/null >/data/x",
    ];
    env.agentkernel(&read).run().ok().prints("kept\n");
    let list = env.agentkernel(&["volume", "list"]).run().ok().out();
    assert!(list.starts_with("SLUG") && list.contains("cache"), "{list}");

    env.agentkernel(&["sandbox", "create", "box", "-i", "host", "-v", "cache:/data"]).run().ok();
    let info = env.agentkernel(&["volume", "info", "cache", "--json"]).run().ok().json();
    assert_eq!(info["sandboxes"][0], "box");
    env.agentkernel(&["volume", "delete", "cache", "--force"])
        .run()
        .code(125)
        .error_with_hint(&["used by box"]);
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();

    env.agentkernel(&["volume", "delete", "cache"]).run().code(125).error_with_hint(&["not empty"]);
    env.agentkernel(&["volume", "delete", "cache", "--force"]).run().ok();
    env.agentkernel(&["volume", "list"]).run().ok().prints("");
    assert!(!env.data().join("volumes/cache").exists());
    env.assert_nothing_left();
}

#[test]
fn names_and_sizes_are_checked() {
    let env = TestEnv::new();
    env.agentkernel(&["volume", "create", "data"]).run().ok();
    env.agentkernel(&["volume", "create", "data"]).run().code(125).error_with_hint(&["already"]);
    env.agentkernel(&["volume", "create", "../x"]).run().our_failure().error_with_hint(&["../x"]);
    env.agentkernel(&["volume", "create", "small", "--size", "2GB"])
        .run()
        .code(125)
        .error_with_hint(&["2GB"]);
    assert!(!env.data().join("volumes/small").exists(), "a size that nothing enforces makes no volume");
    let typo = env.agentkernel(&["run", "-i", "host", "-v", "dat:/x", "--", "true"]).run();
    typo.code(125).error_with_hint(&["'dat'"]);
}

#[test]
fn a_volume_that_a_run_uses_stays() {
    let env = TestEnv::new();
    env.agentkernel(&["volume", "create", "cache"]).run().ok();
    // The short road of a run, and the long one.
    env.file("project/c.toml", "[sandbox]\nbase_image = \"host\"\ninit_script = \"true\"\n");
    for flags in [&[][..], &["--config", "c.toml"]] {
        let (input, holding) = std::io::pipe().unwrap();
        let (output, written) = std::io::pipe().unwrap();
        let start = ["run", "-i", "host", "-v", "cache:/data"];
        let script = ["--", "sh", "-c", "echo up; read line; echo kept >/data/note; cat /data/note"];
        let run = env.agentkernel(&start).args(flags).args(script);
        let running = run.stdin(input).stdout(written).start();
        let mut lines = BufReader::new(output).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up", "{flags:?}");
        let refused = env.agentkernel(&["volume", "delete", "cache", "--force"]).run().code(125);
        refused.error_with_hint(&["'cache' is used by a run"]);
        drop(holding);
        assert_eq!(lines.next().unwrap().unwrap(), "kept", "{flags:?}");
        running.finish().ok();
    }
    env.agentkernel(&["volume", "delete", "cache", "--force"]).run().ok();
    env.agentkernel(&["volume", "list"]).run().ok().prints("");
    env.assert_nothing_left();
}
