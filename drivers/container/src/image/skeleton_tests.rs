use super::*;
use agentkernel_backend::{Graft, ImageDefaults, Owners, rootfs::Layer};

fn rootfs() -> Rootfs {
    Rootfs {
        identity: "host".to_owned(),
        layers: Vec::new(),
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    }
}

fn graft(source: &str, target: &str) -> Graft {
    Graft { source: source.into(), target: target.parse().unwrap(), layer: Layer::ReadOnly }
}

/// `name mode` or `name -> target`, in order.
fn listed(rootfs: &Rootfs) -> Vec<String> {
    let archive = Plan::of(rootfs).pack().unwrap();
    let mut archive = tar::Archive::new(archive.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
        assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap(), entry.size()), (0, 0, 0));
        match entry.link_name_bytes() {
            Some(target) => format!("{name} -> {}", String::from_utf8(target.to_vec()).unwrap()),
            None => format!("{name} {:o}", entry.header().mode().unwrap()),
        }
    });
    entries.collect()
}

#[test]
fn directories_links_and_places_to_mount_on_are_there() {
    let mut one = rootfs();
    one.directories = vec![("/var/tmp".parse().unwrap(), 0o1777), ("/root".parse().unwrap(), 0o700)];
    one.links = vec![("/bin".parse().unwrap(), "usr/bin".to_owned())];
    one.grafts = vec![graft("/usr", "/usr"), graft("/etc/passwd", "/etc/deep/passwd")];
    let expected = [
        "bin -> usr/bin",
        "etc/ 755",
        "etc/deep/ 755",
        "etc/deep/passwd 644",
        "root/ 700",
        "usr/ 755",
        "var/ 755",
        "var/tmp/ 1777",
    ];
    assert_eq!(listed(&one), expected);
}

#[test]
fn modes_that_were_asked_for_stay() {
    let mut one = rootfs();
    one.directories = vec![("/a/b".parse().unwrap(), 0o750), ("/a".parse().unwrap(), 0o711)];
    one.grafts = vec![graft("/usr", "/a/b")];
    assert_eq!(listed(&one), ["a/ 711", "a/b/ 750"]);
}

#[test]
fn nothing_is_put_below_a_link_or_a_file() {
    let mut one = rootfs();
    one.links = vec![("/lib".parse().unwrap(), "/etc".to_owned())];
    one.grafts = vec![graft("/usr", "/lib/x"), graft("/etc/passwd", "/f"), graft("/usr", "/f/x")];
    assert_eq!(listed(&one), ["f 644", "lib -> /etc"]);
}

#[test]
fn long_names_and_targets_come_through() {
    let mut one = rootfs();
    let (path, says) = (format!("/{}/{}", "a".repeat(120), "b".repeat(120)), "c".repeat(300));
    one.links = vec![(path.parse().unwrap(), says.clone())];
    assert_eq!(listed(&one)[1], format!("{} -> {says}", &path[1..]));
}

#[test]
fn an_archive_of_nothing_is_told_from_others() {
    assert!(is_empty(&Plan::of(&rootfs()).pack().unwrap()));
    let mut one = rootfs();
    one.grafts = vec![graft("/usr", "/usr")];
    assert!(!is_empty(&Plan::of(&one).pack().unwrap()));
}
