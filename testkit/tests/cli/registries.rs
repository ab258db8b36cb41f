//! Registries that speak TLS: whose certificates are believed, and to whom credentials go.

use super::images::bench;
use agentkernel_testkit::{
    TestEnv,
    env::{Finished, Invocation},
    origin::{Certificate, Front, Gate, Site},
    registry::Registry,
};
use std::net::SocketAddr;

/// `user:hunter2`, as it is sent.
const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

/// A pull of `tools:1` from the server at `address`, by somebody who believes the authority of `site` alone.
fn pull(env: &TestEnv, site: &Site, address: SocketAddr) -> Invocation {
    let authority = env.file("authority.pem", site.authority().pem());
    let image = format!("{address}/library/tools:1");
    env.agentkernel(&["images", "pull", &image]).env("SSL_CERT_FILE", authority)
}

fn nothing_is_here(env: &TestEnv) {
    env.agentkernel(&["images", "list", "--all", "--json"]).run().ok().prints("[]\n");
}

fn not_trusted(refused: Finished, why: &str) {
    let shown = refused.to_string();
    let refused = refused.code(125).error_with_hint(&["cannot be trusted", why]);
    assert!(refused.err().contains("SSL_CERT_FILE"), "{shown}");
}

#[test]
fn an_authority_that_is_named_is_believed() {
    let ((env, registry), site) = (bench("tools:1"), Site::new().unwrap());
    let secured = registry.secured(site.authority(), &["127.0.0.1"], Certificate::Right).unwrap();
    // What this machine trusts does not hold the test's authority; and nobody falls back to plain http.
    let image = format!("{}/library/tools:1", secured.address());
    not_trusted(env.agentkernel(&["images", "pull", &image]).run(), "UnknownIssuer");
    nothing_is_here(&env);
    pull(&env, &site, secured.address()).run().ok();
    let log = secured.log().join("\n");
    assert!(log.contains("/v2/library/tools/manifests/1"), "it was not asked: {log}");
    let run = ["run", "-i", &image, "--no-network", "--", "cat", "/etc/shown"];
    env.agentkernel(&run).run().ok().prints("shown\n");
    env.assert_nothing_left();
}

#[test]
fn a_certificate_that_is_not_right_is_refused() {
    let ((env, registry), site) = (bench("tools:1"), Site::new().unwrap());
    for (certificate, why) in [
        (Certificate::Expired, "expired"),
        (Certificate::OtherName, "not valid for name"),
        (Certificate::Stranger, "UnknownIssuer"),
    ] {
        let secured = registry.secured(site.authority(), &["127.0.0.1"], certificate).unwrap();
        not_trusted(pull(&env, &site, secured.address()).run(), why);
        let log = secured.log().join("\n");
        assert!(!log.contains("manifests"), "{certificate:?}: it was asked for the image: {log}");
    }
    nothing_is_here(&env);
}

/// The registry behind a front that wants a token.
fn guarded(site: &Site, registry: &Registry, realm: Option<String>) -> Front {
    let behind = SocketAddr::from(([127, 0, 0, 1], registry.port()));
    site.front(&["127.0.0.1"], behind, Gate { wanted: BASIC.to_owned(), realm }).unwrap()
}

/// As `docker login` leaves them.
fn log_in(env: &TestEnv, front: &Front) {
    env.directory("home/.docker");
    let auths = serde_json::json!({"auths": {front.address().to_string(): {"auth": "dXNlcjpodW50ZXIy"}}});
    env.file("home/.docker/config.json", auths.to_string());
}

#[test]
fn a_token_is_fetched_from_the_registry_s_own_realm() {
    let ((env, registry), site) = (bench("tools:1"), Site::new().unwrap());
    let front = guarded(&site, &registry, None);
    let stranger = pull(&env, &site, front.address()).run().code(125);
    let login = format!("docker login {}", front.address());
    assert!(stranger.err().contains(&login), "{stranger}");
    log_in(&env, &front);
    pull(&env, &site, front.address()).run().ok();
    let came = front.came();
    let password_at = |path: &str| came.iter().any(|(p, who)| p == path && who.as_deref() == Some(BASIC));
    assert!(password_at("/token"), "{came:?}");
    let elsewhere = came.iter().filter(|(path, _)| path != "/token");
    let leaked: Vec<_> = elsewhere.filter(|(_, who)| who.as_deref() == Some(BASIC)).collect();
    assert!(leaked.is_empty(), "a registry that gives out tokens saw the password: {leaked:?}");
}

#[test]
fn credentials_stay_here_when_the_realm_is_elsewhere() {
    let ((env, registry), site) = (bench("tools:1"), Site::new().unwrap());
    let collector = guarded(&site, &registry, None);
    let realm = format!("https://{}/token", collector.address());
    let front = guarded(&site, &registry, Some(realm));
    log_in(&env, &front);
    let refused = pull(&env, &site, front.address()).run().code(125);
    assert!(refused.err().contains("they stay here"), "{refused}");
    let all: Vec<_> = front.came().into_iter().chain(collector.came()).collect();
    assert!(all.iter().any(|(path, who)| path == "/token" && who.is_none()), "nobody asked it: {all:?}");
    assert!(all.iter().all(|(_, who)| who.as_deref() != Some(BASIC)), "{all:?}");
    let shown = format!("{}{}", refused.out(), refused.err());
    assert!(!shown.contains("hunter2") && !shown.contains("dXNl"), "{shown}");
    nothing_is_here(&env);
}
