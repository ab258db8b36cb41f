//! Managed volumes.

use agentkernel_testkit::TestEnv;

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
