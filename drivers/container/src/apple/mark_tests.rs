use super::*;
use std::io::{Read as _, Write as _, pipe};

#[tokio::test]
async fn what_follows_the_word_is_left_in_the_stream() {
    let (read, mut write) = pipe().unwrap();
    write.write_all(b"some warning\nx-nonce 42\r\nhello\nrest").unwrap();
    drop(write);
    let (mark, rest) = find(read.into(), "x-nonce").await.unwrap();
    assert!(matches!(mark, Mark::Said(said) if said == "42"));
    let mut text = String::new();
    std::fs::File::from(rest).read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello\nrest");
}

#[tokio::test]
async fn a_stream_without_the_word_is_what_was_said() {
    let (read, mut write) = pipe().unwrap();
    write.write_all(b"Error: no such thing").unwrap();
    drop(write);
    let (mark, _) = find(read.into(), "x-nonce").await.unwrap();
    assert!(matches!(mark, Mark::Ended(said) if said == b"Error: no such thing"));
}

#[tokio::test]
async fn noise_without_end_is_not_kept() {
    let (read, mut write) = pipe().unwrap();
    let noise = std::thread::spawn(move || while write.write_all(&[b'x'; 4096]).is_ok() {});
    let error = find(read.into(), "x-nonce").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    noise.join().unwrap();
}
