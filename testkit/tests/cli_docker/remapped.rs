//! Docker with user ids of its own for containers (`userns-remap`): root inside is nobody of this machine.

use super::site::{IMAGE, Site};
use std::fs;

#[test]
fn root_inside_is_another_user_outside_and_everything_else_is_as_elsewhere() {
    let Some(site) = Site::remapped() else { return };
    let map = site.run(&["--", "cat", "/proc/self/uid_map"]).run().ok().out();
    let outside: Vec<&str> = map.split_whitespace().collect();
    assert!(matches!(outside[..], ["0", first, _] if first != "0"), "{map}");
    site.run(&["--", "sh", "-c", "id -u; exit 4"]).run().code(4).prints("0\n");

    // The view is a copy, and what is mounted has an owner whom nobody inside is.
    site.env.file("project/note", "of the project\n");
    let script = "cat note && echo changed >note && cat note";
    let view = ["run", "-B", "docker", "-i", IMAGE, "--", "sh", "-c", script];
    site.agentkernel(&view).run().ok().prints("of the project\nchanged\n");
    let note = site.env.project().join("note");
    assert_eq!(fs::read_to_string(&note).unwrap(), "of the project\n");
    let create = ["sandbox", "create", "work", "-B", "docker", "-i", IMAGE, "--dir", "."];
    site.agentkernel(&create).run().ok();
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    let write = ["exec", "work", "--", "sh", "-c", "cat /workspace/note; echo changed >/workspace/note"];
    let refused = site.agentkernel(&write).run().code(1);
    refused.prints("of the project\n");
    assert_eq!(fs::read_to_string(&note).unwrap(), "of the project\n");
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}
