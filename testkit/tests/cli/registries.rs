//! Registries that speak TLS: whose certificates are believed, and to whom credentials go. And whom a configuration
//! that was only found may have asked.

use super::images::bench;
use agentkernel_testkit::{
    TestEnv,
    env::{Finished, Invocation},
    origin::{Certificate, Front, Gate, Site},
    registry::Registry,
    service::{Untouched, answering},
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

/// The project gets a configuration that names `image`; [`FOUND`] only finds it.
fn found(env: &TestEnv, image: &str) {
    env.file("project/agentkernel.toml", format!("[sandbox]\nbase_image = \"{image}\"\n"));
}

const FOUND: [&str; 3] = ["run", "--", "./x"];

fn not_asked_for_a_found_file(refused: Finished) {
    let shown = refused.to_string();
    let refused = refused.code(125).error_with_hint(&["only found", "this machine or its network"]);
    for way_out in ["--image", "agentkernel images pull", "agentkernel trust", "registries.toml"] {
        assert!(refused.err().contains(way_out), "{way_out}: {shown}");
    }
}

#[test]
fn a_found_file_has_nothing_of_this_machine_asked() {
    let (env, service) = (TestEnv::new(), Untouched::listen().unwrap());
    env.registries("");
    let port = service.address().unwrap().port();
    for host in [
        "0x7f.0.0.1",
        "127.0.0.1",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "localhost",
        "a.localhost",
        "0.0.0.0",
    ] {
        found(&env, &format!("{host}:{port}/probe/x:1"));
        let refused = env.agentkernel(&FOUND).run();
        service.is_untouched();
        not_asked_for_a_found_file(refused);
    }
}

/// The name is one of `/etc/hosts`, in a mount namespace of the test's own.
#[test]
fn a_found_file_has_no_name_asked_that_leads_to_this_machine() {
    let (env, service) = (TestEnv::new(), Untouched::listen().unwrap());
    env.registries("");
    let hosts = env.file("hosts", "127.0.0.1 registry.example\n");
    let image = format!("registry.example:{}/probe/x:1", service.address().unwrap().port());
    found(&env, &image);
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let (alone, hosts) = (if env.is_root() { "-m" } else { "-Urm" }, hosts.to_string_lossy().into_owned());
    let binary = env.binary().to_string_lossy().into_owned();
    let mut words = vec![alone, "--", "sh", "-c", script, &hosts, &binary];
    words.extend(FOUND);
    let refused = env.program("/usr/bin/unshare".as_ref(), &words).run();
    service.is_untouched();
    not_asked_for_a_found_file(refused);
}

#[test]
fn a_found_file_is_led_to_no_other_place_of_this_machine() {
    let (env, service) = (TestEnv::new(), Untouched::listen().unwrap());
    let there = format!("http://{}", service.address().unwrap());
    let nothing = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    for answer in [
        format!("HTTP/1.1 307 Elsewhere\r\nLocation: {there}/v2/\r\n{nothing}"),
        format!(
            "HTTP/1.1 401 Who\r\nWWW-Authenticate: Bearer realm=\"{there}/token\",service=\"x\"\r\n{nothing}"
        ),
    ] {
        let trusted = answering(answer).unwrap();
        env.registries(&format!("[\"{trusted}\"]\n"));
        found(&env, &format!("{trusted}/probe/x:1"));
        let refused = env.agentkernel(&FOUND).run();
        service.is_untouched();
        not_asked_for_a_found_file(refused);
    }
}

#[test]
fn a_found_file_has_that_asked_which_the_owner_lists_names_or_trusts() {
    let (env, registry) = bench("tools:1");
    let host = registry.url().replace("http://", "");
    let image = format!("{host}/library/tools:1");
    let run = ["run", "--", "/bin/cat", "/etc/shown"];
    let again = || {
        let removed = env.agentkernel(&["images", "delete", &image]).run();
        assert!(matches!(removed.code, Some(0 | 125)), "{removed}");
    };
    env.registries("");
    found(&env, &image);
    not_asked_for_a_found_file(env.agentkernel(&run).run());
    env.agentkernel(&["run", "--image", &image, "--", "cat", "/etc/shown"]).run().ok().prints("shown\n");
    // It is here now, and nobody is asked.
    env.agentkernel(&run).run().ok().prints("shown\n");
    again();
    not_asked_for_a_found_file(env.agentkernel(&run).run());
    env.agentkernel(&["trust"]).run().ok();
    env.agentkernel(&run).run().ok().prints("shown\n");
    env.agentkernel(&["trust", "--revoke"]).run().ok();
    again();
    env.registries(&format!("[\"{host}\"]\n"));
    env.agentkernel(&run).run().ok().prints("shown\n");
    env.assert_nothing_left();
}
