//! What becomes other about a sandbox that exists.

use crate::{
    Test,
    bench::{Bench, FAKE, name, request},
};
use agentkernel_engine::request::{CreateRequest, SandboxInfo, SandboxUpdate, Status};
use agentkernel_model::{Kind, Result, id::SandboxId, name::Label};
use agentkernel_testkit::proc;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("labels_and_description_change", labels_and_description_change),
    ("a_running_sandbox_is_given_more_time", a_running_sandbox_is_given_more_time),
    ("one_that_has_expired_is_brought_back", one_that_has_expired_is_brought_back),
    ("one_that_does_not_expire_is_not_made_to", one_that_does_not_expire_is_not_made_to),
    ("a_sandbox_is_found_by_its_id", a_sandbox_is_found_by_its_id),
];

impl Bench {
    fn update(&self, update: &SandboxUpdate) -> Result<SandboxInfo> {
        self.runtime.block_on(self.engine.update(&name("one"), update))
    }

    fn extend(&self, by: Duration) -> Result<SandboxInfo> {
        self.runtime.block_on(self.engine.extend(&name("one"), by))
    }
}

fn labels_and_description_change() {
    let bench = Bench::new();
    bench.create("one");
    let label = |key, value| Label::new(key, value).unwrap();
    let update = SandboxUpdate {
        labels: Some(vec![label("stage", "ci"), label("owner", "me")]),
        description: Some(Some("about it".to_owned())),
    };
    let info = bench.update(&update).unwrap();
    let labels: Vec<_> = info.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("owner", "me"), ("stage", "ci")], "those that it had are gone");
    assert_eq!(info.description.as_deref(), Some("about it"));
    let same = bench.update(&SandboxUpdate::default()).unwrap();
    assert_eq!((same.labels, same.description), (info.labels.clone(), info.description));
    let bare = SandboxUpdate { labels: Some(Vec::new()), description: None };
    bench.start("one").unwrap();
    let info = bench.update(&bare).unwrap();
    assert!(info.labels.is_empty());
    assert_eq!(info.description.as_deref(), Some("about it"));
    let silent = SandboxUpdate { labels: None, description: Some(None) };
    assert_eq!(bench.update(&silent).unwrap().description, None);
    assert_eq!(bench.exec("one", "echo runs").unwrap(), "runs\n");
    bench.remove("one").unwrap();
    assert_eq!(bench.update(&bare).unwrap_err().kind(), Kind::NotFound);
}

fn a_running_sandbox_is_given_more_time() {
    let bench = Bench::new();
    let made = bench.create_on(FAKE.id, "one", Some(Duration::from_secs(2)));
    bench.start("one").unwrap();
    let keeper = proc::handle(bench.keeper(made.uuid)).unwrap();
    let extended = bench.extend(Duration::from_secs(600)).unwrap();
    assert_eq!(extended.ttl_seconds, Some(602));
    assert!(extended.expires_at > made.expires_at);
    // Past the end that it had.
    let past = std::time::Instant::now() + Duration::from_secs(3);
    assert!(!proc::wait_until(&keeper, past).unwrap(), "it ended when it should not have any more");
    assert_eq!(bench.exec("one", "echo runs").unwrap(), "runs\n");
    assert_eq!(bench.info("one").status, Status::Running);
}

fn one_that_has_expired_is_brought_back() {
    let bench = Bench::new();
    let made = bench.create_on(FAKE.id, "one", Some(Duration::from_secs(1)));
    bench.start("one").unwrap();
    bench.await_end(&proc::handle(bench.keeper(made.uuid)).unwrap());
    assert_eq!(bench.start("one").unwrap_err().kind(), Kind::Conflict);
    let zero = bench.extend(Duration::ZERO).unwrap_err();
    assert_eq!(zero.kind(), Kind::Invalid);
    bench.extend(Duration::from_secs(600)).unwrap();
    assert_eq!(bench.start("one").unwrap().status, Status::Running);
    let far = bench.extend(Duration::from_secs(u64::MAX)).unwrap();
    assert_eq!(far.expires_at.as_deref(), Some("9999-12-31T23:59:59Z"));
    assert_eq!(bench.exec("one", "echo runs").unwrap(), "runs\n");
}

fn one_that_does_not_expire_is_not_made_to() {
    let bench = Bench::new();
    bench.create("one");
    let error = bench.extend(Duration::from_secs(60)).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("does not expire"), "{error}");
    assert_eq!(bench.info("one").expires_at, None);
}

fn a_sandbox_is_found_by_its_id() {
    let bench = Bench::new();
    let request = CreateRequest { description: Some("this one".to_owned()), ..request("one") };
    let made = bench.runtime.block_on(bench.engine.create(request)).unwrap();
    bench.create("two");
    let found = bench.runtime.block_on(bench.engine.info_by_id(made.uuid)).unwrap();
    assert_eq!((found.name, found.description.as_deref()), (name("one"), Some("this one")));
    assert!(found.spec.is_some());
    let missing = bench.runtime.block_on(bench.engine.info_by_id(SandboxId::new())).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
}
