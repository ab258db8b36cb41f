use super::*;
use proptest::prelude::*;
use std::{io::Read as _, os::unix::fs::MetadataExt as _};

fn written(chunks: &[Vec<u8>]) -> (Vec<u8>, u64) {
    let mut holey = Holey::new(tempfile::tempfile().unwrap());
    chunks.iter().for_each(|chunk| holey.write(chunk).unwrap());
    let mut file = holey.end().unwrap();
    file.rewind().unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    (content, file.metadata().unwrap().blocks() * 512)
}

#[test]
fn zeros_take_no_disk() {
    let mut chunks = vec![vec![0; 1 << 20]; 16];
    chunks.insert(8, b"in the middle".to_vec());
    let (content, on_disk) = written(&chunks);
    assert!(content == chunks.concat());
    assert!(on_disk < 1 << 20, "{on_disk} bytes");
    assert_eq!(written(&[vec![0; BLOCK * 2]]).0, vec![0; BLOCK * 2]);
}

proptest! {
    #[test]
    fn everything_arrives(chunks in prop::collection::vec(
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            (0..3 * BLOCK).prop_map(|length| vec![0; length]),
            (0..3 * BLOCK).prop_map(|length| vec![7; length]),
        ],
        0..8,
    )) {
        prop_assert!(written(&chunks).0 == chunks.concat());
    }
}
