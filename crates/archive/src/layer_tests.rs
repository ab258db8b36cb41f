//! Layers of images: whiteouts become what overlayfs reads.

use crate::{
    UnpackOptions, Whiteouts,
    fixture::{Archive, header, names, plain, unpack_to},
};
use std::{
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

fn layer() -> UnpackOptions {
    UnpackOptions { whiteouts: Whiteouts::Overlay, ..plain() }
}

fn is_whiteout(path: &Path) -> bool {
    let meta = path.symlink_metadata().unwrap();
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 2];
    rustix::fs::lgetxattr(path, "user.overlay.opaque", &mut value)
        .is_ok_and(|length| &value[..length] == b"y")
}

#[test]
fn whiteouts_become_devices_and_opaque_directories() {
    let into = tempfile::tempdir().unwrap();
    let archive = Archive::default()
        .file(".wh.gone", "")
        .file("d/.wh.gone", "")
        .directory("opaque")
        .file("opaque/kept", "")
        .file("opaque/.wh..wh..opq", "")
        .file("missing/.wh..wh..opq", "")
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh..wh.aufs", "");
    unpack_to(into.path(), &archive.end(), &layer()).unwrap();
    let expected = ["d", "d/gone", "gone", "missing", "opaque", "opaque/kept"];
    assert_eq!(names(into.path()), expected);
    let at = |name: &str| into.path().join(name);
    assert!(is_whiteout(&at("gone")) && is_whiteout(&at("d/gone")));
    assert!(is_opaque(&at("opaque")) && is_opaque(&at("missing")));
    assert!(!is_opaque(&at("d")) && !is_opaque(into.path()));
    unpack_to(into.path(), &Archive::default().file(".wh..wh..opq", "").end(), &layer()).unwrap();
    assert!(is_opaque(into.path()));
}

#[test]
fn a_whiteout_replaces_what_its_own_layer_has() {
    let into = tempfile::tempdir().unwrap();
    let archive = Archive::default()
        .file("f", "")
        .file(".wh.f", "")
        .directory("d")
        .file("d/inside", "")
        .file(".wh.d", "")
        .file(".wh.d", "");
    unpack_to(into.path(), &archive.end(), &layer()).unwrap();
    assert_eq!(names(into.path()), ["d", "f"]);
    assert!(is_whiteout(&into.path().join("f")) && is_whiteout(&into.path().join("d")));
}

#[test]
fn what_takes_the_place_of_a_whiteout_hides_what_is_below() {
    let into = tempfile::tempdir().unwrap();
    let archive = Archive::default()
        .file(".wh.d", "")
        .directory("d")
        .file("d/new", "")
        .file(".wh.f", "")
        .file("f", "new");
    unpack_to(into.path(), &archive.end(), &layer()).unwrap();
    assert!(is_opaque(&into.path().join("d")));
    assert_eq!(std::fs::read_to_string(into.path().join("f")).unwrap(), "new");
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    let into = tempfile::tempdir().unwrap();
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", ".wh.x/y"] {
        unpack_to(into.path(), &Archive::default().file(name, "").end(), &layer()).unwrap_err();
    }
}

#[test]
fn whiteouts_do_not_leave_through_links() {
    let all = tempfile::tempdir().unwrap();
    let (into, outside) = (all.path().join("into"), all.path().join("outside"));
    std::fs::create_dir(&into).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "mine").unwrap();
    for name in ["l/.wh.secret", "l/.wh..wh..opq"] {
        let archive = Archive::default().symlink("l", outside.to_str().unwrap()).file(name, "");
        unpack_to(&into, &archive.end(), &layer()).unwrap_err();
    }
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "mine");
    assert!(!is_opaque(&outside));
}

#[test]
fn a_layer_has_a_mode_for_the_root() {
    let into = tempfile::tempdir().unwrap();
    let mut root = header(b'5', "./", "", 0);
    root.set_mode(0o751);
    unpack_to(into.path(), &Archive::default().raw(&mut root, b"").file("f", "").end(), &layer()).unwrap();
    let meta = into.path().metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o751, 1_000_000_000));
}

#[test]
fn without_layers_such_names_are_ordinary() {
    let into = tempfile::tempdir().unwrap();
    unpack_to(into.path(), &Archive::default().file(".wh.f", "").file(".wh..wh..opq", "").end(), &plain())
        .unwrap();
    assert_eq!(names(into.path()), [".wh..wh..opq", ".wh.f"]);
}
