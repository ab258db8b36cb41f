use super::*;
use agentkernel_backend::{GeneratedFile, ImageDefaults, Owners};
use std::{collections::BTreeMap, fs};

fn rootfs(content: &str) -> Rootfs {
    Rootfs {
        identity: "handmade".to_owned(),
        layers: Vec::new(),
        grafts: Vec::new(),
        links: Vec::new(),
        directories: vec![("/workspace".parse().unwrap(), 0o755)],
        files: vec![GeneratedFile {
            target: "/etc/greeting".parse().unwrap(),
            mode: 0o640,
            content: content.into(),
        }],
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    }
}

fn entries(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let read = |entry: io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn every_blob_has_the_digest_and_size_that_are_written_of_it() {
    let place = tempfile::tempdir().unwrap();
    let layout = Layout::of(&rootfs("hello"), place.path()).unwrap();
    let (name, hash) = (layout.name(), layout.hash().to_owned());
    let file = layout.write(place.path()).unwrap();
    let entries = entries(file.path());
    let of = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let content = &entries[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(recipe::digest(content).as_str(), digest);
        assert_eq!(content.len() as u64, descriptor["size"].as_u64().unwrap());
        content.clone()
    };
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let index = parsed(&entries["index.json"]);
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], name.as_str());
    let manifest = parsed(&of(&index["manifests"][0]));
    let config = parsed(&of(&manifest["config"]));
    assert_eq!(config["config"]["Labels"][IMAGE_LABEL], hash.as_str());
    let layers: Vec<Vec<u8>> = manifest["layers"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(layers.len(), 2, "the skeleton and the generated files");
    let mut top = tar::Archive::new(layers[1].as_slice());
    let mut greeting = top.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(greeting.path().unwrap().to_str(), Some("etc/greeting"));
    assert_eq!(greeting.header().mode().unwrap(), 0o640);
    let mut content = String::new();
    greeting.read_to_string(&mut content).unwrap();
    assert_eq!(content, "hello");
}

#[test]
fn generated_files_are_part_of_the_name() {
    let place = tempfile::tempdir().unwrap();
    let name = |rootfs: &Rootfs| Layout::of(rootfs, place.path()).unwrap().name();
    assert_eq!(name(&rootfs("a")), name(&rootfs("a")));
    assert_ne!(name(&rootfs("a")), name(&rootfs("b")));
}

#[test]
fn the_file_goes_with_its_value() {
    let place = tempfile::tempdir().unwrap();
    let file = Layout::of(&rootfs("a"), place.path()).unwrap().write(place.path()).unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    drop(file);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
