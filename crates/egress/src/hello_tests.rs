use super::*;
use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use std::sync::Arc;

/// What a real client sends first.
fn client_hello(name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_greeting_is_told_from_its_first_whole_part_on() {
    for (bytes, hello) in [
        (client_hello("API.example.com"), Hello::Tls(Some("api.example.com".to_owned()))),
        (client_hello("192.0.2.1"), Hello::Tls(None)),
        (
            b"GET / HTTP/1.1\r\nHost: API.example.com:8080\r\n\r\n".to_vec(),
            Hello::Http(Some("api.example.com".to_owned())),
        ),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), Hello::Http(None)),
        (b"GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n".to_vec(), Hello::Http(Some("::1".to_owned()))),
    ] {
        for length in 0..bytes.len() {
            assert_eq!(classify(&bytes[..length]), None, "{hello:?} at {length}");
        }
        assert_eq!(classify(&bytes), Some(hello));
    }
}

#[test]
fn a_dot_at_the_end_makes_no_other_name() {
    let mut bytes = client_hello("api.example.comx");
    let name = b"api.example.comx";
    let at = bytes.windows(name.len()).position(|part| part == name).unwrap();
    bytes[at + name.len() - 1] = b'.';
    // What is said to be no name is let through by no name either.
    let hello = classify(&bytes).unwrap();
    assert!(
        [Hello::Tls(Some("api.example.com".to_owned())), Hello::Unreadable].contains(&hello),
        "{hello:?}"
    );
}

#[test]
fn other_protocols_do_not_wait() {
    for bytes in [&b"SSH-2.0-x"[..], b"\x00\x01", b"*1\r\n", b"\x10\x00", b"\x15\x00"] {
        assert_eq!(classify(bytes), Some(Hello::Other), "{bytes:?}");
    }
}

#[test]
fn what_others_may_read_a_name_in_is_never_another_protocol() {
    let many = format!("GET / HTTP/1.1\r\n{}Host: evil.com\r\n\r\n", "a: b\r\n".repeat(101));
    for bytes in [
        &b"\r\nGET / HTTP/1.1\r\nHost: evil.com\r\n\r\n"[..],
        b" GET / HTTP/1.1\r\nHost: evil.com\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: evil.com\r\n\r\n",
        b"AAAAAAAAAAAAAAAAAAAAAAAAA",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x2e\x01\x00\x02",
        b"\x14\x03\x03\x00\x01\x01",
        b"\x15\x03\x01\x00\x02\x01\x5a",
        b"\x17\x03\x03\x00\x01x",
        b"\x18\x03",
        b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n",
        many.as_bytes(),
    ] {
        assert_eq!(classify(bytes), Some(Hello::Unreadable), "{bytes:?}");
    }
}

#[test]
fn a_greeting_behind_another_record_is_not_passed_over() {
    let alert = [21, 3, 1, 0, 2, 1, 90];
    assert_eq!(classify(&alert[..1]), None);
    let bytes = [&alert[..], &client_hello("evil.com")].concat();
    assert_eq!(classify(&bytes), Some(Hello::Unreadable));
}

#[tokio::test]
async fn nothing_is_waited_for_longer_than_patience() {
    let (mut ours, mut theirs) = tokio::io::duplex(64);
    let mut seen = Vec::new();
    let patience = Duration::from_millis(20);
    assert_eq!(read(&mut ours, &mut seen, patience).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    tokio::io::AsyncWriteExt::write_all(&mut theirs, b"GET / HT").await.unwrap();
    drop(theirs);
    assert_eq!(read(&mut ours, &mut seen, patience).await.unwrap(), Hello::Unreadable);
    assert_eq!(seen, b"GET / HT");
}

proptest! {
    #[test]
    fn any_bytes_are_classified_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), tls: bool) {
        let mut bytes = bytes;
        if tls {
            bytes.splice(0..0, [22, 3, 1]);
        }
        let _ = classify(&bytes);
        let _ = host_of(&String::from_utf8_lossy(&bytes));
    }
}
