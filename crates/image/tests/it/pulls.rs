//! What a pull brings, and how it goes on after breaks.

use crate::{
    fixture::{
        OCI_INDEX, OCI_MANIFEST, Picture, Store, architecture, digest, gzip, options, reference, tar, zstd,
    },
    server::{Body, Reply, Server},
};
use agentkernel_image::{Change, LayerState, Progress, Silent};
use agentkernel_model::{Kind, image::Digest};
use serde_json::json;
use std::{
    fs,
    sync::{
        Arc, Barrier, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

#[test]
fn an_image_comes_with_all_it_says() {
    let base = tar(&[
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv/app:/bin/sh\n"),
        ("etc/old", "gone"),
        ("same", "base"),
    ]);
    let middle = tar(&[("etc/.wh.old", ""), ("same", "middle")]);
    let top = tar(&[("same", "top")]);
    let layers = [(gzip(&base), base), (zstd(&middle), middle), (top.clone(), top)];
    let execution = json!({"User": "app", "Env": ["A=b=c"], "WorkingDir": "/srv/app", "Entrypoint": ["/e"], "Cmd": ["c"]});
    let picture = Picture::new(&layers, execution);
    let server = picture.serve();
    let store = Store::new();
    let name = reference(&server);
    assert!(store.images.find(&name).unwrap().is_none());

    let pulled = store.images.pull(&name, &options(), &Silent).unwrap();
    assert_eq!(pulled.change, Change::New);
    assert_eq!(pulled.source, server.host());
    assert_eq!(pulled.image.id().to_string(), picture.id());
    assert_eq!(pulled.digest.to_string(), digest(&picture.text()));
    assert_eq!(pulled.image.command(), ["c"]);

    let found = store.images.find(&name).unwrap().unwrap();
    assert_eq!(found, pulled.image);
    assert_eq!(store.images.find_id(found.id()).unwrap().unwrap(), found);
    let lease = store.images.lease(&found).unwrap();
    let root = &lease.rootfs;
    assert_eq!(root.identity, picture.id());
    let read = |layer: usize, path: &str| fs::read_to_string(root.layers[layer].join(path)).ok();
    let same: Vec<_> = (0..3).map(|layer| read(layer, "same").unwrap()).collect();
    assert_eq!(same, ["top", "middle", "base"]);
    assert_eq!(read(2, "etc/old").unwrap(), "gone", "hidden, not taken away");
    assert!(root.layers[1].join("etc/old").symlink_metadata().is_ok(), "a whiteout hides it");
    let env = |key: &str| root.env.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    assert_eq!(env("A"), Some("b=c"));
    assert_eq!(env("HOME"), Some("/srv/app"));
    assert_eq!(env("PATH"), Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    assert_eq!(root.defaults.user.unwrap().to_string(), "1000:1001");
    assert_eq!(root.defaults.workdir.as_ref().unwrap().as_str(), "/srv/app");
    assert_eq!(root.defaults.entrypoint, ["/e"]);
    assert!(root.files.iter().any(|file| file.target.as_str() == "/etc/resolv.conf"));

    let list = store.images.list().unwrap();
    assert_eq!((list.len(), list[0].names.as_slice(), list[0].layers), (1, [name].as_slice(), 3));
    assert!(list[0].bytes > 0 && list[0].pulled_at > 0);
    assert_eq!(store.names("partial"), Vec::<String>::new());
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let picture = Picture::small("x");
    let server = picture.serve();
    let store = Store::new();
    store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    let again = store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    assert_eq!(again.change, Change::UpToDate);
    assert_eq!(server.count(&picture.layer(0)), 1);
}

#[test]
fn a_tag_that_moves_leaves_the_old_image_without_a_name() {
    let pictures = [Picture::small("one"), Picture::small("two")];
    let turn = Arc::new(AtomicUsize::new(0));
    let server = Server::new({
        let (pictures, turn) = (pictures.clone(), Arc::clone(&turn));
        move |request| pictures[turn.load(Ordering::SeqCst)].answer(request)
    });
    let store = Store::new();
    store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    turn.store(1, Ordering::SeqCst);
    let second = store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    assert_eq!(second.change, Change::Moved);
    let names: Vec<usize> = store.images.list().unwrap().iter().map(|image| image.names.len()).collect();
    assert_eq!(names, [1, 0]);
}

#[test]
fn an_index_leads_to_this_machine_and_a_digest_pins_it() {
    let picture = Picture::small("x");
    let entry = |architecture: &str, digest: &str| {
        json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": picture.text().len(),
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let other = digest(b"other");
    let index = |entries: serde_json::Value| {
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).to_string().into_bytes()
    };
    let good = index(json!([entry("s390x", &other), entry(architecture(), &digest(&picture.text()))]));
    let bad = index(json!([entry("s390x", &other), entry("mips", &other)]));
    let server = picture.serve_but({
        let (good, bad) = (good.clone(), bad.clone());
        move |request| match request.path.rsplit_once('/')?.1 {
            "good" => Some(Reply::ok(good.clone())),
            name if name == digest(&good) => Some(Reply::ok(good.clone())),
            "bad" => Some(Reply::ok(bad.clone())),
            _ => None,
        }
    });
    let store = Store::new();
    let pull = |end: &str| {
        let name = format!("{}/test/image{end}", server.host()).parse().unwrap();
        store.images.pull(&name, &options(), &Silent)
    };
    assert_eq!(pull(":good").unwrap().digest.to_string(), digest(&good));
    assert_eq!(pull(&format!("@{}", digest(&good))).unwrap().image.id().to_string(), picture.id());
    let error = pull(":bad").unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().ends_with("it offers linux/mips, linux/s390x"), "{error}");
}

#[test]
fn an_image_for_another_machine_is_refused_by_its_own_word() {
    let config = json!({"os": "linux", "architecture": "s390x", "rootfs": {"diff_ids": [digest(b"x")]}});
    let server = Picture::of_parts(&config, &[b"x".to_vec()]).serve();
    let store = Store::new();
    let error = store.images.pull(&reference(&server), &options(), &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().contains("it offers linux/s390x"), "{error}");
    store.assert_nothing_kept();
}

/// The answer to a request for a layer, from a byte on.
type Turn = fn(&[u8], Option<usize>) -> Reply;

/// Answers for the layer of `picture`, one after the other, then properly.
fn serve_turns(picture: &Picture, turns: Vec<Turn>) -> Server {
    let layer = picture.layer(0);
    let blob = picture.blobs[&layer].clone();
    let count = AtomicUsize::new(0);
    picture.serve_but(move |request| {
        if !request.path.ends_with(&layer) {
            return None;
        }
        let turn = turns.get(count.fetch_add(1, Ordering::SeqCst))?;
        Some(turn(&blob, request.from()))
    })
}

#[test]
fn a_break_is_resumed_where_it_was() {
    let picture = Picture::large(300_000);
    let server = serve_turns(
        &picture,
        vec![
            |blob, _| Reply::ok("").body(Body::Claimed(blob.len(), blob[..100_000].to_vec())),
            |_, _| Reply::status(503),
            |blob, from| {
                let from = from.unwrap();
                let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                let rest = Body::Claimed(blob.len() - from, blob[from..200_000].to_vec());
                Reply::status(206).header("content-range", range).body(rest)
            },
        ],
    );
    let store = Store::new();
    store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    let ranges: Vec<_> =
        server.seen().iter().filter(|r| r.path.ends_with(&picture.layer(0))).map(|r| r.from()).collect();
    assert_eq!(ranges, [None, Some(100_000), Some(100_000), Some(200_000)]);
}

#[test]
fn a_server_without_ranges_makes_us_start_over() {
    let picture = Picture::large(300_000);
    let server = serve_turns(
        &picture,
        vec![
            |blob, _| Reply::ok("").body(Body::Claimed(blob.len(), blob[..100_000].to_vec())),
            |blob, _| Reply::ok("").body(Body::Claimed(blob.len(), blob[..50_000].to_vec())),
            |_, _| Reply::status(416),
            |blob, from| {
                assert_eq!(from, None, "after a refused range all is asked for");
                Reply::ok(blob)
            },
        ],
    );
    let store = Store::new();
    store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    assert_eq!(server.count(&picture.layer(0)), 4);
}

#[test]
fn what_an_interrupted_pull_left_is_used_and_what_is_bad_of_it_is_not() {
    let picture = Picture::large(300_000);
    let layer = picture.layer(0);
    let store = Store::new();
    let partial = store.path().join("partial").join(layer.strip_prefix("sha256:").unwrap());
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    let blob = &picture.blobs[&layer];
    for (left, ranges) in [
        (blob[..1000].to_vec(), vec![Some(1000)]),
        (vec![b'x'; 1000], vec![Some(1000), None]),
        (vec![b'x'; blob.len()], vec![None]),
        (vec![b'x'; blob.len() + 1], vec![None]),
        (blob.clone(), vec![]),
    ] {
        let server = picture.serve();
        fs::write(&partial, left).unwrap();
        store.images.pull(&reference(&server), &options(), &Silent).unwrap();
        let asked: Vec<_> =
            server.seen().iter().filter(|r| r.path.ends_with(&layer)).map(|r| r.from()).collect();
        assert_eq!(asked, ranges);
        assert!(!partial.exists());
        store.images.remove(&reference(&server)).unwrap();
    }
}

#[test]
fn what_a_pull_left_that_was_killed_when_it_had_unpacked_is_removed() {
    let picture = Picture::large(300_000);
    let layer = picture.layer(0);
    let (store, server) = (Store::new(), picture.serve());
    store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    let partial = store.path().join("partial").join(layer.strip_prefix("sha256:").unwrap());
    fs::write(&partial, &picture.blobs[&layer]).unwrap();
    store.images.pull(&reference(&server), &options(), &Silent).unwrap();
    assert!(!partial.exists());
    assert_eq!(server.count(&layer), 1);
}

#[test]
fn a_failed_pull_keeps_what_came_for_the_next_one() {
    let picture = Picture::large(300_000);
    let layer = picture.layer(0);
    let down = picture.serve_but({
        let (layer, blob) = (layer.clone(), picture.blobs[&layer].clone());
        move |request| {
            let is_layer = request.path.ends_with(&layer);
            is_layer.then(|| match request.from() {
                None => Reply::ok("").body(Body::Claimed(blob.len(), blob[..1000].to_vec())),
                Some(_) => Reply::status(500),
            })
        }
    });
    let store = Store::new();
    let error = store.images.pull(&reference(&down), &options(), &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(store.names("layers"), Vec::<String>::new());
    let up = picture.serve();
    store.images.pull(&reference(&up), &options(), &Silent).unwrap();
    assert_eq!(up.seen().iter().find(|r| r.path.ends_with(&layer)).unwrap().from(), Some(1000));
}

/// Counts who waits for another pull.
#[derive(Default)]
struct Waiting {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Progress for Waiting {
    fn state(&self, _: &Digest, state: LayerState) {
        if state == LayerState::Waiting {
            *self.count.lock().unwrap() += 1;
            self.changed.notify_all();
        }
    }
}

#[test]
fn two_pulls_of_one_image_fetch_it_once() {
    let picture = Picture::small("x");
    let layer = picture.layer(0);
    let waiting = Arc::new(Waiting::default());
    let server = picture.serve_but({
        let waiting = Arc::clone(&waiting);
        let layer = layer.clone();
        move |request| {
            // The layer comes when the other pull has begun to wait for it.
            if request.path.ends_with(&layer) {
                let count = waiting.count.lock().unwrap();
                drop(waiting.changed.wait_while(count, |count| *count == 0).unwrap());
            }
            None
        }
    });
    let store = Store::new();
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                store.images.pull(&reference(&server), &options(), &*waiting).unwrap();
            });
        }
    });
    assert_eq!(server.count(&layer), 1);
    assert_eq!(store.images.list().unwrap().len(), 1);
}

#[test]
fn a_layer_that_comes_twice_is_fetched_and_stacked_once() {
    let (a, b) = (tar(&[("a", "1")]), tar(&[("b", "1")]));
    let layer = |t: &Vec<u8>| (gzip(t), t.clone());
    let picture = Picture::new(&[layer(&a), layer(&b), layer(&a)], json!({}));
    let server = picture.serve();
    let store = Store::new();
    let image = store.images.pull(&reference(&server), &options(), &Silent).unwrap().image;
    assert_eq!(server.count(&picture.layer(0)), 1);
    let lease = store.images.lease(&image).unwrap();
    assert_eq!(lease.rootfs.layers.len(), 2);
    assert!(lease.rootfs.layers[0].join("a").exists() && lease.rootfs.layers[1].join("b").exists());
}

/// Threads of this process that a pull may have begun: those of the server have other names.
fn workers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.flatten().filter(|task| name(task).starts_with("layer-") || name(task).starts_with("tokio")).count()
}

#[test]
fn no_thread_stays_behind() {
    // Other tests pull at the same time, and their threads come and go: this one has a process of its own.
    if std::env::var_os("IMAGE_TEST_ALONE").is_none() {
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pulls::no_thread_stays_behind", "--test-threads=1"])
            .env("IMAGE_TEST_ALONE", "1")
            .output()
            .unwrap();
        assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stdout));
        return;
    }
    let store = Store::new();
    for number in 0..50 {
        let server = Picture::small(&number.to_string()).serve();
        store.images.pull(&reference(&server), &options(), &Silent).unwrap();
        assert_eq!(workers(), 0);
    }
}
