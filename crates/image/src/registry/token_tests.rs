use super::*;

#[test]
fn credentials_go_to_known_pairs_only() {
    let pair = |registry: &str, realm: &str| is_pair(&registry.parse().unwrap(), &Url::parse(realm).unwrap());
    assert!(pair("https://registry-1.docker.io", "https://auth.docker.io/token"));
    assert!(pair("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"));
    for (registry, realm) in [
        ("https://registry-1.docker.io", "https://gitlab.com/jwt/auth"),
        ("https://registry-1.docker.io", "https://auth.docker.io:8443/token"),
        ("https://registry-1.docker.io", "https://auth.docker.io.evil.test/token"),
        ("https://registry-1.docker.io:5000", "https://auth.docker.io/token"),
        ("https://evil.test", "https://auth.docker.io/token"),
        ("http://localhost", "https://auth.docker.io/token"),
    ] {
        assert!(!pair(registry, realm), "{registry} {realm}");
    }
}
