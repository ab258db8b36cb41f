//! The daemon and its warm sandboxes, with a real daemon process.

use crate::{
    Test,
    bench::{Bench, DEADLINE, output, shell, spec},
};
use agentkernel_backend::Process;
use agentkernel_engine::{
    daemon::{DaemonStatus, Order, Phase, PoolSize, Started},
    request::{Effect, Pool, RunRequest, Stopped},
    values::Source,
};
use agentkernel_model::{
    Kind, Result,
    command::{EnvVar, ExecSpec, Stdio},
    port::PublishedPort,
    seccomp::SeccompLevel,
    spec::{Lifetime, SandboxSpec},
};
use agentkernel_testkit::fake::{Action, Fault, FaultKind, Step};
use rustix::process::Signal;
use std::{
    cell::Cell,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    time::Instant,
};

pub(crate) const TESTS: &[Test] = &[
    ("a_run_gets_a_warm_sandbox_of_its_own", a_run_gets_a_warm_sandbox_of_its_own),
    ("a_warm_sandbox_gives_a_command_the_same", a_warm_sandbox_gives_a_command_the_same),
    ("a_miss_runs_and_is_warm_for_the_next", a_miss_runs_and_is_warm_for_the_next),
    ("what_is_named_stays_warm_beside_what_is_asked_for", what_is_named_stays_warm_beside_what_is_asked_for),
    (
        "a_run_does_not_wait_for_ever_for_one_that_comes_up",
        a_run_does_not_wait_for_ever_for_one_that_comes_up,
    ),
    ("one_that_hangs_holds_up_nobody", one_that_hangs_holds_up_nobody),
    ("what_a_run_missed_is_made_when_the_run_is_up", what_a_run_missed_is_made_when_the_run_is_up),
    ("what_was_asked_for_longest_ago_gives_way", what_was_asked_for_longest_ago_gives_way),
    ("what_cannot_be_warm_takes_the_ordinary_road", what_cannot_be_warm_takes_the_ordinary_road),
    ("a_sandbox_that_cannot_be_reached_is_not_used", a_sandbox_that_cannot_be_reached_is_not_used),
    ("a_command_that_may_have_begun_is_not_begun_again", a_command_that_may_have_begun_is_not_begun_again),
    ("a_dropped_run_ends_its_sandbox", a_dropped_run_ends_its_sandbox),
    ("a_killed_run_ends_its_sandbox", a_killed_run_ends_its_sandbox),
    ("a_killed_daemon_leaves_nothing_after_gc", a_killed_daemon_leaves_nothing_after_gc),
    ("warm_sandboxes_are_not_gcs", warm_sandboxes_are_not_gcs),
    ("there_is_one_daemon", there_is_one_daemon),
    ("stop_waits_for_commands_that_run", stop_waits_for_commands_that_run),
    ("a_daemon_that_is_told_to_end_ends_everything", a_daemon_that_is_told_to_end_ends_everything),
    ("what_is_named_and_fails_is_told", what_is_named_and_fails_is_told),
    ("a_failure_later_on_is_shown_and_tried_again", a_failure_later_on_is_shown_and_tried_again),
    ("what_cannot_be_removed_is_told_at_the_end", what_cannot_be_removed_is_told_at_the_end),
    ("a_warm_sandbox_that_ends_is_replaced", a_warm_sandbox_that_ends_is_replaced),
    ("strange_visitors_harm_nobody", strange_visitors_harm_nobody),
    ("a_lease_ends_with_a_word", a_lease_ends_with_a_word),
    ("the_socket_is_private", the_socket_is_private),
    ("a_daemon_that_does_not_listen_is_named", a_daemon_that_does_not_listen_is_named),
];

/// What a run asks for.
fn kind() -> SandboxSpec {
    SandboxSpec { lifetime: Lifetime::Ephemeral, ..spec() }
}

/// Another one.
fn stricter() -> SandboxSpec {
    let mut kind = kind();
    kind.policy.seccomp = SeccompLevel::Restrictive;
    kind
}

impl Bench {
    fn daemon(&self, min: usize, max: usize, named: &[SandboxSpec]) -> Result<Started> {
        self.runtime.block_on(async {
            let mut wishes = Vec::new();
            for spec in named {
                wishes.push(self.engine.wish(spec, None).await?);
            }
            let order = Order::new(PoolSize::new(Some(min), Some(max))?, wishes)?;
            self.engine.start_daemon(&order).await
        })
    }

    fn status(&self) -> DaemonStatus {
        self.runtime.block_on(self.engine.daemon_status()).unwrap().expect("there is a daemon")
    }

    /// Waits until the daemon is as `wanted`.
    fn await_status(&self, wanted: impl Fn(&DaemonStatus) -> bool) -> DaemonStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "it stays {status:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until the fake was called at `step`.
    pub(crate) fn await_step(&self, step: Step) {
        let deadline = Instant::now() + DEADLINE;
        while self.control.count(step) == 0 {
            assert!(Instant::now() < deadline, "{step:?} is never reached");
            std::thread::yield_now();
        }
    }

    fn await_dirs(&self, count: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.dirs() != count {
            assert!(Instant::now() < deadline, "{} directories stay, not {count}", self.dirs());
            std::thread::yield_now();
        }
    }

    fn begin(&self, spec: SandboxSpec, command: ExecSpec) -> Result<Process> {
        let request = RunRequest { spec, command, backend: None, values: Source::default(), pool: Pool::Use };
        self.runtime.block_on(self.engine.run(request)).map(|running| running.process)
    }

    fn run(&self, spec: SandboxSpec, script: &str) -> String {
        let process = self.begin(spec, shell(script)).unwrap();
        self.runtime.block_on(output(process)).unwrap()
    }

    /// Runs that took the ordinary road.
    fn ordinary(&self) -> usize {
        self.control.count(Step::RunOnce)
    }

    fn stop_daemon(&self) -> Result<bool> {
        self.runtime.block_on(self.engine.stop_daemon(|_| {}))
    }

    /// A visitor of the daemon's socket that has said `words`.
    fn visit(&self, words: &[u8]) -> UnixStream {
        let mut stream = UnixStream::connect(self.engine.daemon_socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // One that is turned away is not listened to.
        let _turned_away = stream.write_all(words);
        stream
    }
}

fn a_run_gets_a_warm_sandbox_of_its_own() {
    let bench = Bench::new();
    // There would be room for used ones.
    assert!(matches!(bench.daemon(2, 5, &[kind()]).unwrap(), Started::Now { .. }));
    let status = bench.status();
    assert_eq!((status.warm, status.in_use, status.min_warm, status.max_warm), (2, 0, 2, 5));
    assert_eq!(bench.dirs(), 2);
    // More runs than there were sandboxes at first, and none sees what another one did.
    for round in 1..=5 {
        bench.await_status(|status| status.warm >= 2);
        assert_eq!(bench.run(kind(), "ls; echo dirty > mark"), "tmp\n");
        assert_eq!(bench.status().hits, round);
    }
    assert_eq!((bench.ordinary(), bench.control.count(Step::Exec)), (0, 5));
    assert!(bench.stop_daemon().unwrap());
    assert_eq!(bench.dirs(), 0);
    assert_eq!(bench.control.count(Step::Create), bench.control.count(Step::Destroy));
    assert!(!bench.data().join("state.db").exists(), "no warm sandbox has a record");
}

fn a_warm_sandbox_gives_a_command_the_same() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let env = vec![EnvVar::new("SECRET", "s3cret").unwrap(), EnvVar::new("LAST", "spec").unwrap()];
    let spec = SandboxSpec { env, ..kind() };
    let command = ExecSpec {
        env: vec![EnvVar::new("LAST", "command").unwrap()],
        stdio: Stdio::Pipes,
        ..shell("cat; echo $SECRET $LAST; echo err >&2; kill -9 $$")
    };
    let mut ends = Vec::new();
    for round in [0, 1] {
        let process = bench.begin(spec.clone(), command.clone()).unwrap();
        ends.push(bench.runtime.block_on(process.output(1 << 10)).unwrap());
        assert_eq!(bench.ordinary(), round);
        if round == 0 {
            bench.stop_daemon().unwrap();
        }
    }
    assert_eq!(ends[0], ends[1], "with a daemon, and without");
    assert_eq!((ends[0].stdout.as_slice(), ends[0].exit.code()), (&b"s3cret command\n"[..], 137));
    let missing = ExecSpec { argv: vec!["/no/such".to_owned()].try_into().unwrap(), ..shell("") };
    bench.daemon(1, 1, &[kind()]).unwrap();
    let why = |process: Result<Process>| {
        let error = match process {
            Ok(process) => bench.runtime.block_on(process.exit).unwrap_err(),
            Err(error) => error,
        };
        (error.kind(), error.to_string())
    };
    let warm = why(bench.begin(kind(), missing.clone()));
    assert_eq!((warm.0, bench.ordinary()), (Kind::CommandNotFound, 1));
    bench.stop_daemon().unwrap();
    assert_eq!(why(bench.begin(kind(), missing)), warm);
}

fn a_miss_runs_and_is_warm_for_the_next() {
    let bench = Bench::new();
    bench.daemon(3, 5, &[]).unwrap();
    assert_eq!((bench.status().warm, bench.dirs()), (0, 0));
    assert_eq!(bench.run(kind(), "echo cold"), "cold\n");
    assert_eq!(bench.ordinary(), 1);
    let status = bench.await_status(|status| status.warm == 3);
    assert_eq!((status.hits, status.misses, status.kinds.len()), (0, 1, 1));
    assert_eq!((status.kinds[0].backend.as_str(), status.kinds[0].image.as_str()), ("fake", "host"));
    assert_eq!(bench.run(kind(), "echo warm"), "warm\n");
    assert_eq!(bench.ordinary(), 1);
    bench.stop_daemon().unwrap();
}

fn what_is_named_stays_warm_beside_what_is_asked_for() {
    let bench = Bench::new();
    bench.daemon(1, 2, &[kind()]).unwrap();
    let elsewhere = SandboxSpec { workdir: Some("/tmp".parse().unwrap()), ..kind() };
    for (number, other) in [stricter(), elsewhere].into_iter().enumerate() {
        bench.run(other.clone(), "true");
        bench.await_status(|status| status.misses == number as u64 + 1 && status.warm == 2);
        bench.run(other, "true");
        let status = bench.await_status(|status| status.warm == 2);
        assert_eq!((bench.ordinary(), status.hits, status.kinds.len()), (number + 1, number as u64 + 1, 2));
    }
    assert_eq!(bench.run(kind(), "echo warm"), "warm\n");
    assert_eq!(bench.ordinary(), 2);
    bench.stop_daemon().unwrap();
}

fn a_run_does_not_wait_for_ever_for_one_that_comes_up() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    bench.control.inject(Fault { step: Step::Start, action: Action::Hang, times: None }).unwrap();
    assert_eq!(bench.run(kind(), "echo warm"), "warm\n");
    // Its successor is under way for ever.
    bench.await_status(|status| status.in_use == 0 && status.warm == 0);
    assert_eq!((bench.run(kind(), "echo cold"), bench.ordinary()), ("cold\n".to_owned(), 1));
    let status = bench.await_status(|status| status.misses == 1);
    assert_eq!((status.hits, status.in_use), (1, 0));
    assert!(bench.stop_daemon().unwrap());
    assert_eq!(bench.dirs(), 0);
}

fn one_that_hangs_holds_up_nobody() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    bench.fail(Step::Start, Action::Hang);
    for round in 1..=2 {
        assert_eq!(bench.run(kind(), "echo warm"), "warm\n");
        // Another one is begun for whoever waits.
        bench.await_status(|status| status.in_use == 0 && status.hits == round);
    }
    assert_eq!(bench.ordinary(), 0);
    assert!(bench.stop_daemon().unwrap());
    assert_eq!(bench.dirs(), 0);
}

fn what_a_run_missed_is_made_when_the_run_is_up() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[]).unwrap();
    bench.fail(Step::RunOnce, Action::Hang);
    let mut run = bench.play(&["run", "true"]);
    bench.await_status(|status| status.misses == 1);
    // It is past what it says to the daemon: killed before that, it would have asked for nothing.
    bench.await_step(Step::RunOnce);
    assert_eq!(
        (bench.status().kinds.len(), bench.control.count(Step::Create)),
        (0, 0),
        "it has not begun yet"
    );
    run.kill();
    bench.await_status(|status| status.warm == 1);
    bench.stop_daemon().unwrap();
}

fn what_was_asked_for_longest_ago_gives_way() {
    let bench = Bench::new();
    bench.daemon(2, 2, &[]).unwrap();
    let elsewhere = SandboxSpec { workdir: Some("/tmp".parse().unwrap()), ..kind() };
    let kinds = [kind(), stricter(), elsewhere];
    for (number, kind) in kinds.iter().enumerate() {
        bench.run(kind.clone(), "true");
        let known = (number + 1).min(2);
        let status = bench.await_status(|status| status.kinds.len() == known && status.warm == 2);
        assert_eq!(status.kinds[0].warm, 2 / known);
        bench.await_dirs(2);
    }
    assert_eq!(bench.ordinary(), 3);
    // The first one was forgotten, the others were not.
    for (kind, ordinary) in [(&kinds[2], 3), (&kinds[1], 3), (&kinds[0], 4)] {
        bench.run(kind.clone(), "true");
        assert_eq!(bench.ordinary(), ordinary);
    }
    bench.stop_daemon().unwrap();
}

fn what_cannot_be_warm_takes_the_ordinary_road() {
    let bench = Bench::new();
    bench.daemon(1, 5, &[]).unwrap();
    let script = SandboxSpec { init_script: Some("true".to_owned()), ..kind() };
    let ports = SandboxSpec { ports: vec![PublishedPort { host: 0, guest: 1 }], ..kind() };
    for spec in [script, ports] {
        let error = bench.runtime.block_on(bench.engine.wish(&spec, None)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert_eq!(bench.run(spec, "echo done"), "done\n");
    }
    let status = bench.status();
    assert_eq!((status.misses, status.kinds.len()), (0, 0), "nobody was asked");
    bench.stop_daemon().unwrap();
}

fn a_sandbox_that_cannot_be_reached_is_not_used() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    for fault in [Action::Fail(FaultKind::Internal), Action::Hang] {
        bench.await_status(|status| status.warm == 1);
        let before = bench.ordinary();
        bench.fail(Step::Attach, fault);
        assert_eq!(bench.run(kind(), "echo done"), "done\n");
        assert_eq!(bench.ordinary(), before + 1);
    }
    bench.await_status(|status| status.in_use == 0 && status.warm == 1);
    bench.await_dirs(1);
    bench.stop_daemon().unwrap();
}

fn a_command_that_may_have_begun_is_not_begun_again() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    bench.fail(Step::Exec, Action::Fail(FaultKind::Conflict));
    assert_eq!(bench.begin(kind(), shell("true")).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(bench.ordinary(), 0);
    bench.await_status(|status| status.in_use == 0 && status.warm == 1);
    bench.stop_daemon().unwrap();
}

fn a_dropped_run_ends_its_sandbox() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let process = bench.begin(kind(), shell("sleep 1000")).unwrap();
    assert_eq!(bench.status().in_use, 1);
    bench.runtime.block_on(async { drop(process) });
    bench.await_status(|status| status.in_use == 0 && status.warm == 1);
    bench.await_dirs(1);
    bench.stop_daemon().unwrap();
}

fn a_killed_run_ends_its_sandbox() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let mut run = bench.play(&["run", "sleep 1000"]);
    bench.await_status(|status| status.in_use == 1 && status.warm == 1);
    assert_eq!(bench.ordinary(), 0);
    run.kill();
    bench.await_status(|status| status.in_use == 0);
    bench.await_dirs(1);
    bench.stop_daemon().unwrap();
}

fn kill(bench: &Bench, signal: Signal) {
    bench.end(i32::try_from(bench.status().pid).unwrap(), signal);
}

fn a_killed_daemon_leaves_nothing_after_gc() {
    let bench = Bench::new();
    bench.daemon(2, 2, &[kind()]).unwrap();
    let process = bench.begin(kind(), shell("sleep 1000")).unwrap();
    bench.await_status(|status| status.warm == 2);
    kill(&bench, Signal::KILL);
    let exit = bench.runtime.block_on(process.exit).unwrap();
    assert_eq!(exit.code(), 137, "what it kept dies with it");
    assert!(bench.runtime.block_on(bench.engine.daemon_status()).unwrap().is_none());
    assert!(!bench.stop_daemon().unwrap());
    assert!(bench.engine.daemon_socket().exists(), "nobody removed it");
    assert_eq!(bench.run(kind(), "echo cold"), "cold\n");
    assert_eq!((bench.ordinary(), bench.dirs()), (1, 3));
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).orphans.len(), 3);
    assert_eq!(bench.dirs(), 0);
    assert!(matches!(bench.daemon(1, 1, &[kind()]).unwrap(), Started::Now { .. }));
    assert_eq!(bench.run(kind(), "echo warm"), "warm\n");
    assert_eq!(bench.ordinary(), 1);
    bench.stop_daemon().unwrap();
}

fn warm_sandboxes_are_not_gcs() {
    let bench = Bench::new();
    bench.daemon(2, 2, &[kind()]).unwrap();
    assert_eq!(bench.gc(Stopped::Remove, Effect::Apply).count, 0);
    assert_eq!((bench.dirs(), bench.status().warm), (2, 2));
    bench.stop_daemon().unwrap();
}

fn there_is_one_daemon() {
    let bench = Bench::new();
    assert!(!bench.stop_daemon().unwrap(), "there is none to stop");
    let starts: Vec<_> = (0..4).map(|_| bench.play(&["start-daemon"])).collect();
    for mut start in starts {
        assert!(start.succeeds(), "a second start succeeds");
    }
    let pid = bench.status().pid;
    assert_eq!(bench.daemon(1, 1, &[]).unwrap(), Started::Before);
    assert_eq!(bench.status().pid, pid);
    assert!(bench.stop_daemon().unwrap());
    assert!(!bench.engine.daemon_socket().exists());
}

fn stop_waits_for_commands_that_run() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let command = ExecSpec { stdio: Stdio::Pipes, ..shell("cat; echo end") };
    let process = bench.begin(kind(), command).unwrap();
    bench.await_status(|status| status.warm == 1);
    let process = Cell::new(Some(process));
    let waited = Cell::new(0);
    let (told, hears) = tokio::sync::oneshot::channel();
    let told = Cell::new(Some(told));
    let stop = bench.engine.stop_daemon(|commands| {
        waited.set(commands);
        let _once = told.take().unwrap().send(());
    });
    let others = async {
        hears.await.unwrap();
        let status = bench.engine.daemon_status().await.unwrap().unwrap();
        assert_eq!((status.phase, status.warm, status.in_use), (Phase::Stopping, 0, 1));
        // No more are lent.
        let request = RunRequest {
            spec: kind(),
            command: shell("echo cold"),
            backend: None,
            values: Source::default(),
            pool: Pool::Use,
        };
        assert_eq!(output(bench.engine.run(request).await.unwrap().process).await.unwrap(), "cold\n");
        process.take().unwrap().output(1 << 10).await.unwrap()
    };
    let (stopped, ended) = bench.runtime.block_on(async { tokio::join!(stop, others) });
    assert_eq!((stopped.unwrap(), waited.get(), ended.stdout.as_slice()), (true, 1, &b"end\n"[..]));
    assert_eq!((bench.ordinary(), bench.dirs()), (1, 0));
}

fn a_daemon_that_is_told_to_end_ends_everything() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let process = bench.begin(kind(), shell("sleep 1000")).unwrap();
    bench.await_status(|status| status.warm == 1);
    kill(&bench, Signal::TERM);
    assert_eq!(bench.runtime.block_on(process.exit).unwrap().code(), 137);
    assert_eq!(bench.dirs(), 0);
    assert!(!bench.engine.daemon_socket().exists());
}

fn what_is_named_and_fails_is_told() {
    let bench = Bench::new();
    for step in [Step::Create, Step::StartUp] {
        let fault = Fault { step, action: Action::Fail(FaultKind::Exhausted), times: None };
        bench.control.inject(fault).unwrap();
        assert_eq!(bench.daemon(1, 1, &[kind()]).unwrap_err().kind(), Kind::Exhausted);
        assert!(bench.runtime.block_on(bench.engine.daemon_status()).unwrap().is_none());
        assert_eq!(bench.dirs(), 0);
        bench.control.heal().unwrap();
    }
    let many = vec![kind(), stricter()];
    assert_eq!(bench.daemon(1, 1, &many).unwrap_err().kind(), Kind::Invalid);
}

fn a_failure_later_on_is_shown_and_tried_again() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[]).unwrap();
    bench.fail(Step::Start, Action::Fail(FaultKind::Exhausted));
    bench.run(kind(), "true");
    let status = bench.await_status(|status| status.kinds.first().is_some_and(|k| k.trouble.is_some()));
    assert!(status.kinds[0].trouble.as_ref().unwrap().contains("start"), "{status:?}");
    let status = bench.await_status(|status| status.warm == 1);
    assert_eq!(status.kinds[0].trouble, None);
    bench.stop_daemon().unwrap();
}

fn what_cannot_be_removed_is_told_at_the_end() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    bench.fail(Step::Destroy, Action::Fail(FaultKind::Unavailable));
    let error = bench.stop_daemon().unwrap_err();
    assert!(error.message().contains("cannot remove the warm sandbox"), "{error}");
    assert_eq!(error.hint(), Some("agentkernel gc"));
    assert!(bench.runtime.block_on(bench.engine.daemon_status()).unwrap().is_none());
    assert_eq!(bench.gc(Stopped::Keep, Effect::Apply).count, 1);
    assert_eq!(bench.dirs(), 0);
}

fn a_warm_sandbox_that_ends_is_replaced() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let dir = fs::read_dir(bench.data().join("sandboxes")).unwrap().next().unwrap().unwrap().path();
    // The fake's own way to end.
    UnixStream::connect(dir.join("fake/keeper.sock")).unwrap().write_all(b"S").unwrap();
    let deadline = Instant::now() + DEADLINE;
    while dir.exists() {
        assert!(Instant::now() < deadline, "it is not noticed");
        std::thread::yield_now();
    }
    bench.await_status(|status| status.warm == 1);
    assert_eq!(bench.run(kind(), "echo fresh"), "fresh\n");
    assert_eq!(bench.ordinary(), 0);
    bench.stop_daemon().unwrap();
}

const HELLO: &[u8] = b"{\"hello\":{\"version\":1,\"pid\":1}}\n";

fn strange_visitors_harm_nobody() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let idle = bench.visit(b"");
    let half = bench.visit(b"{\"hello\":");
    let recipe = "{\"backend\":\"fake\",\"spec\":{},\"image\":null,\"facts\":null}";
    let forged = format!("{{\"want\":{{\"key\":\"{}\",\"recipe\":{recipe}}}}}\n", "0".repeat(64));
    for (words, hello) in [
        (b"\n".to_vec(), false),
        (b"\"status\"\n".to_vec(), false),
        (vec![b'x'; 128 * 1024], false),
        (b"{\"hello\":{\"version\":99,\"pid\":1}}\n\"stop\"\n".to_vec(), true),
        ([HELLO, b"{\"take\":\"../../etc\"}\n"].concat(), true),
        ([HELLO, b"\"destroy\"\n"].concat(), true),
        ([HELLO, forged.as_bytes()].concat(), true),
    ] {
        let mut heard = Vec::new();
        // A connection that is closed with words unread is reset.
        let _reset = bench.visit(&words).read_to_end(&mut heard);
        let lines = heard.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, usize::from(hello), "{:?}", String::from_utf8_lossy(&words[..words.len().min(99)]));
    }
    // More than it serves at once: those beyond are turned away, and the rest is served.
    let crowd: Vec<UnixStream> = (0..300).map(|_| bench.visit(b"")).collect();
    drop((crowd, idle, half));
    let status = bench.await_status(|status| status.warm == 1);
    assert_eq!((status.phase, status.kinds.len(), status.in_use), (Phase::Running, 1, 0));
    assert_eq!(bench.run(kind(), "echo warm"), "warm\n");
    bench.stop_daemon().unwrap();
}

fn a_lease_ends_with_a_word() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[kind()]).unwrap();
    let wish = bench.runtime.block_on(bench.engine.wish(&kind(), None)).unwrap();
    let key = serde_json::to_value(&wish).unwrap()["key"].clone();
    let take = format!("{{\"take\":{key}}}\n");
    let mut stream = bench.visit(&[HELLO, take.as_bytes()].concat());
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    assert!(answers.next().unwrap().unwrap().starts_with("{\"hello\""));
    assert!(answers.next().unwrap().unwrap().starts_with("{\"lent\""));
    assert_eq!(bench.status().in_use, 1);
    // A second one on the same connection is not to be had.
    stream.write_all(take.as_bytes()).unwrap();
    bench.await_status(|status| status.in_use == 0 && status.warm == 1);
    bench.stop_daemon().unwrap();
}

fn the_socket_is_private() {
    let bench = Bench::new();
    bench.daemon(1, 1, &[]).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.engine.daemon_socket()), 0o600);
    assert_eq!(mode(&bench.data()), 0o700);
    assert_eq!(mode(&bench.data().join("daemon.lock")), 0o600);
    let pid = bench.status().pid;
    for (fd, target) in [(0, "/dev/null"), (1, "/dev/null"), (2, "/dev/null")] {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap().to_str(), Some(target));
    }
    bench.stop_daemon().unwrap();
}

fn a_daemon_that_does_not_listen_is_named() {
    let bench = Bench::new();
    fs::create_dir(bench.data()).unwrap();
    let mut lock = fs::File::create(bench.data().join("daemon.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    lock.write_all(b"12345\n").unwrap();
    let error = bench.runtime.block_on(bench.engine.daemon_status()).unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Conflict, Some("end it with 'kill 12345'")));
    assert_eq!(bench.daemon(1, 1, &[]).unwrap(), Started::Before);
    assert_eq!(bench.run(kind(), "echo cold"), "cold\n");
}
