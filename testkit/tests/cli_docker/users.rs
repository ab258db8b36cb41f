//! Users who are not root, on root's Docker.

use super::site::{IMAGE, Site};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
};

/// A user and a group that no machine has.
const USER: u32 = 54_321;

/// Lets everybody as far as the engine's socket.
fn open_the_way(site: &Site) {
    for directory in [site.place().to_owned(), site.place().join("e")] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o711)).unwrap();
    }
}

#[test]
fn a_socket_without_permission_is_said_to_be_one() {
    let Some(site) = Site::for_user(Some(USER)) else { return };
    open_the_way(&site);
    let denied = site.run(&["--", "true"]).run().code(125);
    denied.error_with_hint(&["api.sock", "ermission"]);
    let create =
        site.agentkernel(&["sandbox", "create", "work", "-B", "docker", "-i", IMAGE]).run().code(125);
    create.error_with_hint(&["ermission"]);
    assert_eq!(site.list().json(), serde_json::json!([]));
    let checked = site.agentkernel(&["setup", "--check", "--json"]).run().json();
    let docker = checked.as_array().unwrap().iter().find(|report| report["id"] == "docker").unwrap();
    assert!(docker.to_string().contains("ermission"), "{docker}");
    site.end();
}

#[test]
fn who_may_use_roots_docker_gets_no_view_but_a_copy() {
    let Some(site) = Site::for_user(Some(USER)) else { return };
    open_the_way(&site);
    // As the group `docker` has it.
    chown(site.socket(), Some(0), Some(USER)).unwrap();
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
