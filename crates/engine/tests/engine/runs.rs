//! Ephemeral runs.

use crate::{
    Test,
    bench::{Bench, output, shell, spec},
};
use agentkernel_backend::Process;
use agentkernel_engine::{
    request::{Pool, RunRequest, Stopped},
    values::Source,
};
use agentkernel_model::{
    Kind,
    image::ImageRef,
    port::PublishedPort,
    spec::{Lifetime, SandboxSpec},
};
use agentkernel_testkit::fake::{Action, FaultKind, Step};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

pub(crate) const TESTS: &[Test] = &[
    ("a_run_leaves_no_database_and_no_directory", a_run_leaves_no_database_and_no_directory),
    ("an_image_that_is_not_here_is_not_found", an_image_that_is_not_here_is_not_found),
    ("a_run_with_ports_is_whole_and_leaves_nothing", a_run_with_ports_is_whole_and_leaves_nothing),
    ("a_run_with_ports_is_not_gcs", a_run_with_ports_is_not_gcs),
    ("a_failed_run_with_ports_leaves_nothing", a_failed_run_with_ports_leaves_nothing),
    ("a_dropped_run_with_ports_leaves_nothing", a_dropped_run_with_ports_leaves_nothing),
];

fn request(script: &str, ports: &[PublishedPort]) -> RunRequest {
    let spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ports: ports.to_vec(), ..spec() };
    RunRequest { spec, command: shell(script), backend: None, values: Source::default(), pool: Pool::Use }
}

fn run(bench: &Bench, script: &str, ports: &[PublishedPort]) -> agentkernel_model::Result<Process> {
    bench.runtime.block_on(bench.engine.run(request(script, ports))).map(|running| running.process)
}

fn a_run_leaves_no_database_and_no_directory() {
    let bench = Bench::new();
    let running = bench.runtime.block_on(bench.engine.run(request("echo out", &[]))).unwrap();
    assert_eq!(running.choice.backend.as_str(), "fake");
    assert_eq!(bench.runtime.block_on(output(running.process)).unwrap(), "out\n");
    assert!(!bench.data().join("state.db").exists());
    assert!(!bench.data().join("sandboxes").exists());
    assert!(!bench.data().join("probe.json").exists(), "the short road probes nothing");
    assert_eq!(bench.control.count(Step::Probe), 0);
}

fn an_image_that_is_not_here_is_not_found() {
    let bench = Bench::new();
    let mut wanted = request("true", &[]);
    wanted.spec.image = "python:3.12".parse::<ImageRef>().unwrap();
    let error = bench.runtime.block_on(bench.engine.run(wanted)).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::NotFound, "image 'python:3.12' is not on this machine")
    );
    assert_eq!(error.hint(), Some("agentkernel images pull python:3.12"));
}

/// A free port of this machine, which is also the fake's inside.
fn inside() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn a_run_with_ports_is_whole_and_leaves_nothing() {
    let bench = Bench::new();
    let (listener, guest) = inside();
    // A port to publish that is free: asked for and given back.
    let host = inside().1;
    let process = run(&bench, "echo up; read x < fifo; echo end", &[PublishedPort { host, guest }]).unwrap();
    assert_eq!(bench.dirs(), 1);
    bench.runtime.block_on(async {
        let connected =
            tokio::task::spawn_blocking(move || TcpStream::connect((Ipv4Addr::LOCALHOST, host)).unwrap());
        let accepted = tokio::task::spawn_blocking(move || listener.accept().unwrap());
        connected.await.unwrap();
        accepted.await.unwrap();
        // No fifo: the shell says so and goes on.
        let text = process.output(1 << 10).await.unwrap();
        assert_eq!(String::from_utf8(text.stdout).unwrap(), "up\nend\n");
    });
    assert_eq!(bench.dirs(), 0);
    assert!(!bench.data().join("state.db").exists());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, host)).is_err());
}

fn a_run_with_ports_is_not_gcs() {
    let bench = Bench::new();
    let process = run(&bench, "cat; echo end", &[PublishedPort { host: 0, guest: 1 }]).unwrap();
    let other = bench.another();
    let all = agentkernel_engine::request::Filter::default();
    let gc = other.gc(&all, Stopped::Remove, agentkernel_engine::request::Effect::Apply);
    let report = bench.runtime.block_on(gc).unwrap();
    assert_eq!((report.count, report.failures), (0, Vec::new()));
    assert_eq!(bench.dirs(), 1);
    assert_eq!(bench.runtime.block_on(output(process)).unwrap(), "end\n");
    assert_eq!(bench.dirs(), 0);
}

fn a_failed_run_with_ports_leaves_nothing() {
    let bench = Bench::new();
    for step in [Step::Create, Step::Start, Step::StartUp, Step::Exec] {
        bench.fail(step, Action::Fail(FaultKind::Exhausted));
        let error = run(&bench, "true", &[PublishedPort { host: 0, guest: 1 }]).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted, "{step:?}");
        assert_eq!(bench.dirs(), 0, "{step:?}");
    }
}

fn a_dropped_run_with_ports_leaves_nothing() {
    let bench = Bench::new();
    let process = run(&bench, "sleep 1000", &[PublishedPort { host: 0, guest: 1 }]).unwrap();
    bench.runtime.block_on(async {
        drop(process);
        // The clean-up is a task; it is done when the fake has been asked to destroy and the directory is gone.
        let gone = async {
            while bench.dirs() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::bench::DEADLINE, gone).await.expect("the sandbox is cleared away");
    });
}
