use super::*;
use agentkernel_model::secret::Secret;
use agentkernel_trust::resolve;

fn bound(texts: &[&str]) -> Vec<Bound> {
    let bindings: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
    resolve(&bindings, &[]).unwrap()
}

fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in rows {
        map.append(*name, value.parse().unwrap());
    }
    map
}

#[test]
fn what_the_client_wrote_is_replaced_and_nothing_is_shown() {
    let mut map = headers(&[
        ("authorization", "Bearer mine"),
        ("authorization", "Basic bWU6bWU="),
        ("accept-encoding", "br, zstd"),
        ("range", "bytes=0-3"),
        ("if-range", "x"),
        ("x-other", "stays"),
    ]);
    let injected = inject(&mut map, "api.x.com", bound(&["KEY=hidden-value:api.x.com"])).unwrap().unwrap();
    let sent: Vec<_> = map.get_all("authorization").iter().collect();
    assert_eq!(sent, ["Bearer hidden-value"]);
    assert!(sent[0].is_sensitive());
    assert!(!format!("{map:?}").contains("hidden"));
    assert_eq!(map["accept-encoding"], "gzip, identity");
    assert!(!map.contains_key("range") && !map.contains_key("if-range") && map.contains_key("x-other"));
    assert_eq!(injected.names, ["KEY".parse().unwrap()]);
    assert_eq!(injected.headers, [header::AUTHORIZATION]);
}

#[test]
fn another_spelling_of_the_header_goes_too() {
    let mut map = headers(&[("x_api_key", "mine"), ("x-api_key", "mine"), ("x-other", "stays")]);
    inject(&mut map, "api.anthropic.com", bound(&["ANTHROPIC_API_KEY=hidden-value:api.anthropic.com"]))
        .unwrap()
        .unwrap();
    let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept-encoding", "x-api-key", "x-other"]);
    assert_eq!(map["x-api-key"], "hidden-value");
}

#[test]
fn the_placeholder_goes_from_any_header() {
    let basic = format!("Basic {}", STANDARD.encode("me:ak-proxy-managed"));
    let mut map = headers(&[
        ("authorization", "Bearer ak-proxy-managed"),
        ("x-mine", "xak-proxy-managedx"),
        ("x-basic", &basic),
        ("x-stays", "Basic !!"),
        ("x-short", "b"),
    ]);
    inject(&mut map, "api.anthropic.com", bound(&["ANTHROPIC_API_KEY=hidden-value:api.anthropic.com"]))
        .unwrap()
        .unwrap();
    let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept-encoding", "x-api-key", "x-short", "x-stays"]);
}

#[test]
fn one_for_the_host_goes_before_one_for_the_domain() {
    let secrets = bound(&["WIDE=wide-value:*.x.com", "NARROW=narrow-value:api.x.com"]);
    let mut map = HeaderMap::new();
    let injected = inject(&mut map, "api.x.com", secrets).unwrap().unwrap();
    assert_eq!(map["authorization"], "Bearer narrow-value");
    assert_eq!(injected.names, ["NARROW".parse().unwrap()]);
}

#[test]
fn without_secrets_nothing_changes() {
    let mut map = headers(&[("authorization", "Bearer ak-proxy-managed"), ("range", "bytes=0-3")]);
    let before = map.clone();
    assert!(inject(&mut map, "api.x.com", Vec::new()).unwrap().is_none());
    assert_eq!(map, before);
}

#[test]
fn the_placeholder_goes_from_the_query() {
    for (path, wanted) in [
        ("/v1?key=ak-proxy-managed", "/v1"),
        ("/v1?a=1&key=ak-proxy-managed&b=2", "/v1?a=1&b=2"),
        ("/v1?key=ak-proxy-managed-not&ak-proxy-managed", "/v1?key=ak-proxy-managed-not&ak-proxy-managed"),
        ("/v1?a=1;key=ak-proxy-managed&b=2;c=3", "/v1?b=2;c=3"),
        ("/v1?", "/v1?"),
        ("/ak-proxy-managed", "/ak-proxy-managed"),
    ] {
        let bound = bound(&["KEY=any-value:api.x.com"]);
        let injected = inject(&mut HeaderMap::new(), "api.x.com", bound).unwrap().unwrap();
        assert_eq!(without_keys(path.parse().unwrap(), &injected).as_str(), wanted);
    }
}

#[test]
fn at_a_known_service_no_key_of_the_client_goes_along() {
    let own = [
        ("authorization", "Bearer mine"),
        ("x_api_key", "mine"),
        ("x-goog-api-key", "mine"),
        ("private-token", "mine"),
        ("x-auth-key", "mine"),
        ("x-other", "stays"),
    ];
    let sent = |name: &str, pattern: &str, header: Option<&str>| {
        let mut map = headers(&own);
        let host = pattern.replace("*.", "generativelanguage.");
        let (name, pattern) = (name.parse().unwrap(), pattern.parse().unwrap());
        let secret = Secret::new(b"any-value".to_vec()).unwrap();
        let bound = Bound::new(name, pattern, header.map(|name| name.parse().unwrap()), secret).unwrap();
        let injected = inject(&mut map, &host, vec![bound]).unwrap().unwrap();
        let mut names: Vec<_> = map.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        (injected, names.join(" "))
    };
    let (anthropic, names) = sent("ANTHROPIC_API_KEY", "api.anthropic.com", None);
    assert_eq!(names, "accept-encoding x-api-key x-other");
    let (gemini, names) = sent("GEMINI_API_KEY", "generativelanguage.googleapis.com", None);
    assert_eq!(names, "accept-encoding x-goog-api-key x-other");
    // The host that is asked decides, and not how much was allowed.
    let (wide, names) = sent("GEMINI_API_KEY", "*.googleapis.com", Some("x-goog-api-key"));
    assert_eq!(names, "accept-encoding x-goog-api-key x-other");
    // Where nobody knows what the service takes, or another header was written, the client may have keys of its own.
    let (unknown, names) = sent("KEY", "api.x.com", Some("X-Goog-Api-Key"));
    assert_eq!(
        names,
        "accept-encoding authorization private-token x-auth-key x-goog-api-key x-other x_api_key"
    );
    let (_, names) = sent("ANTHROPIC_API_KEY", "api.anthropic.com", Some("X-Mine"));
    assert!(names.contains("authorization"), "{names}");
    let path = "/v1?key=mine&a=1&k%65y=mine&$key=mine&%24key=mine&access_token=mine&b;oauth_token=mine&Private_Token";
    let rows = [
        (anthropic, "/v1?key=mine&a=1&k%65y=mine&$key=mine&%24key=mine"),
        (gemini, "/v1?a=1"),
        (wide, "/v1?a=1"),
        (unknown, path),
    ];
    for (injected, left) in rows {
        assert_eq!(without_keys(path.parse().unwrap(), &injected).as_str(), left);
    }
}

#[test]
fn the_header_of_every_known_service_is_one_of_keys() {
    for provider in agentkernel_model::secret::Provider::all() {
        let name = provider.keys()[0].parse().unwrap();
        for host in provider.hosts() {
            let header = agentkernel_model::secret::header_for(&name, &host);
            let mut map = headers(&[("x-other", "stays")]);
            map.insert(header.name().as_str().parse::<HeaderName>().unwrap(), "mine".parse().unwrap());
            headers::strip_other_keys(&mut map, &[]);
            assert_eq!(map.len(), 1, "{}", header.name());
        }
    }
}
