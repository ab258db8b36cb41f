//! What becomes other about a sandbox that exists.

use crate::{
    Test,
    bench::{Bench, FAKE, name, request},
};
use agentkernel_backend::Driver;
use agentkernel_engine::{
    request::{CreateRequest, Resize, SandboxInfo, SandboxUpdate, Status},
    values::Values,
};
use agentkernel_model::{
    Kind, Result,
    capabilities::{Capabilities, Egress, Support},
    id::SandboxId,
    limits::Limit,
    name::Label,
    size::ByteSize,
};
use agentkernel_testkit::{
    fake::{Action, FakeBackend, FaultKind, Step, honest_capabilities},
    proc,
};
use rustix::process::Signal;
use std::{sync::Arc, time::Duration};

pub(crate) const TESTS: &[Test] = &[
    ("labels_and_description_change", labels_and_description_change),
    ("a_running_sandbox_is_given_more_time", a_running_sandbox_is_given_more_time),
    ("one_that_has_expired_is_brought_back", one_that_has_expired_is_brought_back),
    ("one_that_does_not_expire_is_not_made_to", one_that_does_not_expire_is_not_made_to),
    ("a_sandbox_is_found_by_its_id", a_sandbox_is_found_by_its_id),
    ("limits_that_cannot_be_enforced_change_nothing", limits_that_cannot_be_enforced_change_nothing),
    ("limits_change_in_record_and_backend_together", limits_change_in_record_and_backend_together),
    ("what_was_lost_is_brought_back", what_was_lost_is_brought_back),
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

/// The fake as one that enforces limits of memory.
const LIMITING: Driver = Driver {
    build: |host| {
        let can = honest_capabilities();
        let claimed = Capabilities { egress: Egress::ProviderOnly, limit_memory: Support::Yes, ..can };
        Ok(Arc::new(FakeBackend::claiming(host.clone(), claimed)))
    },
    ..FAKE
};

impl Bench {
    fn resize(&self, mib: u32) -> Result<SandboxInfo> {
        let wanted = Resize { memory: Some(ByteSize::from_mib(mib)), cpus: None };
        self.runtime.block_on(self.engine.resize(&name("one"), &wanted))
    }

    fn memory(&self) -> Option<Limit<ByteSize>> {
        self.info("one").spec.unwrap().policy.limits.memory
    }
}

fn limits_that_cannot_be_enforced_change_nothing() {
    let bench = Bench::new();
    bench.create("one");
    let error = bench.resize(64).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().contains("memory 64MB"), "{error}");
    assert_eq!((bench.memory(), bench.control.count(Step::Resize)), (None, 0));
}

fn limits_change_in_record_and_backend_together() {
    let bench = Bench::with(&[LIMITING]);
    bench.create("one");
    let info = bench.resize(64).unwrap();
    assert_eq!(info.spec.unwrap().policy.limits.memory, Some(Limit::Required(ByteSize::from_mib(64))));
    assert_eq!(bench.control.count(Step::Resize), 1);
    bench.fail(Step::Resize, Action::Fail(FaultKind::Exhausted));
    assert_eq!(bench.resize(32).unwrap_err().kind(), Kind::Exhausted);
    assert_eq!(bench.memory(), Some(Limit::Required(ByteSize::from_mib(64))));
    assert_eq!(bench.control.count(Step::Resize), 3, "the limits that held were not set again");
    let nothing = bench.runtime.block_on(bench.engine.resize(&name("one"), &Resize::default()));
    assert_eq!(nothing.unwrap().name, name("one"));
    assert_eq!(bench.control.count(Step::Resize), 3);
}

fn what_was_lost_is_brought_back() {
    let bench = Bench::new();
    let made = bench.create("one");
    let recover = || bench.runtime.block_on(bench.engine.recover(&name("one"), &Values::default()));
    assert_eq!(recover().unwrap_err().kind(), Kind::Conflict, "it never ran");
    bench.start("one").unwrap();
    bench.exec("one", "echo kept > file").unwrap();
    let keeper = bench.keeper(made.uuid);
    assert_eq!(recover().unwrap().status, Status::Running);
    assert_eq!(bench.keeper(made.uuid), keeper, "one that ran was started again");
    for signal in [Signal::KILL, Signal::TERM] {
        bench.end(bench.keeper(made.uuid), signal);
        assert_eq!(bench.info("one").status, Status::Stopped);
        assert_eq!(recover().unwrap().status, Status::Running);
        assert_eq!(bench.exec("one", "cat file").unwrap(), "kept\n");
    }
    bench.stop("one").unwrap();
    let error = recover().unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Conflict, Some("agentkernel sandbox start one")));
}
