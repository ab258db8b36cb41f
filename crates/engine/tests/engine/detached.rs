//! Detached commands: what is known of them, by whom, and for how long.

use crate::{
    Test,
    bench::{Bench, DEADLINE, name, shell},
};
use agentkernel_engine::request::{DetachedInfo, DetachedStatus, DetachedStream};
use agentkernel_model::{
    Kind, Result,
    command::{Argv, EnvVar, ExecSpec, Stdio, TerminalSize},
    id::DetachedId,
};
use agentkernel_trace::{Outbox, Recorder, Sampler};
use rustix::process::Signal;
use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, sync::Arc, time::Instant};

pub(crate) const TESTS: &[Test] = &[
    ("a_detached_command_outlives_who_began_it", a_detached_command_outlives_who_began_it),
    ("the_end_and_both_outputs_are_kept", the_end_and_both_outputs_are_kept),
    ("a_kill_reaches_the_group_and_can_be_repeated", a_kill_reaches_the_group_and_can_be_repeated),
    ("what_ignores_sigterm_is_killed", what_ignores_sigterm_is_killed),
    ("what_a_killed_keeper_had_has_failed", what_a_killed_keeper_had_has_failed),
    ("what_a_stop_ends_is_listed_until_the_removal", what_a_stop_ends_is_listed_until_the_removal),
    ("the_environment_of_a_detached_command_is_on_no_disk", the_environment_is_on_no_disk),
    ("a_detached_command_finds_the_trace_that_it_is_part_of", a_detached_command_finds_its_trace),
    ("a_log_is_bounded_and_says_what_it_lacks", a_log_is_bounded_and_says_what_it_lacks),
    ("so_many_may_run_and_so_many_are_remembered", so_many_may_run_and_so_many_are_remembered),
    ("what_cannot_begin_is_not_kept", what_cannot_begin_is_not_kept),
    ("what_it_leaves_behind_holds_up_nothing", what_it_leaves_behind_holds_up_nothing),
];

impl Bench {
    fn up(sandbox: &str) -> Self {
        let bench = Self::new();
        bench.create(sandbox);
        bench.start(sandbox).unwrap();
        bench
    }

    fn detach(&self, script: &str) -> Result<DetachedInfo> {
        self.runtime.block_on(self.engine.exec_detached(&name("one"), &shell(script)))
    }

    fn kill(&self, id: DetachedId) -> DetachedInfo {
        self.runtime.block_on(self.engine.detached_kill(&name("one"), &id)).unwrap()
    }

    fn detached(&self, id: DetachedId) -> DetachedInfo {
        self.another().detached(&name("one"), &id).unwrap()
    }

    fn list(&self) -> Vec<DetachedInfo> {
        self.another().detached_list(&name("one")).unwrap()
    }

    fn log(&self, id: DetachedId, stream: DetachedStream) -> String {
        let mut text = String::new();
        let mut file = self.another().detached_logs(&name("one"), &id, stream).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    /// Nothing tells a process that is not the keeper: it looks again.
    fn await_that(&self, what: impl Fn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !what() {
            assert!(Instant::now() < deadline, "it does not come: {:?}", self.list());
            std::thread::yield_now();
        }
    }

    fn await_over(&self, id: DetachedId) -> DetachedInfo {
        self.await_that(|| self.detached(id).status != DetachedStatus::Running);
        self.detached(id)
    }
}

fn a_detached_command_outlives_who_began_it() {
    let bench = Bench::up("one");
    assert!(bench.play(&["detach", "one", "echo up; exec sleep 600"]).succeeds());
    let [info] = &bench.list()[..] else { panic!("{:?}", bench.list()) };
    assert_eq!((info.status, info.exit_code, info.ended_at.as_ref()), (DetachedStatus::Running, None, None));
    assert_eq!(info.sandbox, name("one"));
    assert!(info.pid.is_some_and(|pid| pid > 1), "{info:?}");
    assert_eq!(info.command[2], "echo up; exec sleep 600");
    bench.await_that(|| bench.log(info.id, DetachedStream::Stdout) == "up\n");
    let killed = bench.kill(info.id);
    assert_eq!((killed.status, killed.exit_code), (DetachedStatus::Failed, Some(143)));
    assert_eq!(killed.reason.as_deref(), Some("signal 15 ended it"));
    assert!(killed.ended_at.is_some());
}

fn the_end_and_both_outputs_are_kept() {
    let bench = Bench::up("one");
    let made = bench.detach("echo out; echo err >&2; exit 7").unwrap();
    let over = bench.await_over(made.id);
    assert_eq!((over.status, over.exit_code, over.reason), (DetachedStatus::Failed, Some(7), None));
    assert_eq!(bench.log(made.id, DetachedStream::Stdout), "out\n");
    assert_eq!(bench.log(made.id, DetachedStream::Stderr), "err\n");
    let fine = bench.detach("cat; echo no input").unwrap();
    let over = bench.await_over(fine.id);
    assert_eq!((over.status, over.exit_code), (DetachedStatus::Completed, Some(0)));
    assert_eq!(bench.log(fine.id, DetachedStream::Stdout), "no input\n");
    let ids: Vec<_> = bench.list().iter().map(|info| info.id).collect();
    assert_eq!(ids, [made.id, fine.id]);
    let unknown = bench.engine.detached(&name("one"), &DetachedId::new()).unwrap_err();
    assert_eq!(unknown.kind(), Kind::NotFound);
    assert!(unknown.hint().unwrap().contains("exec-list one"));

    let dir = bench.sandbox_dir(bench.info("one").uuid).join("detached");
    for file in fs::read_dir(dir).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

fn a_kill_reaches_the_group_and_can_be_repeated() {
    let bench = Bench::up("one");
    // Only the child could write the last line, and it holds the output open.
    let made =
        bench.detach("(trap 'echo child; exit' TERM; echo up; while :; do sleep 0.05; done) & wait").unwrap();
    bench.await_that(|| bench.log(made.id, DetachedStream::Stdout) == "up\n");
    assert_eq!(bench.kill(made.id).status, DetachedStatus::Failed);
    bench.await_that(|| bench.log(made.id, DetachedStream::Stdout) == "up\nchild\n");
    let first = bench.detached(made.id);
    assert_eq!(bench.kill(made.id), first);
}

fn what_ignores_sigterm_is_killed() {
    let bench = Bench::up("one");
    let made = bench.detach("trap '' TERM; echo up; while :; do sleep 0.05; done").unwrap();
    bench.await_that(|| bench.log(made.id, DetachedStream::Stdout) == "up\n");
    let begun = Instant::now();
    let killed = bench.kill(made.id);
    assert_eq!(killed.exit_code, Some(137));
    assert!(begun.elapsed().as_secs() >= 9, "it had no grace");
}

fn what_a_killed_keeper_had_has_failed() {
    let bench = Bench::up("one");
    let made = bench.detach("echo up; exec sleep 600").unwrap();
    bench.await_that(|| bench.log(made.id, DetachedStream::Stdout) == "up\n");
    bench.end(bench.keeper(bench.info("one").uuid), Signal::KILL);
    let check = |when: &str| {
        let lost = bench.detached(made.id);
        assert_eq!(
            (lost.status, lost.exit_code, lost.ended_at),
            (DetachedStatus::Failed, None, None),
            "{when}"
        );
        assert_eq!(lost.reason.as_deref(), Some("its keeper ended unexpectedly"), "{when}");
        assert_eq!(bench.log(made.id, DetachedStream::Stdout), "up\n", "{when}");
        assert_eq!(bench.kill(made.id).status, DetachedStatus::Failed, "{when}");
    };
    check("after the kill");
    bench.stop("one").unwrap();
    check("when that is cleared away");
    bench.start("one").unwrap();
    check("when it runs again");
    assert_eq!(bench.list().len(), 1);
}

fn what_a_stop_ends_is_listed_until_the_removal() {
    let bench = Bench::up("one");
    let made = bench.detach("exec sleep 600").unwrap();
    let polite = bench.detach("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done").unwrap();
    bench.await_that(|| bench.log(polite.id, DetachedStream::Stdout) == "up\n");
    bench.stop("one").unwrap();
    let stopped = bench.detached(made.id);
    assert_eq!(
        (stopped.status, stopped.reason.as_deref()),
        (DetachedStatus::Failed, Some("the sandbox was stopped"))
    );
    assert!(stopped.ended_at.is_some());
    assert_ne!(bench.detached(polite.id).status, DetachedStatus::Running);
    assert_eq!(bench.list().len(), 2);
    let refused = bench.detach("true").unwrap_err();
    assert_eq!((refused.kind(), refused.hint()), (Kind::Conflict, Some("agentkernel sandbox start one")));
    bench.remove("one").unwrap();
    assert_eq!(bench.dirs(), 0);
    assert_eq!(bench.engine.detached_list(&name("one")).unwrap_err().kind(), Kind::NotFound);
}

fn the_environment_is_on_no_disk() {
    let bench = Bench::up("one");
    let command = ExecSpec {
        env: vec![EnvVar::new("TOKEN", "hush-4711").unwrap()],
        ..shell("test $TOKEN = hush-4711")
    };
    let made = bench.runtime.block_on(bench.engine.exec_detached(&name("one"), &command)).unwrap();
    assert_eq!(bench.await_over(made.id).exit_code, Some(0));
    for file in fs::read_dir(bench.sandbox_dir(bench.info("one").uuid).join("detached")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().replace("test $TOKEN = hush-4711", "");
        assert!(!text.contains("hush"), "{}: {text}", path.display());
    }
}

fn a_detached_command_finds_its_trace() {
    let bench = Bench::up("one");
    let outbox = Arc::new(Outbox::new(Outbox::SMALL));
    let recorder = Recorder::new(Sampler::DEFAULT, Arc::clone(&outbox));
    let own =
        ExecSpec { env: vec![EnvVar::new("TRACEPARENT", "mine").unwrap()], ..shell("echo $TRACEPARENT") };
    let begin = |command: &ExecSpec| {
        bench.runtime.block_on(bench.engine.exec_detached(&name("one"), command)).unwrap().id
    };
    let (traced, own) = tracing::dispatcher::with_default(&recorder.into(), || {
        (begin(&shell("echo $TRACEPARENT")), begin(&own))
    });
    let untraced = begin(&shell("echo $TRACEPARENT"));
    let says = |id| {
        bench.await_over(id);
        bench.log(id, DetachedStream::Stdout)
    };
    let spans = outbox.take(Outbox::SMALL);
    let [span, _] = &spans[..] else { panic!("{spans:?}") };
    let span = serde_json::to_value(span).unwrap();
    assert_eq!(span["name"], "detach");
    assert_eq!(says(traced), format!("{}\n", span["context"].as_str().unwrap()));
    assert_eq!((says(own), says(untraced)), ("mine\n".to_owned(), "\n".to_owned()));
}

fn a_log_is_bounded_and_says_what_it_lacks() {
    let bench = Bench::up("one");
    let made = bench.detach("head -c 41943040 /dev/zero | tr '\\0' x; echo the end").unwrap();
    let over = bench.await_over(made.id);
    assert_eq!(over.exit_code, Some(0));
    let log = bench.log(made.id, DetachedStream::Stdout);
    assert!(log.len() <= 16 << 20 && log.len() >= 8 << 20, "{}", log.len());
    assert!(log.ends_with("xxthe end\n"));
    assert_eq!(log.len() as u64 + over.stdout_dropped, 41_943_040 + 8);
    assert_eq!(over.stderr_dropped, 0);
}

fn so_many_may_run_and_so_many_are_remembered() {
    let bench = Bench::up("one");
    let first = bench.detach("true").unwrap();
    bench.await_over(first.id);
    let sleepers: Vec<_> = (0..32).map(|_| bench.detach("exec sleep 600").unwrap().id).collect();
    let refused = bench.detach("true").unwrap_err();
    assert_eq!(refused.kind(), Kind::Exhausted);
    assert!(refused.message().contains("32"), "{refused}");
    assert!(refused.hint().unwrap().contains("exec-kill one"));
    bench.kill(sleepers[0]);
    for _ in 0..40 {
        bench.await_over(bench.detach("true").unwrap().id);
    }
    let list = bench.list();
    assert_eq!(list.len(), 64);
    assert!(list.iter().all(|info| info.id != first.id), "an older one stayed than one that went");
    let running = list.iter().filter(|info| info.status == DetachedStatus::Running).count();
    assert_eq!(running, 31, "one that runs was forgotten");
    let files = fs::read_dir(bench.sandbox_dir(bench.info("one").uuid).join("detached")).unwrap().count();
    assert_eq!(files, 3 * 64);
}

fn what_cannot_begin_is_not_kept() {
    let bench = Bench::up("one");
    let argv = Argv::new(vec!["no-such-command".to_owned()]).unwrap();
    let command = ExecSpec { argv, ..shell("") };
    let error = bench.runtime.block_on(bench.engine.exec_detached(&name("one"), &command)).unwrap_err();
    assert_eq!(error.kind(), Kind::CommandNotFound);
    let size = TerminalSize { rows: 24, columns: 80 };
    let command = ExecSpec { stdio: Stdio::Terminal(size), ..shell("true") };
    let error = bench.runtime.block_on(bench.engine.exec_detached(&name("one"), &command)).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(bench.list(), []);
    let dir = bench.sandbox_dir(bench.info("one").uuid).join("detached");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

fn what_it_leaves_behind_holds_up_nothing() {
    let bench = Bench::up("one");
    let made = bench.detach("(while [ ! -e go ]; do sleep 0.05; done; echo late) & echo early").unwrap();
    assert_eq!(bench.await_over(made.id).exit_code, Some(0));
    assert_eq!(bench.log(made.id, DetachedStream::Stdout), "early\n");
    bench.exec("one", "touch go").unwrap();
    bench.await_that(|| bench.log(made.id, DetachedStream::Stdout) == "early\nlate\n");
}
