//! Mirrors and rules of `registries.toml`.

use crate::{
    fixture::{Picture, Store, options, reference},
    server::{Reply, Server},
};
use agentkernel_image::{Progress, PullOptions, Registries};
use agentkernel_model::{Kind, image::Reference};
use std::{fs, net::TcpListener, sync::Mutex};

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

fn rules(registry: &str, mirrors: &[&str]) -> PullOptions {
    let list: Vec<String> = mirrors.iter().map(|host| format!("\"http://{host}\"")).collect();
    let text = format!("[\"{registry}\"]\nmirrors = [{}]", list.join(", "));
    PullOptions { registries: Registries::parse("registries.toml", &text).unwrap(), ..options() }
}

#[test]
fn mirrors_are_asked_in_their_order_and_then_the_registry() {
    let picture = Picture::small("x");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let down = listener.local_addr().unwrap().to_string();
    drop(listener);
    let lacking = Server::new(|_| Reply::status(404));
    let registry = picture.serve();
    let options = rules(&registry.host(), &[&down, &lacking.host()]);
    let store = Store::new();
    let notes = Notes::default();
    let pulled = store.images.pull(&reference(&registry), &options, &notes).unwrap();
    assert_eq!(pulled.source, registry.host());
    let notes = notes.0.into_inner().unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains(&down) && notes[1].contains(&lacking.host()), "{notes:?}");
    assert_eq!(lacking.seen().len(), 1, "who lacks the manifest is not asked for blobs");
}

#[test]
fn a_mirror_that_has_it_spares_the_registry() {
    let picture = Picture::small("x");
    let (mirror, registry) = (picture.serve(), picture.serve());
    let options = rules(&registry.host(), &[&mirror.host()]);
    let pulled = Store::new().images.pull(&reference(&registry), &options, &Notes::default()).unwrap();
    assert_eq!(pulled.source, mirror.host());
    assert!(registry.seen().is_empty());
}

#[test]
fn a_mirror_without_a_layer_sends_us_to_the_registry_for_it() {
    let picture = Picture::small("x");
    let layer = picture.layer(0);
    let mirror = picture.serve_but(move |request| request.path.ends_with(&layer).then(|| Reply::status(404)));
    let registry = picture.serve();
    let options = rules(&registry.host(), &[&mirror.host()]);
    Store::new().images.pull(&reference(&registry), &options, &Notes::default()).unwrap();
    assert_eq!(registry.seen().len(), 1);
}

#[test]
fn a_mirror_that_lies_is_not_passed_over() {
    let picture = Picture::small("x");
    let layer = picture.layer(0);
    let mirror = picture.serve_but({
        let length = picture.blobs[&layer].len();
        move |request| request.path.ends_with(&layer).then(|| Reply::ok(vec![0; length]))
    });
    let registry = picture.serve();
    let options = rules(&registry.host(), &[&mirror.host()]);
    let store = Store::new();
    let error = store.images.pull(&reference(&registry), &options, &Notes::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains(&mirror.host()), "{error}");
    store.assert_nothing_kept();
}

#[test]
fn credentials_of_docker_hub_never_go_to_its_mirror() {
    let picture = Picture::small("x");
    let mirror = picture.serve_but(|request| {
        let open = request.path == "/v2/" || request.header("authorization").is_some();
        (!open).then(|| Reply::status(401).header("www-authenticate", "Basic"))
    });
    let store = Store::new();
    let config = store.dir.path().join("config.json");
    let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpodW50ZXIy"},"docker.io":{"auth":"dXNlcjpodW50ZXIy"}}}"#;
    fs::write(&config, text).unwrap();
    let short = std::time::Duration::from_millis(50);
    let mut options = PullOptions { docker_config: Some(config), ..rules("docker.io", &[&mirror.host()]) };
    options.patience.connect = short;
    let name: Reference = "python:3".parse().unwrap();
    store.images.pull(&name, &options, &Notes::default()).unwrap_err();
    assert!(mirror.seen().iter().all(|r| r.header("authorization").is_none()));
    assert_eq!(mirror.seen()[0].path, "/v2/library/python/manifests/3");
}

#[test]
fn a_mirror_of_docker_hub_serves_it() {
    let mirror = Picture::small("x").serve();
    let store = Store::new();
    let name: Reference = "python:3".parse().unwrap();
    store.images.pull(&name, &rules("docker.io", &[&mirror.host()]), &Notes::default()).unwrap();
    assert_eq!(store.images.list().unwrap()[0].names, [name]);
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let server = Picture::small("x").serve();
    let text = format!("[\"{}\"]\nblocked = true", server.host());
    let options = PullOptions { registries: Registries::parse("r", &text).unwrap(), ..options() };
    let error = Store::new().images.pull(&reference(&server), &options, &Notes::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(server.seen().is_empty());
}
