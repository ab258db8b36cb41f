use super::*;
use crate::{
    Ownership, UnpackOptions, Whiteouts,
    access::Unlocked,
    fixture::{Archive, header, plain, unpack_to},
};
use agentkernel_model::Kind;
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};
use tar::EntryType;

fn layer() -> UnpackOptions {
    UnpackOptions { whiteouts: Whiteouts::Overlay, ..plain() }
}

fn packed(layer: &Path, owners: LayerOwners) -> Result<(Packed, Vec<u8>)> {
    let mut archive = Vec::new();
    let made = pack_layer(File::open(layer).unwrap().as_fd(), &mut archive, owners)?;
    Ok((made, archive))
}

/// What the `tar` crate, which is not ours, finds: names, types, owners and modes.
fn listed(archive: &[u8]) -> Vec<(String, EntryType, u64, u32)> {
    let mut archive = tar::Archive::new(archive);
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let entry = entry.unwrap();
        let (path, header) = (entry.path().unwrap().display().to_string(), entry.header());
        (path, header.entry_type(), header.uid().unwrap() + header.gid().unwrap(), header.mode().unwrap())
    };
    archive.entries().unwrap().map(entry).collect()
}

fn example() -> Vec<u8> {
    let mut mine = header(b'0', "owned", "", 1);
    mine.set_uid(1000);
    mine.set_gid(7);
    Archive::default()
        .file(".wh.gone", "")
        .file("d/.wh.gone", "")
        .directory("opaque")
        .file("opaque/kept", "x")
        .file("opaque/.wh..wh..opq", "")
        .raw(&mut mine, b"x")
        .symlink("s", "/etc/passwd")
        .file(".wh..wh..opq", "")
        .end()
}

#[test]
fn whiteouts_have_their_names_again() {
    let root = tempfile::tempdir().unwrap();
    unpack_to(root.path(), &example(), &layer()).unwrap();
    let (made, archive) = packed(root.path(), LayerOwners::Root).unwrap();
    let names: Vec<_> = listed(&archive).into_iter().map(|entry| entry.0).collect();
    let expected = [
        "./",
        ".wh..wh..opq",
        "d/",
        "d/.wh.gone",
        ".wh.gone",
        "opaque/",
        "opaque/.wh..wh..opq",
        "opaque/kept",
        "owned",
        "s",
    ];
    assert_eq!(names, expected);
    assert_eq!(made, Packed { bytes: 2, entries: 10, skipped: 0 });
}

#[test]
fn a_layer_that_was_packed_unpacks_to_itself() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    unpack_to(first.path(), &example(), &layer()).unwrap();
    let archive = packed(first.path(), LayerOwners::Root).unwrap().1;
    unpack_to(second.path(), &archive, &layer()).unwrap();
    assert_eq!(packed(second.path(), LayerOwners::Root).unwrap().1, archive);
}

#[test]
fn owners_are_kept_or_become_root() {
    let root = tempfile::tempdir().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let ownership = if is_root { Ownership::Archive } else { Ownership::Caller };
    unpack_to(root.path(), &example(), &UnpackOptions { ownership, ..layer() }).unwrap();
    let owner = |owners| {
        let archive = packed(root.path(), owners).unwrap().1;
        listed(&archive).into_iter().find(|entry| entry.0 == "owned").unwrap().2
    };
    assert_eq!(owner(LayerOwners::Root), 0);
    let meta = root.path().join("owned").symlink_metadata().unwrap();
    assert_eq!(owner(LayerOwners::Kept), u64::from(meta.uid()) + u64::from(meta.gid()));
    if is_root {
        assert_eq!(owner(LayerOwners::Kept), 1007);
    }
}

#[test]
fn capabilities_travel_with_their_owners() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("ping"), "").unwrap();
    // VFS_CAP_REVISION_2 with the effective bit: CAP_NET_RAW.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let file = File::open(root.path().join("ping")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::fsetxattr(&file, "security.capability", &capability, flags).is_err() {
        return;
    }
    let has = |owners| {
        let archive = packed(root.path(), owners).unwrap().1;
        archive.windows(capability.len()).any(|window| window == capability)
    };
    assert!(has(LayerOwners::Kept));
    assert!(!has(LayerOwners::Root));
}

#[test]
fn a_file_whose_name_would_remove_another_is_refused() {
    for name in [".wh.passwd", ".wh..wh..opq", ".wh..wh.plnk", ".wh."] {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc").join(name), "").unwrap();
        let error = packed(root.path(), LayerOwners::Root).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
}

#[test]
fn devices_that_are_no_whiteouts_are_skipped() {
    let root = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let (made, archive) = packed(root.path(), LayerOwners::Root).unwrap();
    assert_eq!((made.skipped, listed(&archive).len()), (1, 1));
}

#[test]
fn what_its_owner_may_not_read_is_packed_and_locked_again() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("shadow");
    fs::write(&path, "secret").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let (made, archive) = packed(root.path(), LayerOwners::Root).unwrap();
    assert_eq!(made.bytes, 6);
    let shadow = listed(&archive).into_iter().find(|entry| entry.0 == "shadow").unwrap();
    assert_eq!(shadow.3, 0o000);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o000);
    if !rustix::process::geteuid().is_root() {
        let error = packed(root.path(), LayerOwners::Kept).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
    }
}

#[test]
fn a_locked_file_has_its_mode_again() {
    let root = tempfile::tempdir().unwrap();
    let directory = File::open(root.path()).unwrap();
    for (name, mode) in [("a", 0o000), ("b", 0o111), ("c", 0o040)] {
        let path = root.path().join(name);
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let facts = kernel::look_at(&directory, name.as_bytes()).unwrap();
        let open = Unlocked::open(directory.as_fd(), name.as_bytes(), &facts).unwrap();
        assert_eq!((open.mode(), path.metadata().unwrap().mode() & 0o7777), (mode, mode | 0o400));
        drop(open);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode);
        // Another file of this name is left alone.
        fs::remove_file(&path).unwrap();
        let _keeps_the_number_apart = File::create(root.path().join(format!("{name}2"))).unwrap();
        fs::write(&path, "x").unwrap();
        let seen = kernel::look_at(&directory, name.as_bytes()).unwrap();
        if seen.id != facts.id {
            assert_eq!(Unlocked::open(directory.as_fd(), name.as_bytes(), &facts).err(), Some(Errno::NOENT));
        }
    }
}
