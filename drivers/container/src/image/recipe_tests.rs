use super::*;
use agentkernel_backend::{GeneratedFile, ImageDefaults, Owners};
use std::fs;

fn rootfs(layers: Vec<PathBuf>) -> Rootfs {
    Rootfs {
        identity: "handmade".to_owned(),
        layers,
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    }
}

fn hash(rootfs: &Rootfs) -> String {
    Recipe::of(rootfs, None, &std::env::temp_dir()).unwrap().hash().to_owned()
}

fn layer(at: &Path, content: &str) -> PathBuf {
    fs::create_dir_all(at).unwrap();
    fs::write(at.join("f"), content).unwrap();
    let long_ago = std::time::UNIX_EPOCH;
    let times = fs::FileTimes::new().set_modified(long_ago).set_accessed(long_ago);
    for path in [at.join("f"), at.to_owned()] {
        fs::File::open(path).unwrap().set_times(times).unwrap();
    }
    at.to_owned()
}

#[test]
fn the_name_tells_the_content() {
    let place = tempfile::tempdir().unwrap();
    let one = layer(&place.path().join("one"), "1");
    let same = layer(&place.path().join("same"), "1");
    let other = layer(&place.path().join("other"), "2");
    let base = rootfs(vec![one.clone(), other.clone()]);
    let known = hash(&base);
    assert_eq!(hash(&rootfs(vec![same, other.clone()])), known, "another place");
    assert_ne!(hash(&rootfs(vec![other.clone(), one.clone()])), known, "another order");
    assert_ne!(hash(&rootfs(vec![one.clone()])), known, "a layer less");
    fs::write(one.join("f"), "3").unwrap();
    assert_ne!(hash(&base), known, "another content");
}

#[test]
fn what_a_container_gets_by_itself_is_no_part_of_the_name() {
    let path = "/etc/hosts".parse().unwrap();
    let mut one = rootfs(Vec::new());
    let known = hash(&one);
    one.files.push(GeneratedFile { target: path, mode: 0o644, content: b"x".to_vec() });
    one.env.push(("A".to_owned(), "B".to_owned()));
    assert_eq!(hash(&one), known);
    one.links.push(("/bin".parse().unwrap(), "usr/bin".to_owned()));
    assert_ne!(hash(&one), known);
    let linked = hash(&one);
    one.directories.push(("/var".parse().unwrap(), 0o755));
    assert_ne!(hash(&one), linked);
    one.identity = "another".to_owned();
    assert_ne!(hash(&one), linked);
}

#[test]
fn a_layer_of_the_store_is_known_by_its_name_and_not_read() {
    let hex = "ab".repeat(32);
    let stored = |dir: &str| PathBuf::from(format!("/nowhere/{dir}/tree"));
    let known = hash(&rootfs(vec![stored(&hex)]));
    assert_eq!(hash(&rootfs(vec![PathBuf::from(format!("/elsewhere/{hex}/tree"))])), known);
    assert_ne!(hash(&rootfs(vec![stored(&"cd".repeat(32))])), known);
    let place = tempfile::tempdir().unwrap();
    for not_stored in ["abcd/tree".to_owned(), format!("{hex}/wood"), format!(".new-{hex}/tree")] {
        assert!(Recipe::of(&rootfs(vec![place.path().join(not_stored)]), None, place.path()).is_err());
    }
}

#[test]
fn an_original_is_a_root_without_additions() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let mut one = rootfs(vec!["/layer".into()]);
    assert_eq!(original(&one), None);
    one.identity.clone_from(&digest);
    assert_eq!(original(&one), Some(digest));
    one.links.push(("/bin".parse().unwrap(), "usr/bin".to_owned()));
    assert_eq!(original(&one), None);
}

#[test]
fn the_skeleton_is_the_lowest_layer() {
    let place = tempfile::tempdir().unwrap();
    let mut one = rootfs(vec![layer(&place.path().join("one"), "1")]);
    let pack =
        |rootfs: &Rootfs| Recipe::of(rootfs, None, place.path()).unwrap().pack(place.path()).unwrap().1;
    let bare = pack(&one);
    assert_eq!(bare.len(), 1);
    one.links.push(("/bin".parse().unwrap(), "usr/bin".to_owned()));
    let both = pack(&one);
    assert_eq!((both.len(), both[1].digest()), (2, bare[0].digest()));
    assert_eq!(pack(&rootfs(Vec::new())).len(), 1, "an image of nothing");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "packed layers have no names");
}

#[test]
fn each_owner_has_an_image_of_its_own() {
    let root = rootfs(Vec::new());
    let of = |owner| Recipe::of(&root, owner, &std::env::temp_dir()).unwrap().mark;
    let (nobodys, ours, theirs) = (of(None), of(Some("ours")), of(Some("theirs")));
    assert_eq!(ours, of(Some("ours")));
    assert!(ours.hash != theirs.hash && ours.hash != nobodys.hash, "{ours:?} {theirs:?} {nobodys:?}");
    assert_eq!(ours.labels()[OWNER_LABEL], "ours");
    assert!(!nobodys.labels().contains_key(OWNER_LABEL));
}
