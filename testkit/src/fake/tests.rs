//! What the conformance suite cannot see: faults, counts, and what a killed keeper leaves.

use super::*;
use crate::conformance::subject::{host_of, inputs, plain_spec, sh};
use agentkernel_backend::{Backend, CreateInputs};
use agentkernel_model::{Kind, id::SandboxId};
use std::time::Duration;

fn fixture() -> (tempfile::TempDir, FakeBackend) {
    let directory = tempfile::tempdir().unwrap();
    let backend = FakeBackend::new(host_of(directory.path(), "/nonexistent".into()));
    (directory, backend)
}

fn fresh(backend: &FakeBackend, id: SandboxId) -> CreateInputs {
    inputs(backend, &plain_spec(), id, &crate::conformance::subject::bare_rootfs()).unwrap()
}

#[tokio::test]
async fn a_fault_strikes_as_often_as_it_was_told() {
    let (_directory, backend) = fixture();
    let fault = Fault { step: Step::Create, action: Action::Fail(FaultKind::Exhausted), times: Some(1) };
    backend.control().inject(fault).unwrap();
    let id = SandboxId::new();
    assert_eq!(backend.create(fresh(&backend, id)).await.unwrap_err().kind(), Kind::Exhausted);
    assert!(backend.list_owned().await.unwrap().is_empty(), "a failed create left something");
    backend.create(fresh(&backend, id)).await.unwrap();
    assert_eq!(backend.control().count(Step::Create), 2);
    assert_eq!(backend.control().count(Step::Start), 0);
}

#[tokio::test]
async fn a_fault_after_the_work_undoes_the_work() {
    let (_directory, backend) = fixture();
    let id = SandboxId::new();
    let fail = |step| Fault { step, action: Action::Fail(FaultKind::Internal), times: Some(1) };
    backend.control().inject(fail(Step::CreateMade)).unwrap();
    backend.create(fresh(&backend, id)).await.unwrap_err();
    assert!(backend.list_owned().await.unwrap().is_empty());

    let state = backend.create(fresh(&backend, id)).await.unwrap();
    backend.control().inject(fail(Step::StartUp)).unwrap();
    backend.start(fresh(&backend, id), &state, None).await.unwrap_err();
    assert!(backend.attach(id, &state).await.unwrap().is_none(), "a failed start left the sandbox running");
    backend.start(fresh(&backend, id), &state, None).await.unwrap();
}

#[tokio::test]
async fn a_step_that_hangs_can_be_cancelled() {
    let (_directory, backend) = fixture();
    let fault = Fault { step: Step::Create, action: Action::Hang, times: None };
    backend.control().inject(fault).unwrap();
    let id = SandboxId::new();
    let create = backend.create(fresh(&backend, id));
    tokio::time::timeout(Duration::from_millis(20), create).await.unwrap_err();
    backend.control().heal().unwrap();
    backend.create(fresh(&backend, id)).await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_keeper_is_seen_and_ends_the_commands() {
    let (directory, backend) = fixture();
    let id = SandboxId::new();
    let state = backend.create(fresh(&backend, id)).await.unwrap();
    // The keeper is a runtime of its own here: shutting it down drops lock and socket as the end of a process does.
    let keeper = tokio::task::spawn_blocking({
        let (host, state) = (host_of(directory.path(), "/nonexistent".into()), state.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let backend = FakeBackend::new(host);
            runtime.block_on(backend.start(fresh(&backend, id), &state, None)).unwrap();
            (runtime, backend)
        }
    });
    let (runtime, _keeper) = keeper.await.unwrap();
    // The keeper's runtime must turn for it to accept: its own thread does that from here on.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || runtime.block_on(async { ended.await.ok() }));

    let sandbox = backend.attach(id, &state).await.unwrap().expect("it runs");
    let process = sandbox.exec(&sh("sleep 600")).await.unwrap();
    let conflict = backend.start(fresh(&backend, id), &state, None).await.unwrap_err();
    assert_eq!(conflict.kind(), Kind::Conflict);

    end.send(()).unwrap();
    thread.join().unwrap();
    sandbox.gone().await;
    assert_eq!(process.exit.await.unwrap().code(), 137);
    assert_eq!(sandbox.exec(&sh("true")).await.unwrap_err().kind(), Kind::Conflict);
    assert!(backend.attach(id, &state).await.unwrap().is_none());
    backend.start(fresh(&backend, id), &state, None).await.unwrap();
    backend.destroy(id, Some(&state)).await.unwrap();
}
