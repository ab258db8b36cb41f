use super::*;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use std::{collections::BTreeMap, io::Read as _, path::Path};

fn layers(place: &Path) -> Vec<PackedLayer> {
    let big: Vec<u8> = (0..(CHUNK * 2 + 7)).map(|i| i as u8).collect();
    [b"one".as_slice(), &big, b""].map(|bytes| PackedLayer::from_bytes(bytes, place).unwrap()).into()
}

fn mark() -> Mark {
    Mark { hash: "ab".to_owned(), owner: None }
}

async fn sent(bundle: Bundle) -> Vec<u8> {
    let size = bundle.size();
    let chunks: Vec<Bytes> = bundle.into_stream().try_collect().await.unwrap();
    let longest = chunks.iter().map(Bytes::len).max().unwrap();
    assert!(longest as u64 <= CHUNK, "{longest}");
    let all = chunks.concat();
    assert_eq!(all.len() as u64, size);
    all
}

#[tokio::test]
async fn what_is_sent_is_an_image_that_names_its_layers() {
    let place = tempfile::tempdir().unwrap();
    let bundle = Bundle::new("agentkernel.local/rootfs:ab", (mark(), layers(place.path()))).unwrap();
    let all = sent(bundle).await;
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(all.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(entry.path().unwrap().display().to_string(), content);
    }
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["RepoTags"], json!(["agentkernel.local/rootfs:ab"]));
    let config = &files[manifest[0]["Config"].as_str().unwrap()];
    assert_eq!(manifest[0]["Config"], json!(format!("{}.json", digest(config).hex())));
    let config: Value = serde_json::from_slice(config).unwrap();
    assert_eq!(config["config"], json!({ "Labels": { "sh.agentkernel.rootfs": "ab" } }));
    let named: Vec<&str> =
        manifest[0]["Layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let digests: Vec<Value> = named.iter().map(|name| json!(digest(&files[*name]).as_str())).collect();
    assert_eq!(config["rootfs"]["diff_ids"], Value::Array(digests));
    assert_eq!((named.len(), files.len()), (3, 5));
}

#[tokio::test]
async fn the_same_layers_make_the_same_image() {
    let place = tempfile::tempdir().unwrap();
    let bundle = || Bundle::new("x", (mark(), layers(place.path()))).unwrap();
    assert_eq!(sent(bundle()).await, sent(bundle()).await);
}

#[tokio::test]
async fn a_layer_that_is_shorter_than_it_was_breaks_the_request() {
    let place = tempfile::tempdir().unwrap();
    let layer = PackedLayer::from_bytes(b"12345", place.path()).unwrap();
    let mut bundle = Bundle::new("x", (mark(), vec![layer])).unwrap();
    for part in &mut bundle.parts {
        if let Part::File(_, size) = part {
            *size += 1;
        }
    }
    let sent: io::Result<Vec<Bytes>> = bundle.into_stream().try_collect().await;
    assert!(sent.is_err());
}
