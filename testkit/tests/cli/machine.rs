//! Machines that lack something: user namespaces, or room on the disk. Both are made with unshare(1), for the command
//! alone.

use agentkernel_testkit::{
    TestEnv,
    env::{Invocation, product_binary},
};
use std::path::Path;

/// `script` in namespaces of its own, as root of them.
fn apart(env: &TestEnv, flags: &str, script: &str) -> Invocation {
    let script = format!("ak={}; {script}", product_binary().display());
    env.program(Path::new("/usr/bin/unshare"), &[flags, "--", "/bin/sh", "-c", &script])
}

#[test]
fn a_kernel_without_user_namespaces_is_named_with_the_setting() {
    let env = TestEnv::new();
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec $ak run -i host -- true";
    apart(&env, "-Ur", script).run().code(125).error_with_hint(&["namespaces"]);
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec $ak setup --check";
    let finished = apart(&env, "-Ur", script).run();
    let text = format!("{}{}", finished.out(), finished.err());
    assert!(text.contains("user.max_user_namespaces"), "the setting to change: {finished}");
    env.assert_nothing_left();
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let env = TestEnv::new();
    if !env.is_root() {
        println!("skipped: only root can mount a small file system and then still have ids to give away");
        return;
    }
    let small = env.directory("small");
    let on_full_disk = |then: &str| {
        let script = format!(
            "mount -t tmpfs -o size=256k none {0} && export XDG_DATA_HOME={0} && cat /dev/zero >{0}/fill 2>/dev/null; {then}",
            small.display()
        );
        apart(&env, "-m", &script).run()
    };
    on_full_disk("exec $ak run -i host -- true").code(125).error_with_hint(&["No space left"]);
    on_full_disk("exec $ak sandbox create demo -i host").code(125).error_with_hint(&["full"]);
    let script = "$ak sandbox create demo -i host 2>/dev/null; rm $XDG_DATA_HOME/fill; $ak sandbox create demo -i host >&2 \
                  && $ak sandbox start demo >&2 && $ak exec demo -- echo works; $ak sandbox remove demo >&2";
    on_full_disk(script).ok().prints("works\n");
}
