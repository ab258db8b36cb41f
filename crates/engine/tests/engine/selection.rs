//! Which backend is taken, and what is said about the others.

use crate::{
    Test,
    bench::{Bench, FAKE, spec},
};
use agentkernel_backend::Driver;
use agentkernel_engine::request::RunRequest;
use agentkernel_model::{
    Error, Kind,
    capabilities::Boundary,
    policy::{EgressRules, Network},
    spec::Isolation,
};
use agentkernel_testkit::fake::{Action, Fault, FaultKind, Step};
use std::fs;

pub(crate) const TESTS: &[Test] = &[
    ("an_unknown_backend_is_invalid", an_unknown_backend_is_invalid),
    ("what_cannot_be_enforced_is_refused", what_cannot_be_enforced_is_refused),
    ("what_is_not_here_is_passed_over", what_is_not_here_is_passed_over),
    ("a_failure_is_explained_by_a_probe", a_failure_is_explained_by_a_probe),
    ("good_news_is_remembered_and_bad_news_is_not_believed_forever", good_news_is_remembered),
    ("a_damaged_memory_is_no_memory", a_damaged_memory_is_no_memory),
    ("backends_are_reported", backends_are_reported),
];

/// Better than the fake, and not on this machine.
const ABSENT: Driver = Driver {
    id: "absent",
    aliases: &[],
    isolation: Boundary::Vm,
    auto_rank: Some(1),
    build: |_| Err(Error::new(Kind::Unavailable, "there is no such machine").with_hint("buy one")),
    ..FAKE
};

fn an_unknown_backend_is_invalid() {
    let bench = Bench::new();
    let error = bench.runtime.block_on(bench.engine.choose(&spec(), Some("fakee"))).unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Invalid, Some("did you mean 'fake'?")));
}

fn what_cannot_be_enforced_is_refused() {
    let bench = Bench::new();
    let mut wanted = spec();
    wanted.policy.network = Network::Rules(EgressRules::default());
    wanted.isolation = Isolation::Vm;
    for named in [None, Some("fake")] {
        let error = bench.runtime.block_on(bench.engine.choose(&wanted, named)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.message().contains("network rules"), "{error}");
        assert!(error.hint().unwrap().contains("--isolation vm"));
    }
}

fn what_is_not_here_is_passed_over() {
    let bench = Bench::with(&[ABSENT, FAKE]);
    let choice = bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap();
    assert_eq!(choice.backend.as_str(), "fake");
    assert!(choice.notes.is_empty(), "only healthy ones are worth a word");
    let error = bench.runtime.block_on(bench.engine.choose(&spec(), Some("absent"))).unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Unavailable, Some("buy one")));
    bench
        .control
        .inject(Fault { step: Step::Admit, action: Action::Fail(FaultKind::Denied), times: None })
        .unwrap();
    let error = bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().contains("absent: there is no such machine"), "{error}");
    assert!(error.message().contains("'fake' cannot provide"), "{error}");
}

fn a_failure_is_explained_by_a_probe() {
    let bench = Bench::new();
    bench.fail(Step::RunOnce, Action::Fail(FaultKind::Internal));
    bench.fail(Step::Probe, Action::Fail(FaultKind::Denied));
    let request = RunRequest { spec: spec(), command: crate::bench::shell("true"), backend: None };
    let error = bench.runtime.block_on(bench.engine.run(request.clone())).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().starts_with("backend 'fake' does not work here"), "{error}");
    assert_eq!(error.hint(), Some("heal the fake backend"));
    // A healthy backend's failure is its own.
    bench.fail(Step::RunOnce, Action::Fail(FaultKind::Internal));
    let error = bench.runtime.block_on(bench.engine.run(request)).unwrap_err();
    assert!(error.message().contains("told to fail at 'run_once'"), "{error}");
}

fn good_news_is_remembered() {
    let bench = Bench::with(&[ABSENT, FAKE]);
    for _ in 0..3 {
        bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap();
    }
    assert_eq!(bench.control.count(Step::Probe), 1);
    // Another binary, another boot: whatever differs in the key.
    let path = bench.data().join("probe.json");
    let text = fs::read_to_string(&path).unwrap();
    let uid = rustix::process::geteuid().as_raw();
    fs::write(&path, text.replace(&format!("\"uid\":{uid}"), "\"uid\":12345")).unwrap();
    bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap();
    assert_eq!(bench.control.count(Step::Probe), 2);
    let text = fs::read_to_string(&path).unwrap();
    let old = text.replacen("\"at\":", "\"at\":-", 1).replace("\"healthy\"", "\"undetected\"");
    fs::write(&path, old.replace("\"attributes\":{\"isolation\":\"none\"}", "\"reason\":\"x\"")).unwrap();
    bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap();
    assert_eq!(bench.control.count(Step::Probe), 3);
}

fn a_damaged_memory_is_no_memory() {
    let bench = Bench::with(&[ABSENT, FAKE]);
    fs::create_dir(bench.data()).unwrap();
    fs::write(bench.data().join("probe.json"), "{").unwrap();
    bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap();
    assert_eq!(bench.control.count(Step::Probe), 1);
}

fn backends_are_reported() {
    let bench = Bench::with(&[ABSENT, FAKE]);
    let reports = bench.runtime.block_on(bench.engine.backends()).unwrap();
    let seen: Vec<_> = reports.iter().map(|r| (r.id.as_str(), r.healthy, r.selected)).collect();
    assert_eq!(seen, [("absent", false, false), ("fake", true, true)]);
    assert_eq!(reports[0].hint.as_deref(), Some("buy one"));
}
