use super::*;

fn headers(rows: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in rows {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

fn names(map: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_belongs_to_a_connection_ends_with_it() {
    let mut map = headers(&[
        ("connection", "close, X-Mine"),
        ("connection", "x-other , te"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("te", "gzip, trailers"),
        ("x-mine", "1"),
        ("x-other", "2"),
        ("x-kept", "3"),
        ("trailer", "x-sum"),
    ]);
    strip(&mut map);
    assert_eq!(names(&map), ["te", "trailer", "x-kept"]);
    assert_eq!(map["te"], "trailers");
}

#[test]
fn a_name_is_what_programs_behind_a_server_read_in_it() {
    let mut map = headers(&[
        ("x_http_method_override", "delete"),
        ("X-HTTP_Method", "PUT"),
        ("x.method.override", "PATCH"),
        ("x_httpmethod", "GET"),
        ("x_original_url", "/a"),
        ("X-Rewrite_Url", "/b"),
        ("content_length", "5"),
        ("transfer_encoding", "chunked"),
    ]);
    let mut methods: Vec<String> = other_methods(&map).collect();
    methods.sort_unstable();
    assert_eq!(methods, ["DELETE", "PATCH", "PUT"]);
    strip_other_paths(&mut map);
    assert!(!names(&map).iter().any(|name| name.contains("url")), "{map:?}");
    strip(&mut map);
    assert_eq!(names(&map), ["x-http_method", "x.method.override", "x_http_method_override", "x_httpmethod"]);
}

#[test]
fn a_protocol_that_is_not_http_again_may_be_changed_to() {
    let wish = |protocol: &str| {
        upgrade(&headers(&[("connection", "Keep-Alive, Upgrade"), ("upgrade", protocol)]))
            .map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(wish("websocket").as_deref(), Some("websocket"));
    assert_eq!(wish("h2c, websocket").as_deref(), Some("websocket"));
    for again in ["h2c", "H2C", "HTTP/2.0", "TLS/1.0", "tls/1.2, http/1.1", "", " , "] {
        assert_eq!(wish(again), None, "{again}");
    }
    assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None, "RFC 9110, section 7.8");
}

#[test]
fn trailers_are_no_headers() {
    let mut map = headers(&[
        ("authorization", "x"),
        ("host", "x"),
        ("content-length", "1"),
        ("content_type", "x"),
        ("x-api-key", "x"),
        ("x_http_method_override", "DELETE"),
        ("x-original-url", "/"),
        ("grpc-status", "0"),
    ]);
    clean_trailers(&mut map);
    assert_eq!(names(&map), ["grpc-status"]);
}
