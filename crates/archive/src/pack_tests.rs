use super::*;
use crate::{
    Ownership, UnpackOptions,
    fixture::{names as all_names, plain, unpack_to},
};
use proptest::prelude::*;
use rustix::fs::XattrFlags;
use std::{
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::Path,
};

const STAY: PackOptions = PackOptions { crossing: Crossing::Stay };

fn packed(source: &Path, name: &str) -> (Packed, Vec<u8>) {
    let mut archive = Vec::new();
    let made = pack(File::open(source).unwrap().as_fd(), name, &mut archive, &STAY).unwrap();
    (made, archive)
}

/// What the `tar` crate, which is not ours, finds in an archive.
fn listed(archive: &[u8]) -> Vec<(String, EntryType, u64, String)> {
    let mut archive = tar::Archive::new(archive);
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let entry = entry.unwrap();
        let link = entry.link_name().unwrap().map(|l| l.display().to_string()).unwrap_or_default();
        (entry.path().unwrap().display().to_string(), entry.header().entry_type(), entry.size(), link)
    };
    archive.entries().unwrap().map(entry).collect()
}

#[test]
fn a_tree_is_packed_in_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("b")).unwrap();
    fs::write(at("b/z"), "zz").unwrap();
    fs::hard_link(at("b/z"), at("c")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("a")).unwrap();
    let (made, archive) = packed(root.path(), "top");
    let link = |name: &str, kind, to: &str| (name.to_owned(), kind, 0, to.to_owned());
    let expected = [
        link("top/", EntryType::Directory, ""),
        link("top/a", EntryType::Symlink, "/etc/passwd"),
        link("top/b/", EntryType::Directory, ""),
        ("top/b/z".to_owned(), EntryType::Regular, 2, String::new()),
        link("top/c", EntryType::Link, "top/b/z"),
    ];
    assert_eq!(listed(&archive), expected);
    assert_eq!(made, Packed { bytes: 2, entries: 5, skipped: 0 });
    let names: Vec<_> = listed(&packed(root.path(), ".").1).into_iter().map(|e| e.0).collect();
    assert_eq!(names, ["./", "a", "b/", "b/z", "c"]);
}

#[test]
fn a_file_and_a_link_are_packed_as_what_they_are() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("f"), "content").unwrap();
    std::os::unix::fs::symlink("f", root.path().join("l")).unwrap();
    assert_eq!(listed(&packed(&root.path().join("f"), "x/y").1)[0].0, "x/y");
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let link = rustix::fs::open(root.path().join("l"), flags, Mode::empty()).unwrap();
    let mut archive = Vec::new();
    pack(link.as_fd(), "l", &mut archive, &STAY).unwrap();
    assert_eq!(listed(&archive), [("l".to_owned(), EntryType::Symlink, 0, "f".to_owned())]);
    assert_eq!(pack(link.as_fd(), "../l", Vec::new(), &STAY).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn long_names_links_and_attributes_come_through() {
    let root = tempfile::tempdir().unwrap();
    let deep: std::path::PathBuf = std::iter::repeat_n("x".repeat(200), 4).collect();
    fs::create_dir_all(root.path().join(&deep)).unwrap();
    let file = root.path().join(&deep).join(std::ffi::OsStr::from_bytes(b"not \xff text"));
    fs::write(&file, "content").unwrap();
    std::os::unix::fs::symlink("y".repeat(300), root.path().join("link")).unwrap();
    let has_attributes = rustix::fs::setxattr(&file, "user.a", b"1\n2", XattrFlags::empty()).is_ok();
    let _ = rustix::fs::setxattr(&file, "user.overlay.opaque", b"y", XattrFlags::empty());
    let into = tempfile::tempdir().unwrap();
    let archive = packed(root.path(), ".").1;
    unpack_to(into.path(), &archive, &plain()).unwrap();
    assert_eq!(all_names(into.path()), all_names(root.path()));
    assert_eq!(fs::read_link(into.path().join("link")).unwrap().as_os_str().len(), 300);
    if has_attributes {
        let copy = into.path().join(file.strip_prefix(root.path()).unwrap());
        let fd = File::open(copy).unwrap();
        assert_eq!(
            attributes::read(fd.as_fd(), "", attributes::Travelling::Users).unwrap(),
            [(b"user.a".to_vec(), b"1\n2".to_vec())]
        );
        let mut none = [0; 8];
        assert!(rustix::fs::fgetxattr(&fd, "user.overlay.opaque", &mut none).is_err());
        assert!(!String::from_utf8_lossy(&archive).contains("overlay"));
    }
}

#[test]
fn sockets_and_devices_are_skipped_and_counted() {
    let root = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    kernel::whiteout(File::open(root.path()).unwrap().as_fd(), b"whiteout").unwrap();
    kernel::fifo(File::open(root.path()).unwrap().as_fd(), b"fifo").unwrap();
    let (made, archive) = packed(root.path(), "d");
    assert_eq!((made.skipped, made.entries), (2, 2));
    assert_eq!(listed(&archive)[1].1, EntryType::Fifo);
}

#[test]
fn what_is_mounted_is_not_entered() {
    // Every Linux has another file system there, and this test needs no right to mount one.
    let there = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(there.path().join("f"), "x").unwrap();
    let dev = File::open("/dev").unwrap();
    let mut archive = Vec::new();
    pack(dev.as_fd(), "dev", &mut archive, &STAY).unwrap();
    let names: Vec<_> = listed(&archive).into_iter().map(|e| e.0).collect();
    assert!(names.contains(&"dev/shm/".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("dev/shm/") && name != "dev/shm/"), "{names:?}");
    let shm = File::open("/dev/shm").unwrap();
    let name = format!("shm/{}/f", there.path().file_name().unwrap().display());
    let mut archive = Vec::new();
    if pack(shm.as_fd(), "shm", &mut archive, &STAY).is_ok() {
        assert!(listed(&archive).iter().any(|e| e.0 == name), "{name}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_has_the_size_that_was_said() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("f");
    fs::write(&path, "12345").unwrap();
    let file = File::open(&path).unwrap();
    for (said, read) in [(8, "12345\0\0\0"), (3, "123"), (0, "")] {
        let mut archive = Vec::new();
        let mut output = Output::new(&mut archive);
        output.content(file.as_fd(), said, "f").unwrap();
        output.end().unwrap();
        assert_eq!(&archive[..read.len()], read.as_bytes());
        assert_eq!(archive.len(), read.len().next_multiple_of(512) + 1024);
    }
}

#[test]
fn sizes_and_times_of_any_height_are_written() {
    let mut facts = kernel::look(File::open("/").unwrap()).unwrap();
    facts.modified = -5;
    let mut archive = Vec::new();
    let mut output = Output::new(&mut archive);
    let size = 20 << 30;
    let entry =
        Entry { name: b"big", kind: EntryType::Regular, link: b"", size, facts: &facts, attributes: &[] };
    output.header(&entry).unwrap();
    output.end().unwrap();
    let mut members = crate::members::Members::new(archive.as_slice(), 0);
    let member = members.next().unwrap().unwrap();
    assert_eq!((member.size, member.modified), (size, (-5, 0)));
}

#[test]
fn trees_that_could_not_be_unpacked_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut at: OwnedFd = File::open(root.path()).unwrap().into();
    for _ in 0..260 {
        rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755)).unwrap();
        at = kernel::open_directory(&at, b"d").unwrap();
    }
    let error = pack(File::open(root.path()).unwrap().as_fd(), "d", Vec::new(), &STAY).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn what_may_not_be_read_is_an_error() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("f"), "").unwrap();
    fs::set_permissions(root.path().join("f"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = pack(File::open(root.path()).unwrap().as_fd(), "d", Vec::new(), &STAY).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}

/// A tree of any shape.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Link(String),
    Directory(Vec<(String, Node)>, u32),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..3000), 0..0o1000_u32)
            .prop_map(|(c, m)| Node::File(c, m | 0o400)),
        "[a-z/.]{1,150}".prop_map(Node::Link),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let entries = prop::collection::vec(("[a-zA-Zäß .\\-]{1,60}x", inner), 0..6);
        (entries, 0..0o1000_u32).prop_map(|(entries, mode)| Node::Directory(entries, mode | 0o700))
    })
}

fn build(node: &Node, path: &Path) {
    match node {
        Node::File(content, mode) => {
            fs::write(path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        Node::Directory(entries, mode) => {
            fs::create_dir(path).unwrap();
            for (name, node) in entries.iter().filter(|(name, _)| name.len() < 200) {
                if path.join(name).symlink_metadata().is_err() {
                    build(node, &path.join(name));
                }
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }
}

fn description(root: &Path) -> Vec<String> {
    let describe = |name: String| {
        let path = root.join(&name);
        let meta = path.symlink_metadata().unwrap();
        let content = match meta.file_type() {
            kind if kind.is_file() => format!("{:?}", fs::read(&path).unwrap()),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            _ => String::new(),
        };
        format!("{name} {:o} {} {content}", meta.mode(), meta.mtime())
    };
    all_names(root).into_iter().map(describe).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_packed_and_unpacked_is_the_same(node in node()) {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(&node, &from.path().join("tree"));
        let root = rustix::process::geteuid().is_root();
        let ownership = if root { Ownership::Archive } else { Ownership::Caller };
        let archive = packed(from.path(), ".").1;
        unpack_to(to.path(), &archive, &UnpackOptions { ownership, ..plain() }).unwrap();
        prop_assert_eq!(description(from.path()), description(to.path()));
        prop_assert_eq!(packed(to.path(), ".").1.len(), archive.len());
        // Over itself: nothing changes.
        unpack_to(to.path(), &archive, &UnpackOptions { ownership, ..plain() }).unwrap();
        prop_assert_eq!(description(from.path()), description(to.path()));
    }
}
