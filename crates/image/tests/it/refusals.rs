//! Registries that say no, not now, or nothing; and redirects.

use crate::{
    fixture::{Picture, Store, options, reference},
    server::{Body, Reply, Server},
};
use agentkernel_image::{Patience, PullOptions, Silent};
use agentkernel_model::{Error, Kind, error::Retry};
use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

fn pull(server: &Server) -> Result<(), Error> {
    Store::new().images.pull(&reference(server), &options(), &Silent).map(drop)
}

fn always(reply: Reply) -> Server {
    Server::new(move |_| reply.clone())
}

#[test]
fn no_is_told_with_what_may_help() {
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"\u001b[31mnot here"}]}"#;
    let error = pull(&always(Reply::with(404, unknown))).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().ends_with("(HTTP 404, MANIFEST_UNKNOWN)"), "{error}");
    assert!(error.hint().unwrap().contains("private images: docker login 127.0.0.1"), "{error:?}");
    let error = pull(&always(Reply::status(403))).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let error = pull(&always(Reply::status(418))).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Never));
}

#[test]
fn not_now_is_tried_again_and_not_for_ever() {
    for (status, said) in [(500, "fails"), (502, "fails"), (503, "fails"), (429, "too often")] {
        let server = always(Reply::status(status));
        let error = pull(&server).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Later), "{status}");
        assert!(error.message().contains(said), "{error}");
        assert_eq!(server.count("/manifests/"), 7);
    }
}

#[test]
fn retry_after_is_honoured_up_to_a_minute() {
    let picture = Picture::small("x");
    let count = AtomicUsize::new(0);
    let server = picture.serve_but(move |request| {
        let first = request.path.contains("/manifests/") && count.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| Reply::status(429).header("retry-after", "0"))
    });
    pull(&server).unwrap();
    assert_eq!(server.count("/manifests/"), 2);
    for wait in ["3600", "99999999999999", "Tue, 31 Dec 2199 23:59:59 GMT"] {
        let server = always(Reply::status(429).header("retry-after", wait));
        let error = pull(&server).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Later));
        assert!(error.message().contains("asks to come back in"), "{error}");
        assert_eq!(server.count("/manifests/"), 1);
    }
    let error = pull(&always(Reply::status(429).header("retry-after", "3600"))).unwrap_err();
    assert_eq!(error.hint(), Some("try again in 60 minutes"));
}

#[test]
fn nobody_there_is_to_be_tried_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let name = format!("{closed}/a/b").parse().unwrap();
    let error = Store::new().images.pull(&name, &options(), &Silent).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Later));
    assert!(error.message().contains(&format!("registry '{closed}' cannot be reached")), "{error}");
}

/// Options for which a silent server has had its time soon.
fn hurried() -> PullOptions {
    let patience = Patience { idle: Duration::from_millis(50), ..options().patience };
    PullOptions { patience, ..options() }
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let picture = Picture::large(100_000);
    let layer = picture.layer(0);
    let blob = picture.blobs[&layer].clone();
    let server = picture.serve_but(move |request| {
        let stalled = Body::Stalled(blob.len(), blob[..10].to_vec());
        (request.path.ends_with(&layer) && request.from().is_none()).then(|| Reply::ok("").body(stalled))
    });
    let store = Store::new();
    store.images.pull(&reference(&server), &hurried(), &Silent).unwrap();
    let mute = Server::new(|_| Reply::ok("").body(Body::Stalled(1, Vec::new())));
    let error = store.images.pull(&reference(&mute), &hurried(), &Silent).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Later));
    assert!(error.message().contains("did not answer in time"), "{error}");
}

#[test]
fn redirects_lead_to_a_place_and_not_round_in_circles() {
    let picture = Picture::small("x");
    let there = picture.serve();
    let host = there.host();
    let server = picture.serve_but(move |request| match request.path.as_str() {
        "/v2/" => None,
        // A relative one, and one to another server of this machine.
        path if path.starts_with("/v2/") => Some(Reply::redirect(format!("/moved{path}"))),
        path => Some(Reply::redirect(format!("http://{host}{}", path.strip_prefix("/moved")?))),
    });
    pull(&server).unwrap();
    let circle = always(Reply::redirect("/v2/again"));
    let error = pull(&circle).unwrap_err();
    assert!(error.message().contains("more than 5 times"), "{error}");
    assert_eq!(circle.seen().len(), 6);
}

#[test]
fn redirects_to_unsafe_places_are_not_followed() {
    for to in ["http://192.0.2.1/x", "file:///etc/passwd", "http://u:p@127.0.0.1:1/", "", "http://[bad"] {
        let server = Server::new(move |request| match request.path.as_str() {
            "/v2/" => Reply::ok("{}"),
            _ if to.is_empty() => Reply::status(302),
            _ => Reply::redirect(to),
        });
        let error = pull(&server).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{to}: {error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn one_layer_that_fails_ends_the_others_soon() {
    let layers: Vec<(Vec<u8>, Vec<u8>)> = (0..6)
        .map(|n| {
            let layer = crate::fixture::tar(&[("f", &crate::fixture::noise(1000 + n))]);
            (layer.clone(), layer)
        })
        .collect();
    let picture = Picture::new(&layers, serde_json::json!({}));
    let failing = picture.layer(1);
    let blobs = picture.blobs.clone();
    let id = picture.id();
    let server = picture.serve_but(move |request| {
        if request.path.ends_with(&failing) {
            return Some(Reply::status(403));
        }
        // The others would have the pull wait for the end of all patience.
        let (_, name) = request.path.rsplit_once('/')?;
        let blob = blobs.get(name).filter(|_| name != id)?;
        Some(Reply::ok("").body(Body::Stalled(blob.len(), blob[..10].to_vec())))
    });
    assert_eq!(pull(&server).unwrap_err().kind(), Kind::Denied);
}
