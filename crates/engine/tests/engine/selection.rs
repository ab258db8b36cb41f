//! Which backend is taken, and what is said about the others.

use crate::{
    Test,
    bench::{ALPHA, BETA, Bench, FAKE, GAMMA, impatient_runtime, shell, spec},
};
use agentkernel_backend::Driver;
use agentkernel_engine::{
    request::{CheckStatus, Pool, RunRequest},
    values::Source,
};
use agentkernel_model::{
    Error, Kind, capabilities::Boundary, egress::EgressRules, policy::Network, spec::Isolation,
};
use agentkernel_testkit::fake::{Action, Fault, FaultKind, Step};
use std::{fs, time::Duration};

pub(crate) const TESTS: &[Test] = &[
    ("an_unknown_backend_is_invalid", an_unknown_backend_is_invalid),
    ("what_cannot_be_enforced_is_refused", what_cannot_be_enforced_is_refused),
    ("what_is_not_here_is_passed_over", what_is_not_here_is_passed_over),
    ("a_failure_is_explained_by_a_probe", a_failure_is_explained_by_a_probe),
    ("good_news_is_remembered_and_bad_news_is_not_believed_forever", good_news_is_remembered),
    ("a_damaged_memory_is_no_memory", a_damaged_memory_is_no_memory),
    ("backends_are_reported", backends_are_reported),
    ("the_best_one_that_works_is_taken", the_best_one_that_works_is_taken),
    ("a_stronger_one_that_is_passed_over_is_said", a_stronger_one_that_is_passed_over_is_said),
    ("a_runtime_leads_to_a_backend_that_has_runtimes", a_runtime_leads_to_a_backend_that_has_runtimes),
    ("all_are_tried_at_the_same_time", all_are_tried_at_the_same_time),
    ("one_that_hangs_is_unhealthy_in_the_end", one_that_hangs_is_unhealthy_in_the_end),
    ("the_report_is_in_the_order_of_choice", the_report_is_in_the_order_of_choice),
    ("doctor_warns_only_where_nothing_works", doctor_warns_only_where_nothing_works),
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
    assert_eq!(bench.control.count(Step::Probe), 0, "whether it works makes no difference");
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
    let request = RunRequest {
        spec: spec(),
        command: shell("true"),
        backend: None,
        values: Source::default(),
        pool: Pool::Use,
    };
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

const SICK: Action = Action::Fail(FaultKind::Denied);

fn of_three() -> Bench {
    Bench::with(&[ALPHA, BETA, GAMMA])
}

/// How often each of the three was tried out.
fn trials(bench: &Bench) -> [usize; 3] {
    ["alpha", "beta", "gamma"].map(|id| bench.control_of(id).count(Step::Probe))
}

fn the_best_one_that_works_is_taken() {
    let bench = of_three();
    bench.break_at("alpha", Step::Probe, SICK);
    bench.break_at("alpha", Step::RunOnce, Action::Fail(FaultKind::Unavailable));
    for _ in 0..3 {
        let request = RunRequest {
            spec: spec(),
            command: shell("true"),
            backend: None,
            values: Source::default(),
            pool: Pool::Use,
        };
        let running = bench.runtime.block_on(bench.engine.run(request)).unwrap();
        assert_eq!(running.choice.backend.as_str(), "beta");
        assert!(running.choice.notes.is_empty(), "one that does not work is no stronger one");
    }
    // The first run trusted the best one, and what came of it is remembered.
    assert_eq!(bench.control_of("alpha").count(Step::RunOnce), 1);
    assert_eq!(bench.control_of("beta").count(Step::RunOnce), 3);
    assert_eq!(trials(&bench), [1, 1, 1]);
}

fn a_stronger_one_that_is_passed_over_is_said() {
    let bench = of_three();
    bench.break_at("alpha", Step::Admit, SICK);
    bench.break_at("beta", Step::Probe, SICK);
    for _ in 0..2 {
        let choice = bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap();
        assert_eq!(choice.backend.as_str(), "gamma");
        assert_eq!(choice.notes.len(), 1, "{:?}", choice.notes);
        assert!(choice.notes[0].starts_with("backend 'alpha' was passed over: "), "{:?}", choice.notes);
        assert!(!choice.notes[0].contains('\n'), "{:?}", choice.notes);
    }
    assert_eq!(trials(&bench), [1, 1, 1]);
    bench.break_at("gamma", Step::Admit, SICK);
    let error = bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap_err();
    let at = |id: &str| error.message().find(id).unwrap_or_else(|| panic!("{id} is not in {error}"));
    assert!(at("alpha") < at("beta") && at("beta") < at("gamma"), "{error}");
}

fn a_runtime_leads_to_a_backend_that_has_runtimes() {
    let bench = of_three();
    let mut wanted = spec();
    wanted.runtime = Some("runsc".parse().unwrap());
    let error = bench.runtime.block_on(bench.engine.choose(&wanted, Some("beta"))).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().contains("another OCI runtime"), "{error}");
    assert!(error.hint().unwrap().contains("--backend"), "{error}");
    let choice = bench.runtime.block_on(bench.engine.choose(&wanted, None)).unwrap();
    assert_eq!((choice.backend.as_str(), choice.notes.len()), ("gamma", 2), "{:?}", choice.notes);
}

fn all_are_tried_at_the_same_time() {
    let bench = of_three();
    bench.break_at("alpha", Step::Probe, Action::Hang);
    bench.runtime.block_on(async {
        let cut = tokio::time::timeout(Duration::from_millis(100), bench.engine.backends()).await;
        assert!(cut.is_err(), "one of them hangs");
    });
    assert_eq!(trials(&bench), [1, 1, 1]);
}

fn one_that_hangs_is_unhealthy_in_the_end() {
    let bench = of_three();
    bench.break_at("alpha", Step::Probe, Action::Hang);
    bench.break_at("beta", Step::Probe, Action::Hang);
    let (reports, waited) = impatient_runtime().block_on(async {
        let begun = tokio::time::Instant::now();
        (bench.engine.backends().await.unwrap(), begun.elapsed())
    });
    let seen: Vec<_> = reports.iter().map(|r| (r.id.as_str(), r.healthy, r.selected)).collect();
    assert_eq!(seen, [("alpha", false, false), ("beta", false, false), ("gamma", true, true)]);
    assert!(reports[0].hint.is_some(), "{reports:?}");
    // The runtime's own time: ten seconds for both together.
    assert_eq!(waited.as_secs(), 10);
    // And it is remembered: the next choice neither trusts nor tries it.
    let choice = bench.runtime.block_on(bench.engine.choose(&spec(), None)).unwrap();
    assert_eq!((choice.backend.as_str(), trials(&bench)), ("gamma", [1, 1, 1]));
}

fn the_report_is_in_the_order_of_choice() {
    const NAMED_ONLY: Driver = Driver { auto_rank: None, ..FAKE };
    let bench = Bench::with(&[GAMMA, NAMED_ONLY, BETA, ALPHA]);
    bench.break_at("alpha", Step::Probe, SICK);
    let reports = bench.runtime.block_on(bench.engine.backends()).unwrap();
    let seen: Vec<_> = reports.iter().map(|r| (r.id.as_str(), r.selected, r.rank)).collect();
    let expected = [
        ("alpha", false, Some(11)),
        ("beta", true, Some(12)),
        ("gamma", false, Some(13)),
        ("fake", false, None),
    ];
    assert_eq!(seen, expected);
    assert_eq!((reports[0].role(), reports[0].hint.as_deref()), ("", Some("heal the fake backend")));
    let roles: Vec<&str> = reports[1..].iter().map(|report| report.role()).collect();
    assert!(roles[0].contains("when none is named"), "{roles:?}");
    assert!(roles[1].contains("where a better one cannot"), "{roles:?}");
    assert!(roles[2].contains("only when it is named"), "{roles:?}");
}

fn doctor_warns_only_where_nothing_works() {
    let bench = of_three();
    let statuses = || {
        let checks = bench.runtime.block_on(bench.engine.doctor()).unwrap();
        checks.into_iter().filter(|c| c.section == "backends").map(|c| (c.status, c.hint.is_some())).collect()
    };
    bench.break_at("beta", Step::Probe, SICK);
    let (ok, news): (Vec<_>, _) = (statuses(), (CheckStatus::Info, true));
    assert_eq!(ok, [(CheckStatus::Ok, false), news, (CheckStatus::Ok, false)]);
    bench.break_at("alpha", Step::Probe, SICK);
    bench.break_at("gamma", Step::Probe, SICK);
    assert_eq!(statuses(), [(CheckStatus::Warning, true); 3]);
}
