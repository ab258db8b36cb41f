use super::*;
use std::{fs, os::unix::fs::symlink, path::PathBuf};

struct Layers(tempfile::TempDir);

impl Layers {
    /// Layers 0 (topmost) to 2, empty.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..3 {
            fs::create_dir(dir.path().join(n.to_string())).unwrap();
        }
        Self(dir)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str, content: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        let layers = [self.at("0"), self.at("1"), self.at("2")];
        let merged = Merged::open(layers.iter().map(PathBuf::as_path)).unwrap();
        merged.read(path, 100).unwrap().map(|read| String::from_utf8(read).unwrap())
    }
}

fn whiteout(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

#[test]
fn the_uppermost_layer_wins() {
    let layers = Layers::new();
    layers.file("2/etc/passwd", "lowest");
    layers.file("2/etc/group", "lowest");
    layers.file("1/etc/passwd", "middle");
    layers.file("0/etc/other", "");
    assert_eq!(layers.read("/etc/passwd").unwrap(), "middle");
    assert_eq!(layers.read("etc//./group").unwrap(), "lowest");
    assert_eq!(layers.read("/etc/none"), None);
    assert_eq!(layers.read("/etc"), None, "a directory is no file");
    assert_eq!(layers.read("/etc/passwd/x"), None);
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let layers = Layers::new();
    layers.file("2/etc/passwd", "lowest");
    layers.file("2/etc/group", "lowest");
    layers.file("2/gone/file", "lowest");
    fs::create_dir(layers.at("0/etc")).unwrap();
    whiteout(&layers.at("0/etc/passwd"));
    whiteout(&layers.at("1/gone"));
    assert_eq!(layers.read("/etc/passwd"), None);
    assert_eq!(layers.read("/gone/file"), None);
    assert_eq!(layers.read("/etc/group").unwrap(), "lowest");
    let directory = rustix::fs::openat(CWD, layers.at("0/etc"), DIRECTORY, Mode::empty()).unwrap();
    rustix::fs::fsetxattr(&directory, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    assert_eq!(layers.read("/etc/group"), None);
}

#[test]
fn a_directory_above_a_file_hides_it_and_all_below() {
    let layers = Layers::new();
    layers.file("2/x/deep", "lowest");
    layers.file("1/x", "a file");
    fs::create_dir(layers.at("0/x")).unwrap();
    assert_eq!(layers.read("/x/deep"), None);
}

#[test]
fn links_lead_nowhere_but_within() {
    let layers = Layers::new();
    layers.file("secret", "of the host");
    layers.file("2/usr/lib/passwd", "inside");
    layers.file("2/secret", "inside too");
    fs::create_dir(layers.at("1/etc")).unwrap();
    symlink("/usr/lib/passwd", layers.at("1/etc/passwd")).unwrap();
    symlink("../../../../../secret", layers.at("1/etc/group")).unwrap();
    symlink("loop", layers.at("1/etc/loop")).unwrap();
    symlink(layers.at("secret"), layers.at("1/etc/host")).unwrap();
    symlink("usr/lib", layers.at("0/lib")).unwrap();
    assert_eq!(layers.read("/etc/passwd").unwrap(), "inside");
    assert_eq!(layers.read("/etc/group").unwrap(), "inside too");
    assert_eq!(layers.read("/etc/host"), None);
    assert_eq!(layers.read("/lib/passwd").unwrap(), "inside");
    let one = Merged::open([layers.at("1")].iter().map(PathBuf::as_path)).unwrap();
    assert!(one.read("/etc/loop", 100).is_err());
}

#[test]
fn long_files_and_pipes_are_not_read() {
    let layers = Layers::new();
    layers.file("0/long", &"x".repeat(101));
    rustix::fs::mknodat(CWD, layers.at("0/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let merged = Merged::open([layers.at("0")].iter().map(PathBuf::as_path)).unwrap();
    merged.read("/long", 100).unwrap_err();
    assert!(merged.read("/pipe", 100).unwrap().is_none());
}
