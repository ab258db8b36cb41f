//! Importing what `docker save` and OCI tools write.

use crate::fixture::{OCI_INDEX, OCI_MANIFEST, Picture, Store, architecture, digest, gzip, noise, tar, zstd};
use agentkernel_image::{Names, Silent};
use agentkernel_model::Kind;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// An image as `docker save` writes it: files by name.
fn docker(picture: &Picture, names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let hex = |digest: &str| digest.strip_prefix("sha256:").unwrap().to_owned();
    let layers = picture.manifest["layers"].as_array().unwrap();
    let layers: Vec<String> = layers.iter().map(|l| l["digest"].as_str().unwrap().to_owned()).collect();
    let mut files: Vec<(String, Vec<u8>)> =
        layers.iter().map(|l| (format!("{}/layer.tar", hex(l)), picture.blobs[l].clone())).collect();
    let config = format!("{}.json", hex(&picture.id()));
    files.push((config.clone(), picture.blobs[&picture.id()].clone()));
    let paths: Vec<String> = layers.iter().map(|l| format!("{}/layer.tar", hex(l))).collect();
    let manifest = json!([{"Config": config, "RepoTags": names, "Layers": paths}]);
    files.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    files
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// An OCI layout with these entries of its index.
fn layout(dir: &Path, picture: &Picture, entries: Value) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(dir.join("index.json"), json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
    let text = picture.text();
    for (digest, content) in picture.blobs.iter().map(|(d, c)| (d.clone(), c)).chain([(digest(&text), &text)])
    {
        fs::write(blobs.join(digest.strip_prefix("sha256:").unwrap()), content).unwrap();
    }
}

fn entry(picture: &Picture, annotations: Value) -> Value {
    json!({"mediaType": OCI_MANIFEST, "digest": digest(&picture.text()), "size": picture.text().len(),
           "annotations": annotations})
}

fn put(store: &Store, bytes: &[u8]) -> PathBuf {
    let path = store.dir.path().join("image.tar");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn archives_of_docker_compressed_or_not() {
    let layer = tar(&[("file", "x")]);
    let picture = Picture::new(&[(layer.clone(), layer)], json!({"Cmd": ["c"]}));
    let plain = archive(&docker(&picture, &["app:1", "app:2"]));
    for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let store = Store::new();
        let images = store.images.import(&put(&store, &bytes), None, Names::Keep, &Silent).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].id().to_string(), picture.id());
        let found = store.images.find(&"app:2".parse().unwrap()).unwrap().unwrap();
        let lease = store.images.lease(&found).unwrap();
        assert_eq!(fs::read_to_string(lease.rootfs.layers[0].join("file")).unwrap(), "x");
        assert_eq!(store.names("partial"), Vec::<String>::new(), "nothing of the archive stays");
    }
}

#[test]
fn a_name_of_our_choice_for_the_only_image() {
    let picture = Picture::small("x");
    let mut files = docker(&picture, &["app:1"]);
    let store = Store::new();
    let name = "mine:3".parse().unwrap();
    store.images.import(&put(&store, &archive(&files)), Some(&name), Names::Keep, &Silent).unwrap();
    assert_eq!(store.images.list().unwrap()[0].names, std::slice::from_ref(&name));
    let mut list: Vec<Value> = serde_json::from_slice(&files.pop().unwrap().1).unwrap();
    list.push(list[0].clone());
    files.push(("manifest.json".to_owned(), json!(list).to_string().into_bytes()));
    let error =
        store.images.import(&put(&store, &archive(&files)), Some(&name), Names::Keep, &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn layouts_as_directories_and_archives() {
    let picture = Picture::small("x");
    let store = Store::new();
    let dir = store.dir.path().join("layout");
    let named = entry(&picture, json!({"org.opencontainers.image.ref.name": "quay.io/a/b:1"}));
    let tagged = entry(&picture, json!({"org.opencontainers.image.ref.name": "latest"}));
    layout(&dir, &picture, json!([named, tagged]));
    let images = store.images.import(&dir, None, Names::Keep, &Silent).unwrap();
    assert_eq!(images.len(), 1);
    let names: Vec<String> = store.images.list().unwrap()[0].names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["quay.io/a/b:1"], "a lone tag names nothing");
    let mut whole = tar::Builder::new(Vec::new());
    whole.append_dir_all(".", &dir).unwrap();
    let other = Store::new();
    other.images.import(&put(&other, &whole.into_inner().unwrap()), None, Names::Keep, &Silent).unwrap();
    assert!(other.images.find(&"quay.io/a/b:1".parse().unwrap()).unwrap().is_some());
}

#[test]
fn a_nested_index_leads_to_this_machine() {
    let picture = Picture::small("x");
    let store = Store::new();
    let dir = store.dir.path().join("layout");
    let platform = |architecture: &str| {
        let mut entry = entry(&picture, json!({}));
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let nested = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [platform("s390x"), platform(architecture())]}).to_string();
    let listed = json!([{"mediaType": OCI_INDEX, "digest": digest(nested.as_bytes()), "size": nested.len(),
        "annotations": {"io.containerd.image.name": "docker.io/library/app:1"}}]);
    layout(&dir, &picture, listed);
    fs::write(
        dir.join("blobs/sha256").join(digest(nested.as_bytes()).strip_prefix("sha256:").unwrap()),
        nested,
    )
    .unwrap();
    store.images.import(&dir, None, Names::Keep, &Silent).unwrap();
    assert!(store.images.find(&"app:1".parse().unwrap()).unwrap().is_some());
    layout(&dir, &picture, json!([platform("s390x")]));
    let error = store.images.import(&dir, None, Names::Keep, &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().ends_with("it offers linux/s390x"), "{error}");
}

#[test]
fn links_between_layers_are_followed_and_those_that_leave_are_not() {
    let picture = Picture::small("x");
    let store = Store::new();
    let dir = store.dir.path().join("bundle");
    let layer = &picture.blobs[&picture.layer(0)];
    for (name, content) in docker(&picture, &["app:1"]) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.ends_with("layer.tar") {
            fs::create_dir_all(dir.join("real")).unwrap();
            fs::write(dir.join("real/layer.tar"), layer).unwrap();
            symlink("../real/layer.tar", &path).unwrap();
        } else {
            fs::write(path, content).unwrap();
        }
    }
    store.images.import(&dir, None, Names::Keep, &Silent).unwrap();
    let other = Store::new();
    let outside = other.dir.path().join("outside.tar");
    fs::write(&outside, layer).unwrap();
    fs::remove_file(dir.join("real/layer.tar")).unwrap();
    symlink(&outside, dir.join("real/layer.tar")).unwrap();
    let error = other.images.import(&dir, None, Names::Keep, &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    other.assert_nothing_kept();
}

#[test]
fn what_is_broken_is_refused_and_nothing_of_it_kept() {
    let picture = Picture::small("x");
    let files = docker(&picture, &["app:1"]);
    let whole = archive(&files);
    let without =
        |name: &str| archive(&files.iter().filter(|(n, _)| !n.ends_with(name)).cloned().collect::<Vec<_>>());
    let with = |name: &str, content: &[u8]| {
        let replaced = files
            .iter()
            .cloned()
            .map(|(n, c)| if n.ends_with(name) { (n, content.to_vec()) } else { (n, c) });
        archive(&replaced.collect::<Vec<_>>())
    };
    for (number, bytes) in [
        noise(5000).into_bytes(),
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        gzip(&whole)[..100].to_vec(),
        without("layer.tar"),
        without("manifest.json"),
        with("manifest.json", b"[]"),
        with("manifest.json", b"{"),
        with("manifest.json", br#"[{"Config":"../../../etc/passwd","Layers":[]}]"#),
        with("layer.tar", &gzip(&tar(&[("file", "other")]))),
        tar(&[("readme", "no image")]),
    ]
    .into_iter()
    .enumerate()
    {
        let store = Store::new();
        let error = store.images.import(&put(&store, &bytes), None, Names::Keep, &Silent).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{number}: {error}");
        store.assert_nothing_kept();
    }
}

#[test]
fn blobs_that_are_not_what_they_are_named_after() {
    let unpacked = tar(&[("file", "x")]);
    let picture = Picture::new(&[(gzip(&unpacked), unpacked.clone())], json!({}));
    let config = picture.blobs[&picture.id()].clone();
    // Each would do in its place, were it not for its digest.
    for (victim, other) in [
        (digest(&picture.text()), [picture.text(), b" ".to_vec()].concat()),
        (picture.id(), [config, b" ".to_vec()].concat()),
        (picture.layer(0), zstd(&unpacked)),
    ] {
        let (good, store) = (Store::new(), Store::new());
        let dir = good.dir.path().join("layout");
        layout(&dir, &picture, json!([entry(&picture, json!({}))]));
        good.images.import(&dir, None, Names::Keep, &Silent).unwrap();
        fs::write(dir.join("blobs/sha256").join(victim.strip_prefix("sha256:").unwrap()), other).unwrap();
        let error = store.images.import(&dir, None, Names::Keep, &Silent).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        store.assert_nothing_kept();
    }
}

#[test]
fn what_is_not_there_or_no_file() {
    let store = Store::new();
    let import =
        |path: &str| store.images.import(Path::new(path), None, Names::Keep, &Silent).unwrap_err().kind();
    assert_eq!(import("/does/not/exist.tar"), Kind::NotFound);
    assert_eq!(import("/dev/zero"), Kind::Invalid);
}

#[test]
fn a_name_of_an_archive_does_not_come_to_mean_another_image_unasked() {
    let store = Store::new();
    let archive = |text: &str| put(&store, &archive(&docker(&Picture::small(text), &["tools:1", "other:1"])));
    let mine = archive("mine");
    let id = |names: Names, file: &Path| {
        let images = store.images.import(file, None, names, &Silent)?;
        Ok::<_, agentkernel_model::Error>(images[0].id().clone())
    };
    let mine_is = id(Names::Keep, &mine).unwrap();
    assert_eq!(id(Names::Keep, &mine).unwrap(), mine_is, "the same again is nothing new");
    let theirs = archive("theirs");
    let error = id(Names::Keep, &theirs).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.message().contains("'tools:1'") && error.hint().unwrap().contains("--force"), "{error:?}");
    let here = |name: &str| store.images.find(&name.parse().unwrap()).unwrap().unwrap().id().clone();
    assert_eq!(here("tools:1"), mine_is);
    let theirs_is = id(Names::Replace, &theirs).unwrap();
    assert_ne!(theirs_is, mine_is);
    assert_eq!((here("tools:1"), here("other:1")), (theirs_is.clone(), theirs_is));
}
