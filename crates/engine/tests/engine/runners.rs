//! Runs in processes of their own. The parent of a command of the fake is who started it: its runner.

use crate::{
    Test,
    bench::{Bench, DEADLINE, output, shell, spec},
};
use agentkernel_backend::{Exit, Process};
use agentkernel_engine::{
    Engine,
    audit::AuditQuery,
    request::{Pool, RunRequest, Running},
    values::{Source, Values},
};
use agentkernel_model::{
    Error, Kind, Result,
    command::{ExecSpec, Signal, Stdio, TerminalSize},
    image::ImageRef,
    port::PublishedPort,
    secret::Secret,
    spec::{Lifetime, SandboxSpec},
};
use agentkernel_testkit::{
    fake::{Action, FaultKind, Step},
    proc,
};
use std::{
    fs,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Instant,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

pub(crate) const TESTS: &[Test] = &[
    ("runner_a_run_is_as_one_in_this_process", a_run_is_as_one_in_this_process),
    ("runner_input_and_both_outputs_pass", input_and_both_outputs_pass),
    ("runner_a_terminal_passes_with_its_size", a_terminal_passes_with_its_size),
    ("runner_signals_reach_the_command", signals_reach_the_command),
    ("runner_signals_reach_what_the_command_started", signals_reach_what_the_command_started),
    ("runner_errors_keep_their_kind_and_hint", errors_keep_their_kind_and_hint),
    ("runner_nothing_of_the_caller_is_in_it", nothing_of_the_caller_is_in_it),
    ("runner_a_secret_passes_and_is_nowhere_else", a_secret_passes_and_is_nowhere_else),
    ("runner_a_secret_that_is_refused_is_the_reason", a_secret_that_is_refused_is_the_reason),
    ("runner_a_dropped_run_ends_its_command", a_dropped_run_ends_its_command),
    ("runner_a_run_that_is_given_up_leaves_nothing", a_run_that_is_given_up_leaves_nothing),
    ("runner_a_dropped_run_with_ports_leaves_nothing", a_dropped_run_with_ports_leaves_nothing),
    ("runner_a_killed_one_is_an_error_and_leaves_nothing", a_killed_one_is_an_error_and_leaves_nothing),
    ("runner_one_that_dies_at_the_start_is_an_error", one_that_dies_at_the_start_is_an_error),
    ("runner_one_that_is_told_to_end_ends_its_command", one_that_is_told_to_end_ends_its_command),
    ("runner_a_killed_server_leaves_nothing", a_killed_server_leaves_nothing),
    ("runner_fifty_at_once", fifty_at_once),
    ("runner_spare_ones_are_taken_bounded_and_end", spare_ones_are_taken_bounded_and_end),
    ("runner_a_killed_spare_one_is_not_taken", a_killed_spare_one_is_not_taken),
    ("runner_a_command_is_written_down_once", a_command_is_written_down_once),
    ("runner_backends_are_tried_out_in_one", backends_are_tried_out_in_one),
    ("runner_a_failed_create_is_explained_by_one", a_failed_create_is_explained_by_one),
    ("runner_a_process_that_nobody_may_see_leaves_no_finding", an_unseen_process_leaves_no_finding),
];

fn request_of(spec: SandboxSpec, command: ExecSpec) -> RunRequest {
    let spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ..spec };
    RunRequest { spec, command, backend: None, values: Source::default(), pool: Pool::Use }
}

fn request(script: &str) -> RunRequest {
    request_of(spec(), shell(script))
}

async fn begin(engine: &Engine, request: RunRequest) -> Result<Process> {
    engine.run(request).await.map(|running| running.process)
}

/// Until `over`, which nothing tells.
async fn until(what: &str, mut over: impl FnMut() -> bool) {
    let waiting = async {
        while !over() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "{what}");
}

/// Until no runner is left, nor anything that one has made.
async fn until_nothing_is_left(bench: &Bench) {
    until("runners end", || bench.runners().is_empty()).await;
    let runs = fs::read_dir(bench.data().join("runs")).map_or(0, Iterator::count);
    assert_eq!((runs, bench.dirs()), (0, 0), "nothing is left");
}

/// A command that has said its process id, and that of its parent.
struct Begun {
    process: Process,
    command: OwnedFd,
    runner: OwnedFd,
}

const WAITS: &str = "echo $$ $PPID; sleep 1000";

async fn begun(engine: &Engine, request: RunRequest) -> Begun {
    let mut process = begin(engine, request).await.unwrap();
    let stdout = std::mem::replace(&mut process.stdout, agentkernel_backend::ByteSource::Empty);
    let mut line = String::new();
    BufReader::new(stdout.into_reader().unwrap().unwrap()).read_line(&mut line).await.unwrap();
    let pids: Vec<i32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let handle = |pid| proc::handle(pid).expect("it is there");
    Begun { process, command: handle(pids[0]), runner: handle(pids[1]) }
}

fn kill(handle: &OwnedFd) {
    rustix::process::pidfd_send_signal(handle, rustix::process::Signal::KILL).unwrap();
}

fn has_ended(handle: &OwnedFd) -> bool {
    proc::wait_until(handle, Instant::now()).unwrap()
}

fn a_run_is_as_one_in_this_process() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    bench.runtime.block_on(async {
        let Running { process, choice } =
            engine.run(request("echo out; echo $PPID >&2; exit 7")).await.unwrap();
        assert_eq!(choice.backend.as_str(), "fake");
        let output = process.output(1 << 10).await.unwrap();
        assert_eq!((output.stdout.as_slice(), output.exit), (&b"out\n"[..], Exit::Code(7)));
        let parent = String::from_utf8(output.stderr).unwrap();
        assert_ne!(parent.trim(), std::process::id().to_string(), "it was not started by this process");
        until_nothing_is_left(&bench).await;
    });
    assert!(!bench.data().join("state.db").exists());
}

fn input_and_both_outputs_pass() {
    let bench = Bench::new();
    let engine = bench.with_runners(1);
    let command = ExecSpec { stdio: Stdio::Pipes, ..shell("cat; echo end >&2") };
    bench.runtime.block_on(async {
        let process = begin(&engine, request_of(spec(), command)).await.unwrap();
        let Process { stdin, stdout, stderr, exit, .. } = process;
        let (mut stdout, mut stderr) =
            (stdout.into_reader().unwrap().unwrap(), stderr.into_reader().unwrap().unwrap());
        // More than a pipe holds.
        let much = vec![b'x'; 1 << 20];
        let writing = async {
            let mut stdin = stdin.into_writer().unwrap().unwrap();
            stdin.write_all(&much).await.unwrap();
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (_, out_read, err_read) =
            tokio::join!(writing, stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
        out_read.and(err_read).unwrap();
        assert!(out == much && err == b"end\n", "{} bytes", out.len());
        assert_eq!(exit.await.unwrap(), Exit::Code(0));
    });
}

fn a_terminal_passes_with_its_size() {
    let bench = Bench::new();
    let engine = bench.with_runners(1);
    let size = |rows, columns| TerminalSize { rows, columns };
    let script = "stty size; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.01; done";
    let command = ExecSpec { stdio: Stdio::Terminal(size(30, 100)), ..shell(script) };
    bench.runtime.block_on(async {
        let process = begin(&engine, request_of(spec(), command)).await.unwrap();
        let Process { stdin: _stdin, stdout, control, exit, .. } = process;
        let mut lines = BufReader::new(stdout.into_reader().unwrap().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "30 100");
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
        control.resize(size(40, 120)).unwrap();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "40 120");
        assert_eq!(exit.await.unwrap(), Exit::Code(3));
    });
}

fn signals_reach_the_command() {
    let bench = Bench::new();
    let engine = bench.with_runners(1);
    bench.runtime.block_on(async {
        let begun = begun(&engine, request(WAITS)).await;
        begun.process.control.signal(Signal::Terminate).unwrap();
        let exit = begun.process.exit.await.unwrap();
        assert_eq!(exit, Exit::Signal { number: 15, out_of_memory: false });
        begun.process.control.signal(Signal::Terminate).expect("a no-op once it has ended");
    });
}

fn signals_reach_what_the_command_started() {
    let bench = Bench::new();
    let engine = bench.with_runners(1);
    // The shell waits for its child, which would sleep on.
    let script = "sleep 1000 & trap 'wait; exit 9' TERM; echo $$ $PPID; wait; exit 8";
    bench.runtime.block_on(async {
        let begun = begun(&engine, request(script)).await;
        begun.process.control.signal_group(Signal::Terminate).unwrap();
        let ended = tokio::time::timeout(DEADLINE, begun.process.exit).await;
        assert_eq!(ended.expect("the child ends").unwrap(), Exit::Code(9));
    });
}

fn errors_keep_their_kind_and_hint() {
    let bench = Bench::new();
    let engine = bench.with_runners(1);
    bench.runtime.block_on(async {
        let spec_of_image = SandboxSpec { image: "python:3.12".parse::<ImageRef>().unwrap(), ..spec() };
        let error = begin(&engine, request_of(spec_of_image, shell("true"))).await.unwrap_err();
        let told = (error.kind(), error.message(), error.hint());
        let expected = "image 'python:3.12' is not on this machine";
        assert_eq!(told, (Kind::NotFound, expected, Some("agentkernel images pull python:3.12")));
        bench.fail(Step::RunOnce, Action::Fail(FaultKind::Exhausted));
        assert_eq!(begin(&engine, request("true")).await.unwrap_err().kind(), Kind::Exhausted);
        let nameless = RunRequest { backend: Some("nobody".to_owned()), ..request("true") };
        assert_eq!(begin(&engine, nameless).await.unwrap_err().kind(), Kind::Invalid);
        until_nothing_is_left_but_spare(&bench).await;
    });
}

/// The one that waits for a run may stay.
async fn until_nothing_is_left_but_spare(bench: &Bench) {
    until("runners end", || bench.runners().len() <= 1).await;
    assert_eq!(fs::read_dir(bench.data().join("runs")).map_or(0, Iterator::count), 0);
}

/// The environment, the arguments and the descriptors of a runner that a server with keys has started.
fn nothing_of_the_caller_is_in_it() {
    let bench = Bench::new();
    let seen = bench.path("seen");
    let script = format!(
        "for what in environ cmdline; do tr '\\0' '\\n' </proc/$PPID/$what; done >{0}; ls -l /proc/$PPID/fd >>{0}",
        seen.display()
    );
    // The server has this open.
    fs::write(bench.path("held"), "").unwrap();
    let mut server =
        bench.play_with(&["serve-run", &script], &[("AGENTKERNEL_API_KEY", "sesame-of-the-server")]);
    assert!(server.succeeds());
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.contains("\nrunner\n"), "it is about the runner: {seen}");
    for stranger in ["sesame", "AGENTKERNEL_API_KEY", "held", "serve-run"] {
        assert!(!seen.contains(stranger), "{stranger}: {seen}");
    }
}

fn with_secret(value: &'static str) -> RunRequest {
    let mut spec = spec();
    spec.policy.secret_files.push("TOKEN".parse().unwrap());
    let values = Source::new(move || {
        let secret = Secret::new(value.into())?;
        Ok(Values { files: vec![("TOKEN".parse()?, secret)], ..Values::default() })
    });
    // The root of the fake is where its commands are.
    let script = "cat ./$AGENTKERNEL_SECRETS_PATH/TOKEN; echo; \
                  cat /proc/$PPID/environ /proc/$PPID/cmdline | grep -c sesame";
    RunRequest { values, ..request_of(spec, shell(script)) }
}

fn a_secret_passes_and_is_nowhere_else() {
    let bench = Bench::new();
    let engine = bench.with_runners(1);
    bench.runtime.block_on(async {
        let process = begin(&engine, with_secret("open-sesame")).await.unwrap();
        let output = process.output(1 << 10).await.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "open-sesame\n0\n");
    });
}

fn a_secret_that_is_refused_is_the_reason() {
    let bench = Bench::new();
    let engine = bench.with_runners(1);
    let refusing =
        Source::new(|| Err(Error::new(Kind::Denied, "the vault is locked").with_hint("unlock it")));
    let request = RunRequest { values: refusing, ..with_secret("unused") };
    bench.runtime.block_on(async {
        let error = begin(&engine, request).await.unwrap_err();
        assert_eq!((error.kind(), error.hint()), (Kind::Denied, Some("unlock it")));
        until_nothing_is_left_but_spare(&bench).await;
    });
}

fn a_dropped_run_ends_its_command() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    bench.runtime.block_on(async {
        let Begun { process, command, runner } = begun(&engine, request(WAITS)).await;
        // Whoever signals may be longer there than who waits.
        let Process { control, exit, .. } = process;
        drop(exit);
        until("the command ends", || has_ended(&command)).await;
        until("the runner ends", || has_ended(&runner)).await;
        control.signal(Signal::Terminate).expect("a no-op once it has ended");
        until_nothing_is_left(&bench).await;
    });
}

fn a_run_that_is_given_up_leaves_nothing() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    let asked = Arc::new(AtomicBool::new(false));
    let (release, released) = mpsc::channel::<()>();
    let (says, released) = (Arc::clone(&asked), Mutex::new(released));
    let slow = Source::new(move || {
        says.store(true, Ordering::SeqCst);
        let _over = released.lock().unwrap().recv();
        Err(Error::new(Kind::Denied, "nobody reads this"))
    });
    let request = RunRequest { values: slow, ..with_secret("unused") };
    bench.runtime.block_on(async {
        tokio::select! {
            ended = engine.run(request) => panic!("it waits for a secret: {ended:?}"),
            () = until("it asks", || asked.load(Ordering::SeqCst)) => {}
        }
        assert_eq!(bench.dirs(), 1, "the sandbox is there when the secret is asked for");
        until_nothing_is_left(&bench).await;
    });
    drop(release);
}

fn a_dropped_run_with_ports_leaves_nothing() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    let ports = vec![PublishedPort { host: 0, guest: 1 }];
    bench.runtime.block_on(async {
        let process = begin(&engine, request_of(SandboxSpec { ports, ..spec() }, shell("sleep 1000"))).await;
        assert_eq!(bench.dirs(), 1);
        drop(process.unwrap());
        until_nothing_is_left(&bench).await;
    });
}

fn a_killed_one_is_an_error_and_leaves_nothing() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    bench.runtime.block_on(async {
        let Begun { process, command, runner } = begun(&engine, request(WAITS)).await;
        kill(&runner);
        let error = process.exit.await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert!(error.message().contains("ended before the command ended (signal: 9"), "{error}");
        assert!(error.hint().is_some());
        assert!(has_ended(&command), "all of it is gone when the end is told");
        until_nothing_is_left(&bench).await;
    });
}

fn one_that_dies_at_the_start_is_an_error() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    bench.runtime.block_on(async {
        bench.fail(Step::RunOnce, Action::Die);
        let error = begin(&engine, request("true")).await.unwrap_err();
        assert!(error.message().contains("ended before the command began (signal: 9"), "{error}");
        until_nothing_is_left(&bench).await;
        fs::remove_file(bench.path(crate::PLAYED)).unwrap();
        let error = begin(&engine, request("true")).await.unwrap_err();
        assert!(error.message().contains("cannot start"), "{error}");
    });
}

fn one_that_is_told_to_end_ends_its_command() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    bench.runtime.block_on(async {
        let Begun { process, command, runner } = begun(&engine, request(WAITS)).await;
        rustix::process::pidfd_send_signal(&runner, rustix::process::Signal::TERM).unwrap();
        assert_eq!(process.exit.await.unwrap_err().kind(), Kind::Cancelled);
        assert!(has_ended(&command));
        until_nothing_is_left(&bench).await;
    });
}

fn a_killed_server_leaves_nothing() {
    let bench = Bench::new();
    let said = bench.path("said");
    let script = format!("echo $$ >{0}.new; mv {0}.new {0}; sleep 1000", said.display());
    let mut server = bench.play(&["serve-run", &script]);
    bench.runtime.block_on(async {
        until("the command begins", || said.exists()).await;
        let command = proc::handle(fs::read_to_string(&said).unwrap().trim().parse().unwrap()).unwrap();
        assert!(!bench.runners().is_empty());
        server.kill();
        until("the command ends", || has_ended(&command)).await;
        until_nothing_is_left(&bench).await;
    });
}

fn fifty_at_once() {
    let bench = Bench::new();
    let engine = bench.with_runners(2);
    bench.runtime.block_on(async {
        let runs = (0..50).map(|number| {
            let engine = &engine;
            async move {
                let process = begin(engine, request(&format!("echo {number}"))).await?;
                output(process).await
            }
        });
        let all = futures_util::future::join_all(runs).await;
        for (number, said) in all.into_iter().enumerate() {
            assert_eq!(said.unwrap(), format!("{number}\n"));
        }
        drop(engine);
        until_nothing_is_left(&bench).await;
    });
}

fn spare_ones_are_taken_bounded_and_end() {
    let bench = Bench::new();
    let engine = bench.with_runners(2);
    bench.runtime.block_on(async {
        engine.prepare_runners().unwrap();
        engine.prepare_runners().unwrap();
        until("two wait", || bench.runners().len() == 2).await;
        let spare = bench.runners();
        let mut parents = Vec::new();
        for _ in 0..5 {
            let said = output(begin(&engine, request("echo $PPID")).await.unwrap()).await.unwrap();
            parents.push(said.trim().parse::<i32>().unwrap());
            until("two wait again", || bench.runners().len() == 2).await;
        }
        assert!(spare.iter().all(|pid| parents.contains(pid)), "{spare:?} {parents:?}");
        parents.dedup();
        assert_eq!(parents.len(), 5, "each serves one run");
        drop(engine);
        until_nothing_is_left(&bench).await;
    });
}

fn a_killed_spare_one_is_not_taken() {
    let bench = Bench::new();
    let engine = bench.with_runners(2);
    bench.runtime.block_on(async {
        engine.prepare_runners().unwrap();
        until("two wait", || bench.runners().len() == 2).await;
        for runner in bench.runners().into_iter().filter_map(proc::handle) {
            kill(&runner);
            until("it ends", || has_ended(&runner)).await;
        }
        assert_eq!(output(begin(&engine, request("echo out")).await.unwrap()).await.unwrap(), "out\n");
    });
}

fn a_command_is_written_down_once() {
    let bench = Bench::new();
    let engine = bench.with_runners(1).with_audit(bench.audit());
    bench.runtime.block_on(async {
        let process = begin(&engine, request("exit 4")).await.unwrap();
        assert_eq!(process.output(1 << 10).await.unwrap().exit, Exit::Code(4));
    });
    let page = engine.events(&AuditQuery { sandbox: None, limit: 10 }).unwrap();
    let [entry] = page.entries.as_slice() else { panic!("{page:?}") };
    assert_eq!((entry.event(), entry.text("backend")), ("command_executed", Some("fake")));
    assert_eq!(entry.fields()["exit_code"], 4);
}

fn backends_are_tried_out_in_one() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    let findings = bench.data().join("probe.json");
    bench.runtime.block_on(async {
        // Whoever tries it out dies of it, and that is not this process.
        bench.fail(Step::Probe, Action::Die);
        let error = engine.backends().await.unwrap_err();
        assert_eq!((error.kind(), error.hint()), (Kind::Internal, Some("agentkernel doctor")), "{error}");
        assert!(error.message().contains("tried out backends"), "{error}");
        assert!(!findings.exists());

        bench.fail(Step::Probe, Action::Fail(FaultKind::Unavailable));
        let sick = engine.backends().await.unwrap();
        assert!(!sick[0].healthy && sick[0].hint.is_some(), "{sick:?}");
        let well = engine.backends().await.unwrap();
        assert!(well[0].healthy && well[0].selected, "{well:?}");
        assert!(fs::read_to_string(&findings).unwrap().contains("\"healthy\""), "the last word counts");
        until_nothing_is_left(&bench).await;
    });
}

fn a_failed_create_is_explained_by_one() {
    let bench = Bench::new();
    let engine = bench.with_runners(0);
    bench.fail(Step::Create, Action::Fail(FaultKind::Unavailable));
    bench.fail(Step::Probe, Action::Die);
    let error = bench.runtime.block_on(engine.create(crate::bench::request("one"))).unwrap_err();
    assert!(error.message().contains("tried out backends"), "{error}");
}

fn an_unseen_process_leaves_no_finding() {
    let bench = Bench::new();
    let findings = bench.data().join("probe.json");
    assert!(bench.play(&["unseen-probe"]).succeeds());
    assert!(!findings.exists(), "what it finds is true of itself alone");
    assert!(bench.play(&["serve-probe"]).succeeds());
    assert!(findings.exists(), "its runner is like any other process");
}
