use super::*;
use crate::oci::{ImageConfig, LayerWriter};

fn image(dir: &Path, name: &str) -> Image {
    let mut layer =
        LayerWriter::create(dir.join(format!("layer-{}", name.replace([':', '/'], "-")))).unwrap();
    layer.file("hello", 0o644, name.as_bytes()).unwrap();
    let config = ImageConfig { command: vec!["/hello".to_owned()], ..ImageConfig::default() };
    Image::new(name.parse().unwrap(), &config, &[layer.finish().unwrap()])
}

#[test]
fn what_is_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let images = [image(dir.path(), "alpine:3.20"), image(dir.path(), "nickblah/lua:5.4-alpine").indexed()];
    let layout = Layout::write(dir.path().join("layout"), &images).unwrap();
    let read = layout.images().unwrap();
    assert_eq!(read.len(), 2);
    for (read, written) in read.iter().zip(&images) {
        assert_eq!(read.reference, written.reference);
        assert_eq!(read.root, written.root);
        assert_eq!(read.children, written.children);
        let digests = |image: &Image| {
            let mut digests: Vec<Digest> = image.blobs.iter().map(|b| b.digest.clone()).collect();
            digests.sort();
            digests
        };
        assert_eq!(digests(read), digests(written));
        for blob in &read.blobs {
            let Content::File(path) = &blob.content else { panic!("not in a file") };
            assert_eq!(crate::oci::image::digest_of(&fs::read(path).unwrap()), blob.digest);
        }
    }
}

#[test]
fn a_layout_is_written_over_and_a_foreign_directory_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("layout");
    Layout::write(place.clone(), &[image(dir.path(), "one:1")]).unwrap();
    let layout = Layout::write(place, &[image(dir.path(), "two:2")]).unwrap();
    let names: Vec<String> = layout.images().unwrap().iter().map(|i| i.reference.to_string()).collect();
    assert_eq!(names, ["two:2"]);
    let error = Layout::write(dir.path().to_owned(), &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(!dir.path().join(INDEX_FILE).exists());
}

#[test]
fn what_is_no_layout_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(INDEX_FILE), r#"{"manifests": 1}"#).unwrap();
    assert_eq!(Layout::at(dir.path().to_owned()).images().unwrap_err().kind(), Kind::Invalid);
}
