use super::*;

#[test]
fn the_address_is_read_from_the_line_that_says_it() {
    let line = r#"time="2026" level=info msg="listening on 127.0.0.1:39379" go.version=go1.19.8"#;
    assert_eq!(address(line), Some(SocketAddr::from(([127, 0, 0, 1], 39379))));
    for line in ["", "listening on ", "listening on nothing", r#"msg="redis not configured""#] {
        assert_eq!(address(line), None, "{line}");
    }
}

#[test]
fn a_server_that_does_not_start_is_an_error_with_its_last_word() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yml");
    std::fs::write(&config, "version: 99\n").unwrap();
    let error = Server::start(&config).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(!error.message().contains("it said: nothing"), "{error}");
}
