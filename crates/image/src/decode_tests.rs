use super::*;
use agentkernel_model::Kind;
use std::io::Write as _;

const SMALL: Limits = Limits { most: 1 << 30, unsuspicious: 4 << 20, ratio: 20, early: 1 << 20 };

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// The digest of what `bytes` unpack to, and their size that is believed.
fn finish(bytes: &[u8]) -> Result<Digest> {
    let (file, halt) = (file(bytes), Halt::new());
    Content::new(&file, "layer x", bytes.len() as u64, SMALL, &halt)?.finish()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn digest(bytes: &[u8]) -> Digest {
    digest::of(bytes)
}

#[test]
fn every_compression_gives_the_same_content() {
    let content = b"some content ".repeat(10_000);
    let (first, second) = content.split_at(777);
    let skippable =
        [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd::encode_all(&content[..], 3).unwrap()];
    for bytes in [
        content.clone(),
        gzip(&content),
        [gzip(first), gzip(second)].concat(),
        zstd::encode_all(&content[..], 3).unwrap(),
        [zstd::encode_all(first, 3).unwrap(), zstd::encode_all(second, 19).unwrap()].concat(),
        skippable.concat(),
    ] {
        assert_eq!(finish(&bytes).unwrap(), digest(&content));
    }
}

#[test]
fn a_bomb_is_found_out_early() {
    let bomb = gzip(&vec![0; 64 << 20]);
    let (file, halt) = (file(&bomb), Halt::new());
    let mut content = Content::new(&file, "layer x", bomb.len() as u64, SMALL, &halt).unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut given = 0;
    let error = loop {
        match content.read(&mut buffer) {
            Ok(0) => panic!("all of it came"),
            Ok(read) => given += read as u64,
            Err(e) => break broken("?", e),
        }
    };
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().starts_with("layer x unpacks to far more"), "{error}");
    // The decoder reads a quarter of a megabyte ahead.
    assert!(given < SMALL.of(bomb.len() as u64) / 2, "{given} bytes were on their way to the disk");
}

#[test]
fn what_only_looks_like_a_bomb_at_first_is_unpacked() {
    // Two megabytes of zeros first; as a whole it is within bounds.
    let content = vec![0; 2 << 20];
    assert_eq!(finish(&gzip(&content)).unwrap(), digest(&content));
}

#[test]
fn a_slow_bomb_is_given_up_at_the_limit() {
    // It never looks bad: the limit alone ends it.
    let content: Vec<u8> =
        (0..5 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let (file, halt) = (file(&content), Halt::new());
    let error = Content::new(&file, "layer x", 10, SMALL, &halt).unwrap().finish().unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn the_limit_follows_the_size() {
    assert_eq!(LIMITS.of(10), 1 << 30);
    assert_eq!(LIMITS.of(10 << 20), 2000 << 20);
    assert_eq!(LIMITS.of(u64::MAX), 64 << 30);
}

#[test]
fn broken_and_cut_streams_are_invalid() {
    let content = b"some content ".repeat(10_000);
    for mut bytes in [gzip(&content), zstd::encode_all(&content[..], 3).unwrap()] {
        let cut = bytes.len() - 5;
        let error = finish(&bytes[..cut]).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0xff);
        let broken = finish(&bytes);
        assert!(broken.is_err_and(|e| e.kind() == Kind::Invalid));
    }
}

#[test]
fn a_huge_window_is_refused() {
    // A frame that asks for a window of 2 GiB: magic, descriptor without single segment, window exponent 21.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    let error = finish(&frame).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn it_stops_when_told() {
    let (file, halt) = (file(b"abc"), Halt::new());
    let content = Content::new(&file, "x", 3, SMALL, &halt).unwrap();
    halt.call();
    assert_eq!(content.finish().unwrap_err().kind(), Kind::Cancelled);
}
