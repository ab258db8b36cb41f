use crate::{
    Existing, Ownership, UnpackOptions,
    fixture::{Archive, header, names, plain, unpack_to},
};
use agentkernel_model::Kind;
use rustix::fs::{Mode, XattrFlags};
use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn files_directories_and_links_arrive() {
    let into = tempfile::tempdir().unwrap();
    let archive = Archive::default()
        .directory("d")
        .file("d/f", "content")
        .hard_link("d/g", "/d/f")
        .symlink("d/s", "../anywhere/../../at all")
        .entry(b'6', "d/p", "", b"")
        .file("made/on/the/way", "x");
    let made = unpack_to(into.path(), &archive.end(), &plain()).unwrap();
    assert_eq!((made.bytes, made.entries, made.devices_skipped), (8, 9, 0));
    let at = |name: &str| into.path().join(name);
    assert_eq!(fs::read_to_string(at("d/f")).unwrap(), "content");
    assert_eq!(at("d/f").metadata().unwrap().ino(), at("d/g").metadata().unwrap().ino());
    assert_eq!(fs::read_link(at("d/s")).unwrap(), Path::new("../anywhere/../../at all"));
    assert!(at("d/p").symlink_metadata().unwrap().file_type().is_fifo());
    assert_eq!((mode(&at("d/f")), mode(&at("d/p")), mode(&at("made/on"))), (0o644, 0o644, 0o755));
    for name in ["d", "d/f", "d/g", "d/s", "d/p"] {
        assert_eq!(at(name).symlink_metadata().unwrap().mtime(), 1_000_000_000, "{name}");
    }
}

#[test]
fn a_directory_that_nobody_may_write_is_filled_and_closed() {
    let into = tempfile::tempdir().unwrap();
    let mut closed = header(b'5', "d", "", 0);
    closed.set_mode(0o500);
    let mut more = header(b'5', "d/e", "", 0);
    more.set_mode(0);
    let archive = Archive::default()
        .raw(&mut closed, b"")
        .raw(&mut more, b"")
        .file("d/e/f", "x")
        .raw(&mut closed, b"")
        .file("d/g", "x");
    unpack_to(into.path(), &archive.clone().end(), &plain()).unwrap();
    assert_eq!(
        (mode(&into.path().join("d")), into.path().join("d").metadata().unwrap().mtime()),
        (0o500, 1_000_000_000)
    );
    assert_eq!(mode(&into.path().join("d/e")), 0);
    fs::set_permissions(into.path().join("d/e"), fs::Permissions::from_mode(0o700)).unwrap();
    // Once more, over what is there.
    unpack_to(into.path(), &archive.end(), &plain()).unwrap();
    fs::set_permissions(into.path().join("d/e"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(names(into.path()), ["d", "d/e", "d/e/f", "d/g"]);
    fs::set_permissions(into.path().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn special_bits_are_for_those_who_keep_owners() {
    let into = tempfile::tempdir().unwrap();
    let mut setuid = header(b'0', "f", "", 0);
    setuid.set_mode(0o6755);
    setuid.set_uid(12);
    setuid.set_gid(70_000);
    let mut sticky = header(b'5', "d", "", 0);
    sticky.set_mode(0o1777);
    let archive = Archive::default().raw(&mut setuid, b"").raw(&mut sticky, b"").end();
    unpack_to(into.path(), &archive, &plain()).unwrap();
    let file = into.path().join("f");
    assert_eq!((mode(&file), mode(&into.path().join("d"))), (0o755, 0o1777));
    assert_eq!(file.metadata().unwrap().uid(), rustix::process::geteuid().as_raw());
    if is_root() {
        unpack_to(into.path(), &archive, &UnpackOptions { ownership: Ownership::Archive, ..plain() })
            .unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!((mode(&file), meta.uid(), meta.gid()), (0o6755, 12, 65534));
        let options = UnpackOptions { ownership: Ownership::ArchivePlain, ..plain() };
        unpack_to(into.path(), &archive, &options).unwrap();
        assert_eq!((mode(&file), file.metadata().unwrap().uid()), (0o755, 12));
    }
}

#[test]
fn missing_parents_belong_to_whom_the_tree_belongs_to() {
    if !is_root() {
        return;
    }
    let into = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(into.path(), Some(33), Some(44)).unwrap();
    let archive = Archive::default().file("a/b/c", "").end();
    unpack_to(into.path(), &archive, &UnpackOptions { ownership: Ownership::Archive, ..plain() }).unwrap();
    let owner = |name: &str| {
        let meta = into.path().join(name).metadata().unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!((owner("a"), owner("a/b"), owner("a/b/c")), ((33, 44), (33, 44), (0, 0)));
}

#[test]
fn an_attribute_that_no_file_can_have_is_the_archives_fault() {
    let into = tempfile::tempdir().unwrap();
    let probe = into.path().join("probe");
    fs::write(&probe, "").unwrap();
    if rustix::fs::setxattr(&probe, "user.a", b"1", XattrFlags::empty()).is_err() {
        return;
    }
    let long = format!("SCHILY.xattr.user.{}", "x".repeat(255));
    let attributes: [(&str, &[u8]); 2] =
        [(&long, b"of too long a name"), ("SCHILY.xattr.user.large", &[b'x'; 65537])];
    for attribute in attributes {
        let archive = Archive::default().pax(b'x', &[attribute]).file("f", "x").end();
        let error = unpack_to(into.path(), &archive, &plain()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
}

#[test]
fn attributes_of_users_are_kept_and_no_others() {
    let into = tempfile::tempdir().unwrap();
    let probe = into.path().join("probe");
    fs::write(&probe, "").unwrap();
    if rustix::fs::setxattr(&probe, "user.a", b"1", XattrFlags::empty()).is_err() {
        return;
    }
    let attributes: [(&str, &[u8]); 6] = [
        ("SCHILY.xattr.user.kept", b"a\nb"),
        ("SCHILY.xattr.user.", b"of no name"),
        ("SCHILY.xattr.user.overlay.redirect", b"/elsewhere"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    let archive =
        Archive::default().pax(b'x', &attributes).file("f", "x").pax(b'x', &attributes).directory("d").end();
    unpack_to(into.path(), &archive, &plain()).unwrap();
    let list = |name: &str| {
        let mut buffer = [0; 4096];
        let length = rustix::fs::llistxattr(into.path().join(name), &mut buffer).unwrap();
        let list = String::from_utf8(buffer[..length].to_vec()).unwrap();
        list.split_terminator('\0')
            .filter(|n| *n != "security.selinux")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!((list("f"), list("d")), (vec!["user.kept".to_owned()], vec!["user.kept".to_owned()]));
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(into.path().join("f"), "user.kept", &mut value).unwrap();
    assert_eq!(&value[..length], b"a\nb");
    if is_root() {
        unpack_to(into.path(), &archive, &UnpackOptions { ownership: Ownership::Archive, ..plain() })
            .unwrap();
        assert!(list("f").contains(&"security.capability".to_owned()), "{:?}", list("f"));
    }
}

#[test]
fn what_stands_in_the_way_is_replaced_or_refused() {
    let into = tempfile::tempdir().unwrap();
    let archive = Archive::default()
        .file("x", "a file")
        .directory("x")
        .file("x/inside", "")
        .symlink("x", "elsewhere")
        .file("x", "a file again")
        .entry(b'6', "x", "", b"")
        .directory("x")
        .file("x/deep/er", "")
        .file("x", "at last");
    unpack_to(into.path(), &archive.end(), &plain()).unwrap();
    assert_eq!(names(into.path()), ["x"]);
    assert_eq!(fs::read_to_string(into.path().join("x")).unwrap(), "at last");

    let refuse = UnpackOptions { existing: Existing::Refuse, ..plain() };
    let into = tempfile::tempdir().unwrap();
    fs::create_dir(into.path().join("d")).unwrap();
    fs::write(into.path().join("d/f"), "mine").unwrap();
    unpack_to(into.path(), &Archive::default().directory("d").file("d/g", "").end(), &refuse).unwrap();
    for archive in [
        Archive::default().file("d", ""),
        Archive::default().file("d/f", ""),
        Archive::default().directory("d/f"),
        Archive::default().symlink("d/f", "x"),
        Archive::default().hard_link("d/f", "d/g"),
        Archive::default().entry(b'6', "d/f", "", b""),
    ] {
        let error = unpack_to(into.path(), &archive.end(), &refuse).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    }
    assert_eq!(fs::read_to_string(into.path().join("d/f")).unwrap(), "mine");
}

#[test]
fn the_directory_itself_stays_as_it_is() {
    let into = tempfile::tempdir().unwrap();
    let before = into.path().metadata().unwrap();
    let mut root = header(b'5', "./", "", 0);
    root.set_mode(0o777);
    unpack_to(into.path(), &Archive::default().raw(&mut root, b"").end(), &plain()).unwrap();
    let after = into.path().metadata().unwrap();
    assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
    for kind in [b'0', b'2', b'6'] {
        let error = unpack_to(into.path(), &Archive::default().entry(kind, "./", "x", b"").end(), &plain());
        assert_eq!(error.unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn whoever_may_not_write_is_told() {
    if is_root() {
        return;
    }
    let into = tempfile::tempdir().unwrap();
    fs::set_permissions(into.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = unpack_to(into.path(), &Archive::default().file("a", "").end(), &plain()).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}

#[test]
fn the_umask_takes_nothing_away() {
    // In a process of its own a mask would be set; here the one that tests have, 022, would take 0o022 away.
    let into = tempfile::tempdir().unwrap();
    let open = Mode::from_raw_mode(0o777).as_raw_mode();
    let mut archive = Archive::default();
    for (kind, name) in [(b'0', "f"), (b'5', "d"), (b'6', "p")] {
        let mut header = header(kind, name, "", 0);
        header.set_mode(open);
        archive = archive.raw(&mut header, b"");
    }
    unpack_to(into.path(), &archive.end(), &plain()).unwrap();
    for name in ["f", "d", "p"] {
        assert_eq!(mode(&into.path().join(name)), 0o777, "{name}");
    }
}
