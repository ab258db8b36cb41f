use super::*;
use crate::oci::image::digest_of;
use std::fs;

#[test]
fn programs_and_libraries_go_below_usr() {
    assert_eq!(place("./bin/ls").as_deref(), Some("usr/bin/ls"));
    assert_eq!(place("./lib64/ld-linux-x86-64.so.2").as_deref(), Some("usr/lib64/ld-linux-x86-64.so.2"));
    assert_eq!(place("./library/x").as_deref(), Some("library/x"));
    assert_eq!(place("./etc/dpkg/").as_deref(), Some("etc/dpkg"));
}

#[test]
fn what_no_program_needs_is_left_out_but_licences_are_kept() {
    for name in [
        "./",
        "./usr/",
        "./bin/",
        "./usr/share/man/man1/ls.1.gz",
        "./usr/share/man/",
        "./usr/share/locale/de/",
        "./usr/share/doc/libc6/changelog.gz",
    ] {
        assert_eq!(place(name), None, "{name}");
    }
    let licence = "usr/share/doc/libc6/copyright";
    assert_eq!(place(&format!("./{licence}")).as_deref(), Some(licence));
}

/// A package of one file and one link, made by dpkg-deb itself.
fn package(dir: &Path) -> std::path::PathBuf {
    let root = dir.join("root");
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    fs::create_dir_all(root.join("bin")).unwrap();
    let control =
        "Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    fs::write(root.join("bin/hello"), "hello").unwrap();
    std::os::unix::fs::symlink("hello", root.join("bin/hi")).unwrap();
    let file = dir.join("hello.deb");
    let made = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .args([&root, &file])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    file
}

#[test]
fn a_package_is_added_only_with_the_digest_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let file = package(dir.path());
    let digest = digest_of(&fs::read(&file).unwrap());
    let mut layer = LayerWriter::create(dir.path().join("layer")).unwrap();
    assert_eq!(add(&mut layer, &file, &digest_of(b"other")).unwrap_err().kind(), Kind::Invalid);
    assert!(!layer.has("usr/bin/hello"));
    add(&mut layer, &file, &digest).unwrap();
    assert!(layer.has("usr/bin/hello") && layer.has("usr/bin/hi"));
}

#[test]
fn what_is_no_package_is_an_error_with_dpkgs_word() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.deb");
    fs::write(&file, "nonsense").unwrap();
    let mut layer = LayerWriter::create(dir.path().join("layer")).unwrap();
    let error = add(&mut layer, &file, &digest_of(b"nonsense")).unwrap_err();
    assert!(error.message().contains("is no package"), "{error}");
}
