//! Files into and out of sandboxes.

use agentkernel_testkit::TestEnv;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

fn sandbox(env: &TestEnv) {
    env.agentkernel(&["sandbox", "create", "box", "-i", "host"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
}

fn inside(env: &TestEnv, script: &str) -> String {
    env.agentkernel(&["exec", "box", "--", "sh", "-c", script]).run().ok().out()
}

#[test]
fn directories_go_in_and_come_out_as_they_are() {
    let env = TestEnv::new();
    sandbox(&env);
    env.directory("project/tree/deep");
    env.file("project/tree/deep/file", "content\n");
    env.file("project/tree/script", "#!/bin/sh\n");
    fs::set_permissions(env.project().join("tree/script"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("deep/file", env.project().join("tree/link")).unwrap();
    symlink("/etc/passwd", env.project().join("tree/outside")).unwrap();

    env.agentkernel(&["sandbox", "cp", "tree", "box:/srv/new"]).run().ok();
    assert_eq!(
        inside(&env, "cat /srv/new/link; readlink /srv/new/outside; stat -c %a /srv/new/script"),
        "content\n/etc/passwd\n755\n"
    );
    // Into a directory that is there, and with /. only what is in it.
    env.agentkernel(&["sandbox", "cp", "tree", "box:/srv"]).run().ok();
    env.agentkernel(&["sandbox", "cp", "tree/.", "box:/srv"]).run().ok();
    assert_eq!(inside(&env, "cat /srv/tree/deep/file /srv/deep/file"), "content\ncontent\n");

    env.agentkernel(&["sandbox", "cp", "box:/srv/new", "back"]).run().ok();
    let back = env.project().join("back");
    assert_eq!(fs::read_to_string(back.join("deep/file")).unwrap(), "content\n");
    assert_eq!(fs::read_link(back.join("outside")).unwrap().to_str(), Some("/etc/passwd"));
    assert_eq!(back.join("script").metadata().unwrap().permissions().mode() & 0o777, 0o755);
    // Again: what is there is merged.
    env.agentkernel(&["sandbox", "cp", "box:/srv/new/.", "back"]).run().ok();
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn single_files_take_the_name_that_is_written() {
    let env = TestEnv::new();
    sandbox(&env);
    env.file("project/a", "one");
    env.agentkernel(&["sandbox", "cp", "a", "box:/root/b"]).run().ok();
    env.agentkernel(&["sandbox", "cp", "a", "box:/root"]).run().ok();
    assert_eq!(inside(&env, "cat /root/a /root/b"), "oneone");
    env.agentkernel(&["sandbox", "cp", "box:/root/b", "."]).run().ok();
    env.agentkernel(&["sandbox", "cp", "box:/root/b", "c"]).run().ok();
    for name in ["b", "c"] {
        assert_eq!(fs::read_to_string(env.project().join(name)).unwrap(), "one");
    }
    let json = env.agentkernel(&["sandbox", "cp", "--json", "box:/root/b", "c"]).run().ok().json();
    assert_eq!((json["bytes"].as_u64(), json["entries"].as_u64()), (Some(3), Some(1)));
    // A link comes out as a link: what it says is the sandbox's word, and leads nowhere here that was asked for.
    inside(&env, "ln -s /etc/shadow /root/link");
    env.agentkernel(&["sandbox", "cp", "box:/root/link", "link"]).run().ok();
    assert_eq!(fs::read_link(env.project().join("link")).unwrap().to_str(), Some("/etc/shadow"));
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn nothing_of_a_sandbox_lands_beside_the_target() {
    let env = TestEnv::new();
    sandbox(&env);
    env.file("victim", "mine");
    env.directory("project/out");
    // A link in the target's place, made by who could write there.
    symlink(env.project().join("../victim"), env.project().join("out/file")).unwrap();
    inside(&env, "mkdir -p /srv/x/sub; echo theirs >/srv/x/file; echo theirs >/srv/x/sub/f");
    env.agentkernel(&["sandbox", "cp", "box:/srv/x/.", "out"]).run().ok();
    assert_eq!(fs::read_to_string(env.project().join("../victim")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(env.project().join("out/file")).unwrap(), "theirs\n");
    let entries: Vec<_> =
        fs::read_dir(env.project()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(entries, ["out"], "no parcel is left");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
}

#[test]
fn a_stopped_sandbox_is_started_for_a_copy_and_stopped_again() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "box", "-i", "host"]).run().ok();
    env.file("project/a", "one");
    env.agentkernel(&["sandbox", "cp", "a", "box:/root/a"]).run().ok();
    let info = env.agentkernel(&["sandbox", "info", "box", "--json"]).run().ok().json();
    assert_eq!(info["status"], "stopped");
    env.agentkernel(&["sandbox", "cp", "box:/root/a", "b"]).run().ok();
    assert_eq!(fs::read_to_string(env.project().join("b")).unwrap(), "one");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn an_export_holds_the_sandboxs_own_files() {
    let env = TestEnv::new();
    sandbox(&env);
    inside(&env, "echo kept >/root/note; ln -s note /root/link");
    env.agentkernel(&["sandbox", "export", "box", "-o", "backup.tar"]).run().ok();
    let list = std::process::Command::new("tar")
        .args(["-tvf", env.project().join("backup.tar").to_str().unwrap()])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("root/note") && list.contains("root/link -> note"), "{list}");
    assert!(!list.contains("usr/bin/env"), "the machine's files are not the sandbox's");
    assert!(!list.contains("proc/1"), "{list}");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn what_cannot_be_copied_says_why() {
    let env = TestEnv::new();
    sandbox(&env);
    env.directory("project/tree");
    env.file("project/a", "");
    for (words, told) in [
        (["a", "b"], "exactly one side"),
        (["box:/x", "box:/y"], "exactly one side"),
        (["missing", "box:/x"], "no '"),
        (["box:/missing", "x"], "'/missing'"),
        (["a", "box:rel"], "absolute"),
        (["tree", "box:/etc/passwd"], "no directory"),
        (["box:/etc", "a"], "no directory"),
        (["a", "box:/proc/x"], "/proc"),
    ] {
        let said = env.agentkernel(&["sandbox", "cp", words[0], words[1]]).run();
        assert_ne!(said.code, Some(0), "{words:?}: {said}");
        assert!(said.err().contains(told), "{words:?}: {said}");
    }
    env.agentkernel(&["sandbox", "cp", "a", "nobox:/x"]).run().code(125).error_with_hint(&["nobox"]);
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn no_link_on_this_side_is_followed() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "box", "-i", "host", "--dir", "."]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    env.directory("home/.ssh");
    env.file("home/.ssh/id", "secret");
    // What a sandbox that can write the project may leave in it.
    inside(
        &env,
        "mkdir -p /root/out; echo evil >/root/out/authorized_keys; ln -s ../home/.ssh out; ln -s ../home/.ssh/id report",
    );
    for words in
        [["box:/root/out/.", "./out"], ["box:/root/out", "./out"], ["box:/root/out/authorized_keys", "out/x"]]
    {
        let refused = env.agentkernel(&["sandbox", "cp", words[0], words[1]]).run().code(125);
        refused.error_with_hint(&["symbolic link"]);
    }
    assert!(!env.home().join(".ssh/authorized_keys").exists() && !env.home().join(".ssh/out").exists());
    // The other way a link is copied as the link that it is.
    env.agentkernel(&["sandbox", "cp", "report", "box:/root/report"]).run().ok();
    assert_eq!(inside(&env, "readlink /root/report"), "../home/.ssh/id\n");
    env.agentkernel(&["sandbox", "cp", "out/id", "box:/root/id"])
        .run()
        .code(125)
        .error_with_hint(&["symbolic link"]);
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn a_copy_removes_no_directory_of_ours() {
    let env = TestEnv::new();
    sandbox(&env);
    env.directory("project/src/deep");
    env.file("project/src/deep/work", "work");
    inside(&env, "mkdir -p /root/res; echo x >/root/res/src; ln -s /tmp /root/res/link");
    let refused = env.agentkernel(&["sandbox", "cp", "box:/root/res/.", "."]).run().code(125);
    assert!(refused.err().contains("src"), "{refused}");
    assert_eq!(fs::read_to_string(env.project().join("src/deep/work")).unwrap(), "work");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
}

#[test]
fn holes_of_a_file_stay_holes() {
    let env = TestEnv::new();
    sandbox(&env);
    let made =
        "truncate -s 200M /srv/holes; echo middle | dd of=/srv/holes bs=1M seek=100 conv=notrunc status=none";
    inside(&env, made);
    env.agentkernel(&["sandbox", "cp", "box:/srv/holes", "holes"]).run().ok();
    let copy = env.project().join("holes");
    let meta = copy.metadata().unwrap();
    assert_eq!(meta.len(), 200 << 20);
    assert!(meta.blocks() * 512 < 1 << 20, "{} bytes on disk", meta.blocks() * 512);
    env.agentkernel(&["sandbox", "cp", "holes", "box:/srv/back"]).run().ok();
    assert_eq!(inside(&env, "cmp /srv/holes /srv/back && du -m /srv/back | cut -f1"), "1\n");
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}
