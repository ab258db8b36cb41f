//! Removing, pruning, checking: what goes, what stays, and what a killed process left.

use crate::{
    fixture::{Picture, Store, gzip, options, tar},
    server::Server,
};
use agentkernel_image::{Effect, Extent, Image, Prune, Silent};
use agentkernel_model::{Kind, image::Reference};
use serde_json::json;
use std::{collections::BTreeSet, fs};

/// Two images that share their lower layer.
struct Pair {
    store: Store,
    server: Server,
    images: [Image; 2],
}

impl Pair {
    fn new() -> Self {
        let base = tar(&[("base", "shared")]);
        let pictures = ["one", "two"].map(|top| {
            let top = tar(&[("top", top)]);
            Picture::new(&[(gzip(&base), base.clone()), (gzip(&top), top)], json!({}))
        });
        let server = Server::new(move |request| {
            let number = usize::from(request.path.contains("/two/"));
            pictures[number].answer(request)
        });
        let store = Store::new();
        let pull = |n: &str| store.images.pull(&name(&server, n), &options(), &Silent).unwrap().image;
        let images = [pull("one"), pull("two")];
        Self { store, server, images }
    }

    fn name(&self, number: &str) -> Reference {
        name(&self.server, number)
    }

    fn layers(&self) -> usize {
        self.store.names("layers").len()
    }
}

fn name(server: &Server, number: &str) -> Reference {
    format!("{}/{number}/image:1", server.host()).parse().unwrap()
}

#[test]
fn removing_an_image_keeps_what_others_share() {
    let pair = Pair::new();
    assert_eq!(pair.layers(), 3);
    let removed = pair.store.images.remove(&pair.name("one")).unwrap();
    assert_eq!((removed.extent, removed.bytes), (Extent::Image, 3));
    assert_eq!(pair.layers(), 2);
    assert!(pair.store.images.find(&pair.name("one")).unwrap().is_none());
    let lease = pair.store.images.lease(&pair.images[1]).unwrap();
    assert!(lease.rootfs.layers.iter().all(|layer| layer.is_dir()));
    assert_eq!(pair.store.images.remove(&pair.name("one")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(pair.store.images.lease(&pair.images[0]).unwrap_err().kind(), Kind::NotFound);
    drop(lease);
    pair.store.images.remove(&pair.name("two")).unwrap();
    pair.store.assert_nothing_kept();
}

#[test]
fn one_of_two_names_is_only_a_name() {
    let pair = Pair::new();
    let other: Reference = format!("{}/one/image:2", pair.server.host()).parse().unwrap();
    pair.store.images.pull(&other, &options(), &Silent).unwrap();
    let removed = pair.store.images.remove(&pair.name("one")).unwrap();
    assert_eq!((removed.extent, removed.bytes), (Extent::Name, 0));
    assert!(pair.store.images.find(&other).unwrap().is_some());
}

#[test]
fn a_lease_holds_an_image_against_all_removal() {
    let pair = Pair::new();
    let lease = pair.store.images.lease(&pair.images[0]).unwrap();
    assert_eq!(pair.store.images.remove(&pair.name("one")).unwrap_err().kind(), Kind::Conflict);
    let report = pair.store.images.prune(&BTreeSet::new(), Prune::Unused, Effect::Remove).unwrap();
    assert_eq!((report.in_use, report.images.len(), report.layers), (1, 1, 1));
    assert!(lease.rootfs.layers.iter().all(|layer| layer.is_dir()));
    drop(lease);
    let report = pair.store.images.prune(&BTreeSet::new(), Prune::Unused, Effect::Remove).unwrap();
    assert_eq!((report.in_use, report.images.len(), report.layers), (0, 1, 2));
    pair.store.assert_nothing_kept();
    assert_eq!(pair.store.names("locks"), ["records"]);
}

#[test]
fn prune_keeps_what_it_is_told_and_tells_before_it_does() {
    let pair = Pair::new();
    let keep: BTreeSet<_> = [pair.images[1].id().clone()].into();
    let told = pair.store.images.prune(&keep, Prune::Unused, Effect::Report).unwrap();
    assert_eq!(pair.store.images.list().unwrap().len(), 2);
    let done = pair.store.images.prune(&keep, Prune::Unused, Effect::Remove).unwrap();
    assert_eq!(told, done);
    assert_eq!((done.images.len(), done.layers, done.bytes), (1, 1, 3));
    let dangling = pair.store.images.prune(&BTreeSet::new(), Prune::Dangling, Effect::Remove).unwrap();
    assert!(dangling.images.is_empty(), "it has a name");
    assert_eq!(pair.store.images.list().unwrap().len(), 1);
}

#[test]
fn what_killed_processes_left_is_swept_but_not_what_is_under_way() {
    let pair = Pair::new();
    let dir = pair.store.path();
    let hex = "0".repeat(64);
    let busy = "1".repeat(64);
    for leftover in [
        format!("layers/.new-{hex}/tree/x"),
        format!("layers/.gone-{hex}/tree"),
        "partial/.import-9-9/x".to_owned(),
        format!("layers/{hex}/tree"),
    ] {
        fs::create_dir_all(dir.join(leftover)).unwrap();
    }
    for leftover in [
        format!("partial/{hex}"),
        format!("partial/{busy}"),
        "names/.new-x".to_owned(),
        format!("manifests/{hex}"),
        format!("configs/{hex}"),
        format!("locks/{hex}.make"),
    ] {
        fs::write(dir.join(leftover), "12345").unwrap();
    }
    let download = fs::File::open(dir.join(format!("partial/{busy}"))).unwrap();
    rustix::fs::flock(&download, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let report = pair.store.images.prune(&BTreeSet::new(), Prune::Dangling, Effect::Remove).unwrap();
    assert_eq!((report.layers, report.leftovers, report.bytes), (1, 4, 5));
    assert_eq!(pair.store.names("partial"), [busy]);
    assert_eq!((pair.layers(), pair.store.names("names").len()), (3, 2));
    assert_eq!((pair.store.names("manifests").len(), pair.store.names("configs").len()), (2, 2));
    assert!(!dir.join(format!("locks/{hex}.make")).exists());
}

#[test]
fn a_check_drops_what_is_not_whole() {
    let pair = Pair::new();
    let dir = pair.store.path();
    assert_eq!(pair.store.images.check().unwrap().images, []);
    // The layer of the first image alone.
    let lease = pair.store.images.lease(&pair.images[0]).unwrap();
    fs::remove_dir_all(&lease.rootfs.layers[0]).unwrap();
    drop(lease);
    fs::write(dir.join("names/broken"), "{").unwrap();
    assert_eq!(pair.store.images.lease(&pair.images[0]).unwrap_err().kind(), Kind::NotFound);
    let report = pair.store.images.check().unwrap();
    assert_eq!(report.images, [pair.images[0].id().clone()]);
    assert_eq!(report.names, [pair.name("one").to_string(), "broken".to_owned()]);
    assert_eq!(report.swept.layers, 1);
    assert!(pair.store.images.find(&pair.name("one")).unwrap().is_none());
    assert!(pair.store.images.find(&pair.name("two")).unwrap().is_some());
    // And a pull brings it back.
    pair.store.images.pull(&pair.name("one"), &options(), &Silent).unwrap();
    pair.store.images.lease(&pair.images[0]).unwrap();
}

#[test]
fn a_configuration_that_was_changed_is_noticed() {
    let pair = Pair::new();
    let config = pair.store.path().join("configs").join(pair.images[0].id().hex());
    fs::write(config, "{}").unwrap();
    assert_eq!(pair.store.images.check().unwrap().images, [pair.images[0].id().clone()]);
}

#[test]
fn an_unused_store_is_not_even_made() {
    let store = Store::new();
    let name: Reference = "python".parse().unwrap();
    assert!(store.images.find(&name).unwrap().is_none());
    assert!(store.images.list().unwrap().is_empty());
    store.images.prune(&BTreeSet::new(), Prune::Unused, Effect::Remove).unwrap();
    store.images.check().unwrap();
    assert_eq!(store.images.remove(&name).unwrap_err().kind(), Kind::NotFound);
    assert!(!store.path().exists());
}

#[test]
fn records_of_the_future_and_broken_ones_are_said_to_be() {
    let pair = Pair::new();
    let record = pair.store.path().join("images").join(pair.images[0].id().hex());
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replacen("\"version\":1", "\"version\":2,\"new\":0", 1)).unwrap();
    let error = pair.store.images.find(&pair.name("one")).unwrap_err();
    assert!(error.message().ends_with("was written by a newer agentkernel"), "{error}");
    let prune = || pair.store.images.prune(&BTreeSet::new(), Prune::Dangling, Effect::Remove);
    assert_eq!(prune().unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(pair.store.images.check().unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(pair.store.images.remove(&pair.name("two")).unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(pair.layers(), 3, "whose layers are needed is not ours to judge");

    fs::write(&record, &text).unwrap();
    let lease = pair.store.images.lease(&pair.images[0]).unwrap();
    fs::write(&record, &text[..text.len() / 2]).unwrap();
    let error = pair.store.images.find(&pair.name("one")).unwrap_err();
    assert!(error.hint().unwrap().contains("local-sync"), "{error:?}");
    prune().unwrap_err();
    assert_eq!(pair.store.images.check().unwrap().swept.in_use, 1);
    assert_eq!(pair.layers(), 3, "something runs on it");
    drop(lease);
    assert_eq!(pair.store.images.check().unwrap().images, [pair.images[0].id().clone()]);
    assert_eq!(pair.layers(), 2);
}
