//! Registries that lie: about digests, lengths, parts and sizes. Each lie is named, and nothing of it is kept.

use crate::{
    fixture::{OCI_CONFIG, Picture, Store, digest, gzip, options, reference, tar},
    server::{Body, Reply, Request, Server},
};
use agentkernel_image::Silent;
use agentkernel_model::{Error, Kind};
use serde_json::json;

/// Pulls from `server`, which must fail and leave nothing.
fn refused(server: &Server) -> Error {
    let store = Store::new();
    let error = store.images.pull(&reference(server), &options(), &Silent).unwrap_err();
    store.assert_nothing_kept();
    error
}

fn assert_lie(server: &Server, about: &str) {
    let error = refused(server);
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!(error.message().contains(&server.host()) && error.message().contains(about), "{error}");
}

/// A server whose layer is answered by `lie`.
fn layer_lie(
    picture: &Picture,
    lie: impl Fn(&[u8], &Request) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    let layer = picture.layer(0);
    let blob = picture.blobs[&layer].clone();
    picture.serve_but(move |request| if request.path.ends_with(&layer) { lie(&blob, request) } else { None })
}

#[test]
fn other_content_than_the_digest_says() {
    let picture = Picture::small("x");
    let server = layer_lie(&picture, |blob, _| {
        let mut other = blob.to_vec();
        let last = other.len() - 1;
        other[last] ^= 1;
        Some(Reply::ok(other))
    });
    assert_lie(&server, &picture.layer(0));
}

#[test]
fn lengths_that_do_not_agree() {
    let picture = Picture::large(300_000);
    type Lie = fn(&[u8], &Request) -> Option<Reply>;
    let lies: [Lie; 7] = [
        // More, less, and an absurd lot, by header.
        |blob, _| Some(Reply::ok([blob, b"more"].concat())),
        |blob, _| Some(Reply::ok(&blob[..blob.len() - 1])),
        |blob, _| Some(Reply::ok("").body(Body::Claimed(1 << 50, blob.to_vec()))),
        // More and less, without one.
        |blob, _| Some(Reply::ok("").body(Body::Chunked([blob, b"more"].concat()))),
        |blob, r| {
            Some(Reply::ok("").body(Body::Chunked(blob[r.from().unwrap_or(0).min(1000)..1000].to_vec())))
        },
        |_, _| Some(Reply::ok("").body(Body::Chunked(Vec::new()))),
        // A part that nobody asked for, and then another part than was asked for.
        |blob, r| match r.from() {
            None => Some(Reply::ok("").body(Body::Claimed(blob.len(), blob[..1000].to_vec()))),
            Some(_) => Some(
                Reply::with(206, &blob[5..]).header("content-range", format!("bytes 5-9/{}", blob.len())),
            ),
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let server = layer_lie(&picture, lie);
        let error = refused(&server);
        assert_eq!(error.kind(), Kind::Invalid, "{number}: {error}");
        assert!(error.message().contains(&picture.layer(0)), "{number}: {error}");
        // Without a length, it is the first byte too many that ends it.
        assert!(number != 3 || error.message().contains("sends more than"), "{error}");
    }
}

#[test]
fn a_manifest_that_is_not_what_was_pinned_or_what_its_header_says() {
    let picture = Picture::small("x");
    let wrong = digest(b"something else");
    let by_header = picture.serve_but({
        let (picture, wrong) = (picture.clone(), wrong.clone());
        move |request| {
            let reply = picture.answer(request).header("docker-content-digest", wrong.clone());
            request.path.contains("/manifests/").then_some(reply)
        }
    });
    assert_lie(&by_header, &wrong);
    let pinned = picture.serve_but({
        let picture = picture.clone();
        move |request| request.path.contains("/manifests/").then(|| Reply::ok(picture.text()))
    });
    let name = format!("{}/a/b@{wrong}", pinned.host()).parse().unwrap();
    let store = Store::new();
    let error = store.images.pull(&name, &options(), &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains(&wrong), "{error}");
    store.assert_nothing_kept();
}

#[test]
fn a_layer_that_unpacks_to_another_diff_id() {
    let layer = tar(&[("a", "b")]);
    let picture = Picture::new(&[(gzip(&layer), b"another".to_vec())], json!({}));
    let error = refused(&picture.serve());
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(
        error.message().contains(&digest(&layer)) && error.message().contains(&digest(b"another")),
        "{error}"
    );
}

#[test]
fn texts_that_are_too_long_for_what_they_are() {
    let picture = Picture::small("x");
    let long = picture.serve_but(|request| {
        request.path.contains("/manifests/").then(|| Reply::ok(vec![b' '; (4 << 20) + 1]))
    });
    assert_lie(&long, "4194304");
    let endless = picture.serve_but(|request| {
        let body = Body::Chunked(vec![b' '; 5 << 20]);
        request.path.contains("/manifests/").then(|| Reply::ok("").body(body))
    });
    assert_lie(&endless, "4194304");
    let mut large = picture.clone();
    large.manifest["config"]["size"] = json!((8 << 20) + 1);
    assert_lie(&large.serve(), &picture.id());
    let mut short = picture.clone();
    short.manifest["config"]["size"] = json!(1);
    assert_lie(&short.serve(), &picture.id());
}

#[test]
fn layers_from_elsewhere_never_make_us_connect() {
    let elsewhere = Picture::small("x").serve();
    let mut picture = Picture::small("x");
    picture.manifest["layers"][0]["urls"] = json!([format!("http://{}/evil", elsewhere.host())]);
    assert_eq!(refused(&picture.serve()).kind(), Kind::Denied);
    let mut foreign = Picture::small("x");
    foreign.manifest["layers"][0]["mediaType"] =
        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    assert_eq!(refused(&foreign.serve()).kind(), Kind::Denied);
    assert_eq!(elsewhere.seen().len(), 0);
}

#[test]
fn manifests_that_are_none() {
    for (manifest, kind) in [
        (json!({"schemaVersion": 1, "fsLayers": []}), Kind::Unsupported),
        (json!({"schemaVersion": 2}), Kind::Invalid),
        (json!("text"), Kind::Invalid),
        (
            json!({"schemaVersion": 2, "config": {"mediaType": "x/y", "digest": digest(b""), "size": 0}, "layers": []}),
            Kind::Unsupported,
        ),
        (
            json!({"schemaVersion": 2, "config": {"mediaType": OCI_CONFIG, "digest": "sha256:../../etc", "size": 0}, "layers": [1]}),
            Kind::Invalid,
        ),
    ] {
        let picture = Picture { manifest, ..Picture::small("x") };
        assert_eq!(refused(&picture.serve()).kind(), kind);
    }
}

#[test]
fn counts_of_layers_that_do_not_agree() {
    let layer = gzip(&tar(&[("a", "b")]));
    let config = json!({"os": "linux", "architecture": crate::fixture::architecture(), "rootfs": {"diff_ids": [digest(b"1"), digest(b"2")]}});
    assert_eq!(refused(&Picture::of_parts(&config, &[layer]).serve()).kind(), Kind::Invalid);
}

#[test]
fn archives_that_lead_outside_or_are_none() {
    for bytes in [b"no archive at all".repeat(100), gzip(b"no archive either"), vec![0x1f, 0x8b, 8, 0]] {
        let unpacked =
            if bytes.starts_with(&[0x1f, 0x8b]) { b"no archive either".to_vec() } else { bytes.clone() };
        let error = refused(&Picture::new(&[(bytes, unpacked)], json!({})).serve());
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..12].copy_from_slice(b"../../escape");
    header.set_size(0);
    header.set_cksum();
    archive.append(&header, &[][..]).unwrap();
    let slip = archive.into_inner().unwrap();
    let error = refused(&Picture::new(&[(gzip(&slip), slip)], json!({})).serve());
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn an_encoding_that_nobody_asked_for() {
    let picture = Picture::small("x");
    let server = layer_lie(&picture, |blob, _| Some(Reply::ok(blob).header("content-encoding", "gzip")));
    assert_eq!(refused(&server).kind(), Kind::Invalid);
}

#[test]
fn a_user_that_the_image_does_not_have() {
    let layer = tar(&[("etc/passwd", "root:x:0:0::/root:/bin/sh\n")]);
    let picture = Picture::new(&[(gzip(&layer), layer)], json!({"User": "nobody-knows"}));
    let store = Store::new();
    let server = picture.serve();
    let error = store.images.pull(&reference(&server), &options(), &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains("nobody-knows"), "{error}");
    assert!(store.images.list().unwrap().is_empty());
}
