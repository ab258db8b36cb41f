//! Several backends side by side, one of which does not answer.

use crate::{
    Test,
    bench::{ALPHA, BETA, Bench, FAKE, impatient_runtime, name},
};
use agentkernel_engine::{
    Engine,
    clean::{Live, Stored},
    request::{Check, CheckStatus, Effect, Filter, GcReport, SandboxInfo, Status, Stopped},
};
use agentkernel_model::Kind;
use agentkernel_testkit::fake::{Action, FaultKind, Step};
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) const TESTS: &[Test] = &[
    ("a_list_mixes_backends_and_asks_each_once", a_list_mixes_backends_and_asks_each_once),
    ("what_a_silent_backend_has_is_unknown_and_not_lost", what_a_silent_backend_has_is_unknown_and_not_lost),
    ("who_never_answers_is_waited_for_once", who_never_answers_is_waited_for_once),
    ("what_this_build_lacks_is_unknown", what_this_build_lacks_is_unknown),
    ("an_unknown_one_is_not_half_removed", an_unknown_one_is_not_half_removed),
    ("gc_leaves_a_silent_backend_alone", gc_leaves_a_silent_backend_alone),
    ("an_empty_directory_is_nobodys_whoever_is_silent", an_empty_directory_is_nobodys_whoever_is_silent),
    ("clean_leaves_a_silent_backend_alone", clean_leaves_a_silent_backend_alone),
    ("an_engine_that_is_not_here_is_no_news", an_engine_that_is_not_here_is_no_news),
    ("one_that_cannot_say_what_it_has_stops_no_other", one_that_cannot_say_what_it_has_stops_no_other),
    ("one_that_never_says_what_it_has_is_given_up", one_that_never_says_what_it_has_is_given_up),
    ("doctor_counts_what_is_unknown", doctor_counts_what_is_unknown),
];

const SILENT: Action = Action::Fail(FaultKind::Unavailable);
/// As `sandbox list` has it for those of alpha.
const SILENCE: &str = "backend 'alpha' does not answer: the fake backend was told to fail at 'reach'";

fn two() -> Bench {
    let bench = Bench::with(&[ALPHA, BETA]);
    bench.create_on("alpha", "one", None);
    bench.create_on("beta", "two", None);
    bench
}

fn list(bench: &Bench) -> Vec<SandboxInfo> {
    bench.runtime.block_on(bench.engine.list(&Filter::default())).unwrap()
}

fn seen(list: &[SandboxInfo]) -> Vec<(&str, &str, Status, Option<&str>)> {
    list.iter()
        .map(|info| (info.name.as_str(), info.backend.as_str(), info.status, info.reason.as_deref()))
        .collect()
}

fn gc(bench: &Bench) -> GcReport {
    swept(&bench.runtime, &bench.engine, Stopped::Keep)
}

fn swept(runtime: &Runtime, engine: &Engine, stopped: Stopped) -> GcReport {
    runtime.block_on(async { engine.gc(&Filter::default(), stopped, Effect::Apply).await }).unwrap()
}

fn a_list_mixes_backends_and_asks_each_once() {
    let bench = two();
    bench.create_on("beta", "three", None);
    let before = bench.control_of("beta").count(Step::Reach);
    let mixed = list(&bench);
    let stopped = Status::Stopped;
    let expected =
        [("one", "alpha", stopped, None), ("three", "beta", stopped, None), ("two", "beta", stopped, None)];
    assert_eq!(seen(&mixed), expected);
    assert_eq!(bench.control_of("beta").count(Step::Reach), before + 1);
    let only = Filter { project: Some("one".to_owned()), ..Filter::default() };
    bench.runtime.block_on(bench.engine.list(&only)).unwrap();
    assert_eq!(bench.control_of("beta").count(Step::Reach), before + 1, "who has none of them is not asked");
}

fn what_a_silent_backend_has_is_unknown_and_not_lost() {
    let bench = two();
    bench.break_at("alpha", Step::Reach, SILENT);
    let expected = [("one", "alpha", Status::Unknown, Some(SILENCE)), ("two", "beta", Status::Stopped, None)];
    assert_eq!(seen(&list(&bench)), expected);
    let info = bench.info("one");
    assert_eq!((info.status, info.reason.as_deref()), (Status::Unknown, Some(SILENCE)));
    assert!(info.spec.is_some(), "the record tells what it can");
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!((&json["status"], &json["reason"]), (&"unknown".into(), &SILENCE.into()));
    bench.control_of("alpha").heal().unwrap();
    assert_eq!(bench.info("one").status, Status::Stopped);
}

fn who_never_answers_is_waited_for_once() {
    let bench = two();
    for id in ["alpha", "beta"] {
        bench.break_at(id, Step::Reach, Action::Hang);
    }
    let (list, waited) = impatient_runtime().block_on(async {
        let begun = tokio::time::Instant::now();
        (bench.engine.list(&Filter::default()).await.unwrap(), begun.elapsed())
    });
    assert!(list.iter().all(|info| info.status == Status::Unknown), "{list:?}");
    assert!(list[0].reason.as_ref().unwrap().contains("it said nothing for 2 seconds"), "{list:?}");
    // The runtime's own time: two seconds for both together.
    assert_eq!(waited.as_secs(), 2);
}

fn what_this_build_lacks_is_unknown() {
    let bench = two();
    let other = bench.build_of(&[BETA]);
    let (listed, error) = bench.runtime.block_on(async {
        let listed = other.list(&Filter::default()).await.unwrap();
        (listed, other.remove(&name("one")).await.unwrap_err())
    });
    let missing = "this build has no backend 'alpha'";
    assert_eq!(seen(&listed)[0], ("one", "alpha", Status::Unknown, Some(missing)));
    assert_eq!(listed[1].status, Status::Stopped);
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.hint().is_some());
    let swept = swept(&bench.runtime, &other, Stopped::Remove);
    assert_eq!((swept.removed, swept.failures), (vec!["two".to_owned()], Vec::new()));
    assert_eq!(swept.skipped, [format!("one: {missing}")]);
    assert_eq!(seen(&list(&bench)), [("one", "alpha", Status::Stopped, None)]);
}

fn an_unknown_one_is_not_half_removed() {
    // The one whose name keepers of their own know, because it is started again.
    let bench = Bench::with(&[FAKE]);
    let made = bench.create("one");
    bench.start("one").unwrap();
    bench.exec("one", "echo kept > file").unwrap();
    bench.break_at("fake", Step::Reach, SILENT);
    let error = bench.remove("one").unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Unavailable, Some("heal the fake backend")));
    assert!(
        error.message().starts_with("the sandbox 'one' cannot be removed: backend 'fake' does not"),
        "{error}"
    );
    assert_eq!(bench.control.count(Step::Destroy), 0);
    assert_eq!(bench.exec("one", "cat file").unwrap(), "kept\n", "nothing was stopped");
    bench.control.heal().unwrap();
    let info = bench.info("one");
    assert_eq!((info.status, info.reason, info.uuid), (Status::Running, None, made.uuid));
    bench.remove("one").unwrap();
    assert_eq!(bench.dirs(), 0);
}

/// On each of alpha and beta one that has expired and one that lost its record.
fn litter() -> Bench {
    let bench = Bench::with(&[ALPHA, BETA]);
    for (backend, expired, lost) in [("alpha", "one", "lost-one"), ("beta", "two", "lost-two")] {
        bench.create_on(backend, expired, Some(Duration::from_millis(1)));
        bench.create_on(backend, lost, None);
        bench.lose_record(lost);
    }
    // A millisecond is over once the clock shows another one.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    bench
}

fn gc_leaves_a_silent_backend_alone() {
    let bench = litter();
    bench.break_at("alpha", Step::Reach, SILENT);
    let report = gc(&bench);
    assert_eq!((report.removed.as_slice(), report.orphans.len()), (&["two".to_owned()][..], 1), "{report:?}");
    assert_eq!(report.skipped, [SILENCE.to_owned(), format!("one: {SILENCE}")]);
    assert!(report.failures.is_empty(), "{report:?}");
    for step in [Step::Destroy, Step::ListOwned, Step::Stop] {
        assert_eq!(bench.control_of("alpha").count(step), 0, "{step:?}");
    }
    assert_eq!(bench.dirs(), 2, "both of alpha's, with a record and without");
    bench.control_of("alpha").heal().unwrap();
    let report = gc(&bench);
    assert_eq!((report.removed.as_slice(), report.orphans.len()), (&["one".to_owned()][..], 1), "{report:?}");
    assert!(report.skipped.is_empty() && report.failures.is_empty(), "{report:?}");
    assert_eq!(bench.dirs(), 0);
}

fn an_empty_directory_is_nobodys_whoever_is_silent() {
    let bench = Bench::with(&[ALPHA]);
    let made = bench.create_on("alpha", "one", None);
    bench.lose_record("one");
    bench.break_at("alpha", Step::Reach, SILENT);
    assert_eq!((gc(&bench).count, bench.dirs()), (0, 1));
    std::fs::remove_dir_all(bench.sandbox_dir(made.uuid).join("alpha")).unwrap();
    assert_eq!((gc(&bench).orphans, bench.dirs()), (vec![made.uuid.to_string()], 0));
}

fn clean_leaves_a_silent_backend_alone() {
    let bench = two();
    bench.break_at("alpha", Step::Reach, SILENT);
    for (effect, left) in [(Effect::DryRun, 2), (Effect::Apply, 1)] {
        let clean = bench.engine.clean(Live::Remove, Stored::Keep, effect);
        let report = bench.runtime.block_on(clean).unwrap();
        assert_eq!(report.sandboxes, ["two"], "{report:?}");
        assert_eq!(report.skipped, [SILENCE.to_owned(), format!("one: {SILENCE}")], "each said once");
        assert!(report.failures.is_empty() && report.kept.is_empty(), "{report:?}");
        assert_eq!(list(&bench).len(), left);
    }
    assert_eq!(bench.control_of("alpha").count(Step::Destroy), 0);
}

fn an_engine_that_is_not_here_is_no_news() {
    let bench = Bench::with(&[ALPHA, BETA]);
    bench.create_on("beta", "two", None);
    bench.lose_record("two");
    bench.break_at("alpha", Step::Reach, Action::Fail(FaultKind::NotFound));
    let report = gc(&bench);
    assert!(report.skipped.is_empty() && report.failures.is_empty(), "{report:?}");
    assert_eq!(report.orphans.len(), 1);
}

fn one_that_cannot_say_what_it_has_stops_no_other() {
    let bench = litter();
    bench.break_at("alpha", Step::ListOwned, Action::Fail(FaultKind::Internal));
    let report = gc(&bench);
    assert_eq!(report.removed, ["one", "two"]);
    assert_eq!(report.failures.len(), 1, "{report:?}");
    assert!(report.failures[0].starts_with("backend 'alpha' cannot say what it has: "), "{report:?}");
    assert_eq!((report.orphans.len(), bench.dirs()), (1, 1), "what may be alpha's stays: {report:?}");
}

fn one_that_never_says_what_it_has_is_given_up() {
    let bench = Bench::with(&[ALPHA]);
    bench.break_at("alpha", Step::ListOwned, Action::Hang);
    let report = swept(&impatient_runtime(), &bench.engine, Stopped::Keep);
    assert!(report.failures.is_empty(), "it was never used here: {report:?}");
    assert_eq!(report.skipped, ["backend 'alpha' cannot say what it has: it said nothing for 30 seconds"]);
}

fn doctor_counts_what_is_unknown() {
    let bench = two();
    bench.break_at("alpha", Step::Reach, SILENT);
    let checks = bench.runtime.block_on(bench.engine.doctor()).unwrap();
    let of = |name: &str| {
        let mut found = checks.iter().filter(|check| check.section == "sandboxes" && check.name == name);
        found.next().cloned().unwrap()
    };
    assert_eq!(of("records").message, "0 running, 1 stopped, 1 unknown");
    let Check { status, message, hint, .. } = of("alpha");
    assert_eq!((status, message), (CheckStatus::Warning, format!("1 unknown: {SILENCE}")));
    assert_eq!(hint.as_deref(), Some("heal the fake backend"));
}
