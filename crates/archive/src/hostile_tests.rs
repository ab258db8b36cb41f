//! Archives that try to get out, to get big, or to confuse.

use crate::{
    Bounds, UnpackOptions, Unpacked,
    fixture::{Archive, header, names, plain, unpack_to},
};
use agentkernel_model::{Kind, Result};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

/// A directory to unpack into, and beside it files that must stay as they are.
struct Target {
    _all: tempfile::TempDir,
    into: PathBuf,
    outside: PathBuf,
}

impl Target {
    fn new() -> Self {
        let all = tempfile::tempdir().unwrap();
        let (into, outside) = (all.path().join("into"), all.path().join("outside"));
        fs::create_dir(&into).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "mine").unwrap();
        Self { _all: all, into, outside }
    }

    /// Unpacks; whatever comes of it, nothing outside has changed.
    fn unpack(&self, archive: Archive) -> Result<Unpacked> {
        let done = unpack_to(&self.into, &archive.end(), &plain());
        assert_eq!(names(&self.outside), ["secret"]);
        assert_eq!(fs::read_to_string(self.outside.join("secret")).unwrap(), "mine");
        done
    }

    fn refuses(&self, archive: Archive, names: &str) {
        let error = self.unpack(archive).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.message().contains(names), "{error}");
    }
}

#[test]
fn names_that_lead_outside_are_refused() {
    let target = Target::new();
    for name in ["../outside/new", "a/../../outside/new", "..", "/../outside/new"] {
        target.refuses(Archive::default().file(name, "x"), name);
        target.refuses(Archive::default().directory(name), name);
        target.refuses(Archive::default().hard_link("a", name), name);
        target.refuses(Archive::default().pax(b'x', &[("path", name.as_bytes())]).file("a", ""), name);
        target.refuses(Archive::default().entry(b'L', "x", "", name.as_bytes()).file("a", ""), name);
    }
    assert!(names(&target.into).is_empty());
}

#[test]
fn absolute_names_are_below_the_directory() {
    let target = Target::new();
    let name = target.outside.join("secret");
    let name = name.to_str().unwrap();
    target.unpack(Archive::default().pax(b'x', &[("path", name.as_bytes())]).file("a", "theirs")).unwrap();
    assert_eq!(fs::read_to_string(target.into.join(name.trim_start_matches('/'))).unwrap(), "theirs");
}

#[test]
fn links_are_not_followed_outside() {
    let outside = |target: &Target| target.outside.to_str().unwrap().to_owned();
    for link in ["../outside".to_owned(), "/../outside".to_owned(), outside(&Target::new())] {
        // As a parent the link leads to where it would with the directory as the root of everything: to nothing, or
        // to something inside.
        let target = Target::new();
        let link = if link.starts_with("/tmp") { outside(&target) } else { link };
        target.refuses(Archive::default().symlink("l", &link).file("l/new", "x"), "'l'");
        // As the last component it is replaced.
        let target = Target::new();
        let file = format!("{link}/secret");
        target.unpack(Archive::default().symlink("l", &file).file("l", "theirs")).unwrap();
        assert_eq!(fs::read_to_string(target.into.join("l")).unwrap(), "theirs");
        let target = Target::new();
        target.unpack(Archive::default().symlink("l", &link).directory("l").file("l/new", "x")).unwrap();
        assert!(target.into.join("l").symlink_metadata().unwrap().is_dir());
    }
}

#[test]
fn links_inside_are_followed_for_parents() {
    let target = Target::new();
    let archive = Archive::default()
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib")
        .symlink("up", "../../../usr/lib")
        .file("lib/a", "")
        .file("abs/b", "")
        .file("up/c", "");
    target.unpack(archive).unwrap();
    assert_eq!(names(&target.into.join("usr")), ["lib", "lib/a", "lib/b", "lib/c"]);
}

#[test]
fn links_that_turn_in_a_circle_are_refused() {
    let target = Target::new();
    target.refuses(Archive::default().symlink("a", "b").symlink("b", "a").file("a/x", ""), "'a'");
    target.refuses(Archive::default().symlink("self", "self/self").file("self/x", ""), "'self'");
}

#[test]
fn a_directory_cannot_be_swapped_for_a_link_behind_our_back() {
    let target = Target::new();
    let link = target.outside.to_str().unwrap();
    // The directory is kept open from its first file on; what takes its place is seen all the same.
    let archive = Archive::default().file("d/a", "").symlink("d", link).file("d/new", "x");
    target.refuses(archive, "'d'");
    // Modes that come late are for the directory that they were meant for.
    let mut open = header(b'5', "d/sub", "", 0);
    open.set_mode(0o777);
    let target = Target::new();
    let other = Archive::default().directory("e/sub").raw(&mut open, b"").symlink("d", "e");
    target.unpack(other).unwrap();
    let mode = fs::metadata(target.into.join("e/sub")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn hard_links_lead_to_files_inside_only() {
    let target = Target::new();
    let secret = target.outside.join("secret");
    let secret = secret.to_str().unwrap();
    target.refuses(Archive::default().hard_link("h", secret), "not there");
    target.refuses(Archive::default().hard_link("h", "missing"), "not there");
    target.refuses(Archive::default().hard_link("h", "/"), "not there");
    target.refuses(Archive::default().directory("d").hard_link("h", "d"), "a directory");
    target.refuses(Archive::default().file("f", "").hard_link("h", "f/x"), "not there");
    // Through a link: to the link, not to where it leads.
    target.unpack(Archive::default().symlink("s", secret).hard_link("h", "s").file("h", "theirs")).unwrap();
    target.unpack(Archive::default().symlink("s", secret).hard_link("h", "s")).unwrap();
    assert_eq!(fs::read_link(target.into.join("h")).unwrap(), PathBuf::from(secret));
    // To itself: it stays.
    target.unpack(Archive::default().file("f", "kept").hard_link("f", "./f")).unwrap();
    assert_eq!(fs::read_to_string(target.into.join("f")).unwrap(), "kept");
    // To what its own making removes.
    target.refuses(Archive::default().file("d/f", "").hard_link("d", "d/f"), "not there");
}

#[test]
fn devices_are_skipped_and_counted() {
    let target = Target::new();
    let archive = Archive::default().entry(b'3', "null", "", b"").entry(b'4', "disk", "", b"").file("f", "");
    let made = target.unpack(archive).unwrap();
    assert_eq!((made.devices_skipped, names(&target.into)), (2, vec!["f".to_owned()]));
}

#[test]
fn bounds_hold_while_writing() {
    let into = tempfile::tempdir().unwrap();
    let tight = |bytes, entries| UnpackOptions { bounds: Bounds { bytes, entries }, ..plain() };
    let two = Archive::default().file("a", "12345").file("b", "67890").end();
    assert_eq!(unpack_to(into.path(), &two, &tight(10, 2)).unwrap().bytes, 10);
    for (bytes, entries, says) in
        [(9, 2, "9 bytes"), (10, 1, "1 entries"), (0, 2, "0 bytes"), (10, 0, "0 entries")]
    {
        let error = unpack_to(into.path(), &two, &tight(bytes, entries)).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains(says), "{error}");
    }
    // Directories that no entry names count.
    let deep = Archive::default().file("1/2/3/4/5/f", "").end();
    assert!(unpack_to(into.path(), &deep, &tight(0, 5)).is_err());
    unpack_to(into.path(), &deep, &tight(0, 6)).unwrap();
}

#[test]
fn a_declared_size_is_only_a_claim() {
    let target = Target::new();
    let lying = || Archive::default().raw(&mut header(b'0', "big", "", 10 << 30), &[b'x'; 4096]);
    target.refuses(lying(), "ends too early");
    let written = fs::metadata(target.into.join("big")).unwrap();
    let blocks = std::os::unix::fs::MetadataExt::blocks(&written);
    assert!(written.len() < 64 * 1024 && blocks < 256, "{} bytes in {blocks} blocks", written.len());
    // One that keeps its promise stops at the bound.
    let start = lying();
    let real = std::io::Read::chain(start.0.as_slice(), std::io::repeat(b'x'));
    let into = fs::File::open(&target.into).unwrap();
    let error = crate::unpack(real, std::os::fd::AsFd::as_fd(&into), &plain()).unwrap_err();
    assert!(error.message().contains("1048576 bytes"), "{error}");
    assert!(fs::metadata(target.into.join("big")).unwrap().len() <= 1 << 20);
    // Content of what is no file does not count as one.
    let huge = u64::MAX.to_string();
    target
        .refuses(Archive::default().pax(b'x', &[("size", huge.as_bytes())]).file("f", ""), "ends too early");
}

#[test]
fn very_deep_trees_are_refused_and_removed() {
    let target = Target::new();
    let deepest = "d/".repeat(256);
    target.unpack(Archive::default().pax(b'x', &[("path", deepest.as_bytes())]).directory("x")).unwrap();
    target.unpack(Archive::default().file("d", "replaced")).unwrap();
    assert_eq!(names(&target.into), ["d"]);
    let deeper = "d/".repeat(257);
    target.refuses(Archive::default().pax(b'x', &[("path", deeper.as_bytes())]).directory("x"), "too deep");
}
