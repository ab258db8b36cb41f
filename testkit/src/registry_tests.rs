use super::*;
use crate::oci::{ImageConfig, LayerWriter};
use std::{fs::OpenOptions, io::Write as _};

fn image(dir: &Path) -> Image {
    let mut layer = LayerWriter::create(dir.join("layer")).unwrap();
    layer.file("hello", 0o644, b"hello").unwrap();
    Image::new("alpine:3.20".parse().unwrap(), &ImageConfig::default(), &[layer.finish().unwrap()])
}

fn get(url: &str) -> (u16, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
    let mut answer = agent.get(url).header("Accept", accept).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap())
}

#[test]
fn what_was_pushed_is_served_and_the_server_is_gone_with_its_handle() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path()).indexed();
    let registry = Registry::start().unwrap();
    let base = format!("{}/v2/library/alpine", registry.url());
    assert_eq!(get(&format!("{base}/manifests/3.20")).0, 404);
    registry.push(&image).unwrap();
    registry.push(&image).unwrap();
    assert_eq!(get(&format!("{base}/manifests/3.20")), (200, image.root().bytes().to_vec()));
    assert_eq!(image.children().len(), 2);
    for child in image.children() {
        let served = get(&format!("{base}/manifests/{}", child.digest()));
        assert_eq!(served, (200, child.bytes().to_vec()));
    }
    for blob in image.blobs() {
        let (status, bytes) = get(&format!("{base}/blobs/{}", blob.digest()));
        assert_eq!((status, u64::try_from(bytes.len()).unwrap()), (200, blob.size()));
    }
    assert!(registry.log().iter().any(|line| line.contains("listening on")));
    let (address, storage) = (registry.url().replace("http://", ""), registry.storage());
    assert!(storage.exists());
    drop(registry);
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(!storage.exists());
}

#[test]
fn a_layout_is_pushed_whole_and_what_it_lies_about_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::write(dir.path().join("layout"), &[image(dir.path())]).unwrap();
    let registry = Registry::start().unwrap();
    registry.push_layout(&layout).unwrap();
    assert_eq!(get(&format!("{}/v2/library/alpine/manifests/3.20", registry.url())).0, 200);

    let second = Registry::start().unwrap();
    assert_ne!(second.port(), registry.port());
    let blob = layout.images().unwrap()[0].blobs()[1].digest().hex().to_owned();
    let path = layout.directory().join("blobs/sha256").join(blob);
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(b"broken").unwrap();
    let error = second.push_layout(&layout).unwrap_err();
    assert!(error.message().contains("cannot upload a blob"), "{error}");
}

#[test]
fn the_settings_point_the_well_known_registries_here() {
    let registry = Registry::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config/agentkernel/registries.toml");
    registry.write_settings(&path).unwrap();
    let url = registry.url();
    let table = |name: &str| format!("[\"{name}\"]\nmirrors = [\"{url}\"]\nmirrors_only = true\n");
    let expected = format!("{}\n{}", table("docker.io"), table("mcr.microsoft.com"));
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
}
