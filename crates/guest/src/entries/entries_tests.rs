use super::*;
use agentkernel_backend::FileList;
use rustix::fs::{CWD, ResolveFlags};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

/// As the root of a sandbox is resolved, without one.
fn opener(root: &Path) -> impl Fn(&str, OFlags, Mode) -> Result<OwnedFd, Errno> {
    let root = root.to_owned();
    move |path, flags, mode| {
        let at = rustix::fs::openat(CWD, &root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(at, path, flags | OFlags::CLOEXEC, mode, how)
    }
}

fn store(root: &Path, path: &str, content: &str) -> Result<(), Errno> {
    let mut incoming = Incoming::begin(&opener(root), path, 0o644)?;
    incoming.file().write_all(content.as_bytes()).unwrap();
    incoming.commit().unwrap();
    Ok(())
}

fn names(root: &Path) -> Vec<String> {
    list(&opener(root), "/").unwrap().entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn content_replaces_what_was_there_when_it_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    store(root, "/a/b/new", "one").unwrap();
    assert_eq!(fs::read_to_string(root.join("a/b/new")).unwrap(), "one");
    assert_eq!(fs::metadata(root.join("a/b/new")).unwrap().permissions().mode() & 0o7777, 0o644);
    fs::set_permissions(root.join("a/b/new"), fs::Permissions::from_mode(0o4750)).unwrap();

    let open = opener(root);
    let mut incoming = Incoming::begin(&open, "/a/b/new", 0o644).unwrap();
    incoming.file().write_all(b"two").unwrap();
    assert_eq!(fs::read_to_string(root.join("a/b/new")).unwrap(), "one");
    drop(incoming);
    assert_eq!(fs::read_to_string(root.join("a/b/new")).unwrap(), "one");
    assert_eq!(fs::read_dir(root.join("a/b")).unwrap().count(), 1, "nothing is left of it");

    store(root, "/a/b/new", "two").unwrap();
    assert_eq!(fs::read_to_string(root.join("a/b/new")).unwrap(), "two");
    assert_eq!(fs::metadata(root.join("a/b/new")).unwrap().permissions().mode() & 0o7777, 0o750);
}

#[test]
fn links_are_followed_inside_only() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let root = root.path();
    let secret = outside.path().join("secret");
    fs::write(&secret, "of the host").unwrap();
    fs::create_dir(root.join("d")).unwrap();
    symlink("../chain", root.join("d/link")).unwrap();
    symlink("/d/end", root.join("chain")).unwrap();
    symlink(&secret, root.join("absolute")).unwrap();
    symlink("../../../../../../..", root.join("up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();

    store(root, "/d/link", "through").unwrap();
    assert_eq!(fs::read_to_string(root.join("d/end")).unwrap(), "through");
    assert!(root.join("d/link").is_symlink() && root.join("chain").is_symlink());
    // Where the link leads inside, there is no directory.
    assert_eq!(store(root, "/absolute", "x").unwrap_err(), Errno::NOENT);
    store(root, "/up/d/of-up", "inside").unwrap();
    assert_eq!(fs::read_to_string(root.join("d/of-up")).unwrap(), "inside");
    assert_eq!(store(root, "/loop", "x").unwrap_err(), Errno::LOOP);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "of the host");

    remove(&opener(root), "/absolute").unwrap();
    assert!(secret.exists() && !root.join("absolute").is_symlink());
    let below = format!("/up{}", secret.display());
    assert_eq!(remove(&opener(root), &below).unwrap_err(), Errno::NOENT);
    assert!(secret.exists());
}

#[test]
fn what_is_no_file_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("f"), "").unwrap();
    rustix::fs::mknodat(CWD, root.join("fifo"), rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .unwrap();
    assert_eq!(store(root, "/fifo", "x").unwrap_err(), Errno::INVAL);
    assert_eq!(store(root, "/d", "x").unwrap_err(), Errno::INVAL);
    assert_eq!(store(root, "/f/below", "x").unwrap_err(), Errno::NOTDIR);
    assert_eq!(store(root, "/", "x").unwrap_err(), Errno::ISDIR);
    assert_eq!(remove(&opener(root), "/d").unwrap_err(), Errno::ISDIR);
    assert_eq!(remove(&opener(root), "/none").unwrap_err(), Errno::NOENT);
    assert_eq!(list(&opener(root), "/f").unwrap_err(), Errno::NOTDIR);
    remove(&opener(root), "/fifo").unwrap();
    assert_eq!(names(root), ["d", "f"]);
}

#[test]
fn a_listing_is_bounded_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..FileList::MAX {
        fs::write(root.path().join(format!("{n:05}")), "").unwrap();
    }
    let all = list(&opener(root.path()), "/").unwrap();
    assert_eq!((all.entries.len(), all.truncated), (FileList::MAX, false));
    fs::write(root.path().join("one more"), "").unwrap();
    let cut = list(&opener(root.path()), "/").unwrap();
    assert_eq!((cut.entries.len(), cut.truncated), (FileList::MAX, true));
}

#[test]
fn a_listing_fits_one_message_whatever_names_are_in_it() {
    let root = tempfile::tempdir().unwrap();
    let target = "\u{1}".repeat(4000);
    for n in 0..400 {
        symlink(&target, root.path().join(format!("{n}"))).unwrap();
    }
    let cut = list(&opener(root.path()), "/").unwrap();
    assert!(cut.truncated);
    assert!(serde_json::to_vec(&cut).unwrap().len() < 8 << 20);
}
