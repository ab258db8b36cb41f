//! `clean --all`, and what others have in the engine.

use super::site::{IMAGE, Site};
use std::fs;

/// The name of our copies, without the tag.
const COPY: &str = "agentkernel.local/rootfs";

/// A root file system of busybox alone.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name("/bin/busybox", "bin/busybox").unwrap();
    archive.into_inner().unwrap()
}

impl Site {
    pub(crate) fn copies(&self) -> Vec<String> {
        self.images().into_iter().filter(|name| name.starts_with(COPY)).collect()
    }
}

#[test]
fn all_takes_our_copies_of_images_and_nothing_of_others() {
    let Some(site) = Site::start() else { return };
    let theirs = site.api().import(&archive()).unwrap();
    site.api().json("POST", &format!("/images/{theirs}/tag?repo=theirs&tag=1"), None).unwrap();
    site.run(&["--", "true"]).run().ok();
    let copies = site.copies();
    assert_eq!(copies.len(), 1, "{:?}", site.images());

    site.agentkernel(&["clean", "--force"]).run().ok();
    assert_eq!(site.copies(), copies, "images go only with --all");
    // Somebody gave it a name too.
    site.api().json("POST", &format!("/images/{}/tag?repo=named&tag=1", copies[0]), None).unwrap();
    site.agentkernel(&["clean", "--all", "--force"]).run().ok();
    assert_eq!(site.copies(), copies, "it has another name");
    site.api().json("DELETE", "/images/named:1", None).unwrap();

    site.agentkernel(&["clean", "--all", "--force"]).run().ok();
    let left = site.images();
    assert!(
        matches!(left.as_slice(), [own, theirs] if own.starts_with("testkit:") && theirs == "theirs:1"),
        "{left:?}"
    );
    site.end();
}

#[test]
fn a_copy_that_anothers_sandbox_needs_stays() {
    let Some(site) = Site::start() else { return };
    let elsewhere = site.env.directory("elsewhere");
    fs::create_dir_all(elsewhere.join("agentkernel")).unwrap();
    site.sandbox("ours");
    // The same engine, for another data directory, which has no image and needs none to sweep.
    site.agentkernel(&["clean", "--all", "--force"]).env("XDG_DATA_HOME", &elsewhere).run().ok();
    assert_eq!((site.copies().len(), site.status("ours").0.as_str()), (1, "running"));
    let done = site.agentkernel(&["clean", "--all", "--force"]).run().ok();
    assert!(done.out().contains("ours") && done.out().contains(IMAGE), "{done}");
    assert_eq!((site.copies().len(), site.containers().len()), (0, 0));
    site.end();
}
