//! Who we are, and to whom we say it.

use crate::{
    fixture::{Picture, Store, options, reference},
    server::{Reply, Request, Server},
};
use agentkernel_image::{Images, PullOptions, Silent};
use agentkernel_model::{Error, Kind};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// `user:hunter2` in base64, as it is sent.
const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

/// A file with these credentials for `host`.
fn credentials(store: &Store, host: &str) -> PathBuf {
    let path = store.dir.path().join("config.json");
    fs::write(&path, format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpodW50ZXIy"}}}}}}"#)).unwrap();
    path
}

fn pull(images: &Images, server: &Server, docker_config: Option<PathBuf>) -> Result<(), Error> {
    let options = PullOptions { docker_config, ..options() };
    images.pull(&reference(server), &options, &Silent).map(drop)
}

/// Registry and its token server in one, which want `wanted` for a token; `realm` is where it says tokens are.
fn token_registry(
    picture: &Picture,
    wanted: Option<&'static str>,
    realm: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Server {
    let host = Arc::new(OnceLock::<String>::new());
    let server = picture.serve_but({
        let host = Arc::clone(&host);
        move |request| {
            if request.path.starts_with("/token") {
                return Some(give_token(request, wanted));
            }
            if request.header("authorization") == Some("Bearer good-token") || request.path == "/v2/" {
                return None;
            }
            let realm = realm(host.get().unwrap());
            let challenge = format!(r#"Bearer realm="{realm}",service="it's me",scope="everything""#);
            Some(Reply::status(401).header("www-authenticate", challenge))
        }
    });
    host.set(server.host()).unwrap();
    server
}

fn give_token(request: &Request, wanted: Option<&str>) -> Reply {
    if request.header("authorization") == wanted {
        Reply::ok(r#"{"token":"good-token","expires_in":1}"#)
    } else {
        Reply::status(401)
    }
}

fn own(host: &str) -> String {
    format!("http://{host}/token")
}

#[test]
fn anonymous_tokens_are_fetched_once_and_for_our_own_scope() {
    let picture = Picture::small("x");
    let server = token_registry(&picture, None, own);
    let store = Store::new();
    pull(&store.images, &server, None).unwrap();
    let tokens: Vec<_> = server.seen().into_iter().filter(|r| r.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].path, "/token?scope=repository%3Atest%2Fimage%3Apull&service=it%27s+me");
}

#[test]
fn credentials_get_a_token_from_the_registry_s_own_origin() {
    let picture = Picture::small("x");
    let server = token_registry(&picture, Some(BASIC), own);
    let store = Store::new();
    let config = credentials(&store, &server.host());
    pull(&store.images, &server, Some(config)).unwrap();
    let to_the_registry: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|r| r.path.starts_with("/v2/") && r.header("authorization") == Some(BASIC))
        .collect();
    assert!(to_the_registry.is_empty(), "a registry that wants a token sees no password");
}

#[test]
fn credentials_stay_here_when_the_token_is_elsewhere() {
    let picture = Picture::small("x");
    let elsewhere = Server::new(|request| give_token(request, Some(BASIC)));
    let realm = format!("http://{}/token", elsewhere.host());
    let server = token_registry(&picture, Some(BASIC), move |_| realm.clone());
    let store = Store::new();
    let config = credentials(&store, &server.host());
    let error = pull(&store.images, &server, Some(config)).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.message().contains("they stay here"), "{error}");
    assert!(elsewhere.seen().iter().all(|r| r.header("authorization").is_none()));
    assert_eq!(elsewhere.seen().len(), 1, "an anonymous token may come from there");
}

#[test]
fn realms_that_are_not_safe_are_not_asked() {
    for realm in ["http://192.0.2.1/token", "ftp://x.test/", "http://user:pass@127.0.0.1:1/"] {
        let server = token_registry(&Picture::small("x"), None, move |_| realm.to_owned());
        let error = pull(&Store::new().images, &server, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{realm}: {error}");
    }
}

fn basic_registry(picture: &Picture) -> Server {
    picture.serve_but(|request| {
        let known = request.header("authorization") == Some(BASIC) || request.path == "/v2/";
        (!known).then(|| Reply::status(401).header("www-authenticate", r#"Basic realm="x""#))
    })
}

#[test]
fn passwords_are_sent_to_who_asks_for_them_and_kept_out_of_errors() {
    let server = basic_registry(&Picture::small("x"));
    let store = Store::new();
    let error = pull(&store.images, &server, None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("or needs credentials"), "{error}");
    assert!(error.hint().unwrap().contains(&format!("docker login {}", server.host())), "{error:?}");
    let config = credentials(&store, &server.host());
    pull(&store.images, &server, Some(config.clone())).unwrap();
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("dXNlcjpodW50ZXIy", "dXNlcjp3cm9uZw=="))
        .unwrap();
    let error = pull(&store.images, &server, Some(config)).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.hint().unwrap().contains("log in again"), "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("wrong") && !shown.contains("dXNlcjp3"), "{shown}");
}

#[test]
fn a_registry_that_repeats_what_it_got_is_not_quoted() {
    let server = Picture::small("x").serve_but(|request| match request.header("authorization") {
        _ if request.path == "/v2/" => None,
        None => Some(Reply::status(401).header("www-authenticate", "Basic")),
        Some(secret) => {
            let body = format!(r#"{{"errors":[{{"code":"{secret}","message":"{secret}"}}]}}"#);
            Some(Reply::with(403, body))
        }
    });
    let store = Store::new();
    let config = credentials(&store, &server.host());
    let error = pull(&store.images, &server, Some(config)).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("dXNlcjpod"), "{shown}");
}

#[test]
fn where_a_registry_leads_to_sees_no_credentials() {
    let picture = Picture::small("x");
    let storage = picture.serve_but({
        let picture = picture.clone();
        move |request| {
            let blob = picture.blobs.get(request.path.rsplit_once('/')?.1)?;
            // As object stores do: two ways to prove who one is are an error.
            let wrong = request.header("authorization").is_some();
            Some(if wrong { Reply::status(400) } else { Reply::ok(blob.clone()) })
        }
    });
    let host = storage.host();
    let server = picture.serve_but(move |request| {
        if request.path == "/v2/" {
            return None;
        }
        if request.header("authorization") != Some(BASIC) {
            return Some(Reply::status(401).header("www-authenticate", "Basic"));
        }
        request.path.contains("/blobs/").then(|| Reply::redirect(format!("http://{host}{}", request.path)))
    });
    let store = Store::new();
    let config = credentials(&store, &server.host());
    pull(&store.images, &server, Some(config)).unwrap();
    assert_eq!(storage.seen().len(), 2);
}

#[test]
fn who_is_led_to_cannot_ask_who_we_are() {
    let picture = Picture::small("x");
    let host = Arc::new(OnceLock::<String>::new());
    let storage = Server::new({
        let host = Arc::clone(&host);
        move |request| {
            if request.path.starts_with("/token") {
                return Reply::ok(r#"{"token":"t"}"#);
            }
            let challenge = format!(r#"Bearer realm="http://{}/token""#, host.get().unwrap());
            Reply::status(401).header("www-authenticate", challenge)
        }
    });
    host.set(storage.host()).unwrap();
    let server = picture.serve_but(move |request| {
        let to = format!("http://{}/x", host.get().unwrap());
        request.path.contains("/blobs/").then(|| Reply::redirect(to))
    });
    let store = Store::new();
    let config = credentials(&store, &server.host());
    pull(&store.images, &server, Some(config)).unwrap_err();
    let asked: Vec<String> = storage.seen().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/x"], "no token is fetched for it");
    assert!(storage.seen().iter().all(|r| r.header("authorization").is_none()));
}

#[test]
fn a_token_that_ran_out_is_renewed() {
    let picture = Picture::small("x");
    let tokens = Arc::new(AtomicUsize::new(0));
    let host = Arc::new(OnceLock::<String>::new());
    let server = picture.serve_but({
        let (tokens, host) = (Arc::clone(&tokens), Arc::clone(&host));
        move |request| {
            if request.path.starts_with("/token") {
                let number = tokens.fetch_add(1, Ordering::SeqCst) + 1;
                return Some(Reply::ok(format!(r#"{{"access_token":"t{number}"}}"#)));
            }
            // The second token is for blobs.
            let wanted = if request.path.contains("/blobs/") { "Bearer t2" } else { "Bearer t1" };
            let challenge = format!(r#"Bearer realm="http://{}/token""#, host.get().unwrap());
            let known = request.path == "/v2/" || request.header("authorization") == Some(wanted);
            (!known).then(|| Reply::status(401).header("www-authenticate", challenge))
        }
    });
    host.set(server.host()).unwrap();
    pull(&Store::new().images, &server, None).unwrap();
    assert_eq!(tokens.load(Ordering::SeqCst), 2);
}

#[test]
fn a_helper_s_token_is_exchanged() {
    let picture = Picture::small("x");
    let host = Arc::new(OnceLock::<String>::new());
    let server = picture.serve_but({
        let host = Arc::clone(&host);
        move |request| {
            if request.path == "/token" {
                let right = request.method == "POST"
                    && request.body.contains("grant_type=refresh_token")
                    && request.body.contains("refresh_token=re%2Bfresh")
                    && request.body.contains("scope=repository%3Atest%2Fimage%3Apull");
                return Some(if right { Reply::ok(r#"{"access_token":"t"}"#) } else { Reply::status(400) });
            }
            let challenge = format!(r#"Bearer realm="http://{}/token",service="s""#, host.get().unwrap());
            let known = request.path == "/v2/" || request.header("authorization") == Some("Bearer t");
            (!known).then(|| Reply::status(401).header("www-authenticate", challenge))
        }
    });
    host.set(server.host()).unwrap();
    let store = Store::new();
    let config = store.dir.path().join("config.json");
    fs::write(&config, r#"{"credsStore":"test"}"#).unwrap();
    let helper = store.dir.path().join("docker-credential-test");
    fs::write(
        &helper,
        "#!/bin/sh\ncat >/dev/null; echo '{\"Username\":\"<token>\",\"Secret\":\"re+fresh\"}'\n",
    )
    .unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let options = PullOptions {
        docker_config: Some(config),
        helper_path: vec![store.dir.path().to_owned()],
        ..options()
    };
    store.images.pull(&reference(&server), &options, &Silent).unwrap();
}
