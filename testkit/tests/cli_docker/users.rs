//! Users who are not root, on root's Docker.

use super::site::{IMAGE, STRANGER, Site};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
};

#[test]
fn who_may_use_roots_docker_gets_no_view_but_a_copy() {
    let Some(site) = Site::for_stranger() else { return };
    // As the group `docker` has it.
    chown(site.socket(), Some(0), Some(STRANGER)).unwrap();
    fs::set_permissions(site.socket(), fs::Permissions::from_mode(0o660)).unwrap();
    site.env.file("project/note", "of the project\n");
    let with_project = ["run", "-B", "docker", "-i", IMAGE, "--", "cat", "note"];
    site.agentkernel(&with_project).run().ok().prints("of the project\n");
    let change = ["run", "-B", "docker", "-i", IMAGE, "--", "sh", "-c", "echo changed >note; exit 3"];
    site.agentkernel(&change).run().code(3);
    assert_eq!(fs::read_to_string(site.env.project().join("note")).unwrap(), "of the project\n");
    site.run(&["--", "echo", "x"]).run().ok().prints("x\n");

    let create = ["sandbox", "create", "work", "-B", "docker", "-i", IMAGE, "--dir", ".:view"];
    site.agentkernel(&create).run().ok();
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    let write = ["exec", "work", "--", "sh", "-c", "cat /workspace/note; echo changed >/workspace/note"];
    site.agentkernel(&write).run().ok().prints("of the project\n");
    assert_eq!(fs::read_to_string(site.env.project().join("note")).unwrap(), "of the project\n");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}
