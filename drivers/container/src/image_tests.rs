//! On a real engine: the one at the socket that `AGENTKERNEL_TEST_DOCKER_HOST` names.

use super::*;
use agentkernel_archive::{Bounds, Existing, Ownership, UnpackOptions, Whiteouts, unpack};
use agentkernel_backend::{Graft, ImageDefaults, Owners, rootfs::Layer};
use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder},
};
use futures_util::TryStreamExt as _;
use rustix::fd::AsFd as _;
use std::{collections::BTreeMap, fs::File, path::PathBuf};
use tar::{EntryType, Header};

/// `None` without an engine, which is said so that nobody takes it for a success.
async fn engine() -> Option<Docker> {
    let Ok(host) = std::env::var("AGENTKERNEL_TEST_DOCKER_HOST") else {
        println!("SKIPPED: AGENTKERNEL_TEST_DOCKER_HOST names no engine");
        return None;
    };
    let path = host.strip_prefix("unix://").unwrap_or(&host);
    let engine = Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).unwrap();
    Some(engine.negotiate_version().await.unwrap())
}

/// An archive of what is given: `(name, type, content or target, mode, owner)`.
fn layer(place: &Path, name: &str, entries: &[(&str, EntryType, &str, u32, u64)]) -> PathBuf {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, text, mode, owner) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_mtime(1_000_000_000);
        match kind {
            EntryType::Symlink => archive.append_link(&mut header, name, text).unwrap(),
            _ => {
                header.set_size(text.len() as u64);
                archive.append_data(&mut header, name, text.as_bytes()).unwrap();
            }
        }
    }
    let path = place.join(name);
    std::fs::create_dir(&path).unwrap();
    let ownership = if rustix::process::geteuid().is_root() { Ownership::Archive } else { Ownership::Caller };
    let options = UnpackOptions {
        bounds: Bounds { bytes: 1 << 20, entries: 100 },
        ownership,
        whiteouts: Whiteouts::Overlay,
        existing: Existing::Replace,
    };
    let archive = archive.into_inner().unwrap();
    unpack(archive.as_slice(), File::open(&path).unwrap().as_fd(), &options).unwrap();
    path
}

fn rootfs(identity: &str, layers: Vec<PathBuf>) -> Rootfs {
    Rootfs {
        identity: identity.to_owned(),
        layers,
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Many,
    }
}

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;

/// Two layers, of which the upper one removes things; another image for every `salt`.
fn two_layers(place: &Path, salt: &str) -> Rootfs {
    let lower = layer(
        place,
        "lower",
        &[
            ("a", FILE, "a", 0o644, 0),
            ("b", FILE, "b", 0o640, 1000),
            ("d/", DIRECTORY, "", 0o750, 7),
            ("d/x", FILE, "x", 0o644, 0),
            ("shadow", FILE, "secret", 0o000, 0),
        ],
    );
    let upper = layer(
        place,
        "upper",
        &[
            (".wh.a", FILE, "", 0o644, 0),
            ("d/", DIRECTORY, "", 0o750, 7),
            ("d/.wh..wh..opq", FILE, "", 0o644, 0),
            ("d/y", FILE, "y", 0o600, 0),
            ("l", EntryType::Symlink, "/etc/passwd", 0o777, 0),
            ("salt", FILE, salt, 0o644, 0),
        ],
    );
    rootfs("handmade", vec![upper, lower])
}

async fn container(engine: &Docker, image: &str) -> String {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["/nothing".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().build();
    engine.create_container(Some(options), body).await.unwrap().id
}

async fn discard(engine: &Docker, container: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    engine.remove_container(container, Some(options)).await.unwrap();
}

/// What a container of `image` has: `mode uid content`, by name.
async fn seen(engine: &Docker, image: &str) -> BTreeMap<String, String> {
    let id = container(engine, image).await;
    let chunks: Vec<bytes::Bytes> = engine.export_container(&id).try_collect().await.unwrap();
    discard(engine, &id).await;
    let archive = chunks.concat();
    let mut seen = BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let header = entry.header().clone();
        let mut text = String::new();
        match entry.link_name().unwrap() {
            Some(target) => text = target.display().to_string(),
            None => drop(std::io::Read::read_to_string(&mut entry, &mut text)),
        }
        let (mode, uid) = (header.mode().unwrap() & 0o7777, header.uid().unwrap());
        seen.insert(name.trim_end_matches('/').to_owned(), format!("{mode:o} {uid} {text}"));
    }
    seen
}

async fn clean(engine: &Docker, image: &str) {
    let id = engine.inspect_image(image).await.unwrap().id.unwrap();
    let found = owned(engine, None).await.unwrap().into_iter().find(|image| bare(image.id()) == bare(&id));
    assert_eq!(remove(engine, &found.unwrap()).await.unwrap(), Removal::Gone);
}

#[tokio::test]
async fn layers_are_in_the_engine_as_they_are_on_disk() {
    let Some(engine) = engine().await else { return };
    let place = tempfile::tempdir().unwrap();
    let mut root = two_layers(place.path(), "layers");
    root.links = vec![("/b".parse().unwrap(), "never".to_owned()), ("/n".parse().unwrap(), "b".to_owned())];
    let image = ensure(&engine, &root, None, place.path()).await.unwrap();
    assert_eq!(ensure(&engine, &root, None, place.path()).await.unwrap(), image);
    let seen = seen(&engine, &image).await;
    let is_root = rustix::process::geteuid().is_root();
    let owner = |id| if is_root { id } else { 0 };
    assert_eq!(seen["b"], format!("640 {} b", owner(1000)), "a layer wins over the skeleton");
    assert_eq!(seen["n"], "777 0 b");
    assert_eq!(seen["d"], format!("750 {} ", owner(7)));
    assert_eq!(seen["d/y"], "600 0 y");
    assert_eq!(seen["l"], "777 0 /etc/passwd");
    assert_eq!(seen["shadow"], "0 0 secret");
    for gone in ["a", "d/x", ".wh.a", "d/.wh..wh..opq"] {
        assert!(!seen.contains_key(gone), "{gone}");
    }
    clean(&engine, &image).await;
}

#[tokio::test]
async fn a_root_without_layers_is_an_image_too() {
    let Some(engine) = engine().await else { return };
    let place = tempfile::tempdir().unwrap();
    let mut root = rootfs("host", Vec::new());
    root.directories = vec![("/var/tmp".parse().unwrap(), 0o1777)];
    root.links = vec![("/bin".parse().unwrap(), "usr/bin".to_owned())];
    let graft = |source: &str, target: &str| Graft {
        source: source.into(),
        target: target.parse().unwrap(),
        layer: Layer::ReadOnly,
    };
    root.grafts = vec![graft("/usr", "/usr"), graft("/etc/passwd", "/etc/names")];
    let image = ensure(&engine, &root, None, place.path()).await.unwrap();
    let seen = seen(&engine, &image).await;
    assert_eq!(seen["var/tmp"], "1777 0 ");
    assert_eq!(seen["bin"], "777 0 usr/bin");
    assert_eq!((seen["usr"].as_str(), seen["etc/names"].as_str()), ("755 0 ", "644 0 "));
    clean(&engine, &image).await;
    let empty = ensure(&engine, &rootfs("nothing at all", Vec::new()), None, place.path()).await.unwrap();
    clean(&engine, &empty).await;
}

#[tokio::test]
async fn two_who_load_the_same_both_succeed() {
    let Some(one) = engine().await else { return };
    let Some(other) = engine().await else { return };
    let place = tempfile::tempdir().unwrap();
    let root = two_layers(place.path(), "two at once");
    for _ in 0..5 {
        let (a, b) =
            tokio::join!(ensure(&one, &root, None, place.path()), ensure(&other, &root, None, place.path()));
        let image = a.unwrap();
        assert_eq!(b.unwrap(), image);
        clean(&one, &image).await;
    }
}

#[tokio::test]
async fn the_engines_own_image_is_taken_where_it_has_it() {
    let Some(engine) = engine().await else { return };
    let place = tempfile::tempdir().unwrap();
    let mut root = two_layers(place.path(), "original");
    let ours = ensure(&engine, &root, None, place.path()).await.unwrap();
    let id = format!("sha256:{}", bare(&engine.inspect_image(&ours).await.unwrap().id.unwrap()));
    root.identity.clone_from(&id);
    assert_eq!(ensure(&engine, &root, None, place.path()).await.unwrap(), id);
    root.links.push(("/more".parse().unwrap(), "b".to_owned()));
    let more = ensure(&engine, &root, None, place.path()).await.unwrap();
    assert!(more.starts_with(NAME) && more != ours, "{more}");
    clean(&engine, &more).await;
    clean(&engine, &ours).await;
}

#[tokio::test]
async fn another_image_of_our_name_is_not_taken() {
    let Some(engine) = engine().await else { return };
    let place = tempfile::tempdir().unwrap();
    let root = two_layers(place.path(), "named");
    let decoy = ensure(&engine, &two_layers(&fresh(&place), "decoy"), None, place.path()).await.unwrap();
    let image = ensure(&engine, &root, None, place.path()).await.unwrap();
    clean(&engine, &image).await;
    let tag = image.rsplit_once(':').unwrap().1;
    let options = bollard::query_parameters::TagImageOptionsBuilder::default().repo(NAME).tag(tag).build();
    engine.tag_image(&decoy, Some(options)).await.unwrap();
    assert_eq!(ensure(&engine, &root, None, place.path()).await.unwrap(), image);
    assert!(seen(&engine, &image).await["salt"].ends_with("named"));
    clean(&engine, &image).await;
    clean(&engine, &decoy).await;
}

fn fresh(place: &tempfile::TempDir) -> PathBuf {
    let path = place.path().join("fresh");
    std::fs::create_dir(&path).unwrap();
    path
}

#[tokio::test]
async fn an_image_that_is_used_is_neither_found_nor_removed() {
    let Some(engine) = engine().await else { return };
    let place = tempfile::tempdir().unwrap();
    let image = ensure(&engine, &two_layers(place.path(), "used"), None, place.path()).await.unwrap();
    let id = engine.inspect_image(&image).await.unwrap().id.unwrap();
    let unused = async || owned(&engine, None).await.unwrap().into_iter().find(|i| bare(i.id()) == bare(&id));
    let found = unused().await.unwrap();
    assert!(found.bytes() > 0);
    let container = container(&engine, &image).await;
    assert_eq!(unused().await, None);
    assert_eq!(remove(&engine, &found).await.unwrap(), Removal::InUse);
    discard(&engine, &container).await;
    assert_eq!(unused().await, Some(found.clone()));
    assert_eq!(remove(&engine, &found).await.unwrap(), Removal::Gone);
    assert_eq!(remove(&engine, &found).await.unwrap(), Removal::Gone);
    assert_eq!(unused().await, None);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("socket");
    // Somebody listens, and hangs up at once.
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let hang_up = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let engine = Docker::connect_with_unix(&socket.display().to_string(), 10, bollard::API_DEFAULT_VERSION);
    let error = ensure(&engine.unwrap(), &rootfs("host", Vec::new()), None, place.path()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    hang_up.abort();
}
