use super::*;
use std::collections::BTreeMap;

/// Name, kind, mode, owner and content or target of every entry.
fn entries(layer: &Layer) -> Vec<(String, EntryType, u32, u64, String)> {
    let file = File::open(&layer.path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!(header.mtime().unwrap(), MTIME);
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let target = entry.link_name().unwrap().map(|t| t.to_string_lossy().into_owned());
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        let kind = header.entry_type();
        found.push((name, kind, header.mode().unwrap(), header.uid().unwrap(), target.unwrap_or(content)));
    }
    found
}

fn write(path: PathBuf) -> Layer {
    let mut layer = LayerWriter::create(path).unwrap();
    layer.directory("tmp", 0o1777).unwrap();
    layer.file("a/b/file", 0o640, b"content").unwrap();
    layer.directory("a/b", 0o700).unwrap();
    layer.symlink("a/link", "../etc/nothing").unwrap();
    layer.hard_link("a/other", "a/b/file").unwrap();
    layer.whiteout("etc/gone").unwrap();
    layer.directory_as("home/user", Attributes { mode: 0o755, uid: 1000, gid: 1000 }).unwrap();
    layer.file(&format!("long/{}", "x".repeat(250)), 0o644, b"").unwrap();
    layer.finish().unwrap()
}

#[test]
fn entries_are_what_was_written_and_parents_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let found = entries(&write(dir.path().join("layer")));
    let names: Vec<&str> = found.iter().map(|e| e.0.as_str()).collect();
    let long = format!("long/{}", "x".repeat(250));
    let expected = [
        "tmp/",
        "a/",
        "a/b/",
        "a/b/file",
        "a/link",
        "a/other",
        "etc/",
        "etc/.wh.gone",
        "home/",
        "home/user/",
        "long/",
        &long,
    ];
    assert_eq!(names, expected);
    let by_name: BTreeMap<&str, _> = found.iter().map(|e| (e.0.as_str(), e)).collect();
    assert_eq!(by_name["tmp/"].2, 0o1777);
    assert_eq!((by_name["a/b/file"].2, by_name["a/b/file"].4.as_str()), (0o640, "content"));
    assert_eq!((by_name["a/link"].1, by_name["a/link"].4.as_str()), (EntryType::Symlink, "../etc/nothing"));
    assert_eq!((by_name["a/other"].1, by_name["a/other"].4.as_str()), (EntryType::Link, "a/b/file"));
    assert_eq!(by_name["home/user/"].3, 1000);
}

#[test]
fn the_same_content_has_the_same_digests() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (write(dir.path().join("one")), write(dir.path().join("two")));
    assert_eq!((&one.digest, &one.diff_id), (&two.digest, &two.diff_id));
    let bytes = fs::read(&one.path).unwrap();
    assert_eq!(crate::oci::image::digest_of(&bytes), one.digest);
    assert_eq!(u64::try_from(bytes.len()).unwrap(), one.size);
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut archive).unwrap();
    assert_eq!(crate::oci::image::digest_of(&archive), one.diff_id);
    assert_eq!(u64::try_from(archive.len()).unwrap(), one.unpacked);
}

#[test]
fn what_comes_twice_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut layer = LayerWriter::create(dir.path().join("layer")).unwrap();
    layer.file("a/b", 0o644, b"").unwrap();
    assert!(layer.file("a/b", 0o644, b"").is_err());
    assert!(layer.symlink("a", "b").is_err());
}

/// Gives its bytes in pieces of one size, as a pipe may.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(into.len()).min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn how_content_is_cut_into_reads_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    // Text of a kind: it has repetitions at many distances.
    let content: Vec<u8> =
        (0_u32..400_000).flat_map(|n| (n.wrapping_mul(n) / 7).to_string().into_bytes()).collect();
    let write = |piece: usize| {
        let mut layer = LayerWriter::create(dir.path().join(piece.to_string())).unwrap();
        let size = u64::try_from(content.len()).unwrap();
        layer.file_as("file", Attributes::of_root(0o644), size, Dripping(&content, piece)).unwrap();
        layer.finish().unwrap()
    };
    let whole = write(8192);
    for piece in [1, 511, 1000, 4095] {
        assert_eq!(write(piece).digest, whole.digest, "{piece}");
    }
}
