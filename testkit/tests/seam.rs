//! "Files touched to add a backend = its crate + one line", as a test.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

use agentkernel_backend::Registry;
use agentkernel_engine::{
    Engine,
    request::{CreateRequest, Filter, Pool, RunRequest},
    values::Source,
};
use agentkernel_image::HostFacts;
use agentkernel_model::{
    Kind,
    spec::{Lifetime, SandboxSpec},
};
use agentkernel_testkit::{
    conformance::subject::{host_of, plain_spec, sh},
    env::product_binary,
    fake::{self, Action, FakeControl, Fault, FaultKind, Step},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every `.rs` file below `directory`.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// The drivers of this workspace, and the fake one.
fn backends() -> Vec<String> {
    let drivers = fs::read_dir(workspace().join("drivers")).unwrap();
    let mut names: Vec<String> = drivers.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.push(fake::DRIVER.id.to_owned());
    names
}

/// The places of `text` that name `backend`: as a string of its own, or by its crate. Comments may.
fn mentions(text: &str, backend: &str) -> Vec<usize> {
    let needles =
        [format!("\"{backend}\""), format!("agentkernel_{backend}"), format!("agentkernel-{backend}")];
    let code = |line: &str| !line.trim_start().starts_with("//");
    let hit = |line: &str| needles.iter().any(|needle| line.contains(needle.as_str()));
    text.lines().enumerate().filter(|(_, line)| code(line) && hit(line)).map(|(n, _)| n + 1).collect()
}

fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "tests.rs" || name.ends_with("_tests.rs") || path.components().any(|c| c.as_os_str() == "tests")
}

/// Words that are something else's name too: `agent.compatibility_mode = "native"` suits no agent, on any backend.
const ANOTHER_MEANING: [(&str, &str); 1] = [("crates/config/src/mode.rs", "native")];

#[test]
fn no_crate_but_its_own_names_a_backend() {
    let root = workspace();
    let registrations = root.join("crates/cli/src/backends.rs");
    let mut foreign = Vec::new();
    for backend in backends() {
        let home = root.join("drivers").join(&backend);
        for file in sources(&root.join("crates")).into_iter().chain(sources(&root.join("drivers"))) {
            let is_another =
                ANOTHER_MEANING.iter().any(|(at, word)| file == root.join(at) && *word == backend);
            if file.starts_with(&home) || file == registrations || is_test(&file) || is_another {
                continue;
            }
            let lines = mentions(&fs::read_to_string(&file).unwrap(), &backend);
            foreign
                .extend(lines.into_iter().map(|line| format!("{}:{line} names '{backend}'", file.display())));
        }
    }
    assert!(foreign.is_empty(), "a backend's name outside its crate:\n{}", foreign.join("\n"));
}

#[test]
fn the_check_itself_sees_a_name() {
    let text = "fn f() {\n    // \"native\"\n    if id == \"native\" {}\n    use agentkernel_native::X;\n    let natives = \"natively\";\n}\n";
    assert_eq!(mentions(text, "native"), [3, 4]);
}

#[test]
fn each_driver_is_registered_by_one_line() {
    let text = fs::read_to_string(workspace().join("crates/cli/src/backends.rs")).unwrap();
    for backend in backends().into_iter().filter(|b| b != fake::DRIVER.id) {
        let lines = mentions(&text, &backend);
        assert_eq!(lines.len(), 1, "'{backend}' stands in lines {lines:?} of crates/cli/src/backends.rs");
    }
}

/// A build of the product whose only backend is the fake one: this is the one line.
fn engine(data: &Path) -> Engine {
    let registry = Registry::new(&[fake::DRIVER]);
    let facts = HostFacts { path: vec!["/usr/bin".into(), "/bin".into()], home: None };
    Engine::new(host_of(data, product_binary()), registry, facts)
}

fn run_of(script: &str) -> RunRequest {
    let spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ..plain_spec() };
    RunRequest {
        spec,
        command: sh(script),
        backend: Some("fake".to_owned()),
        values: Source::default(),
        pool: Pool::Use,
    }
}

#[tokio::test]
async fn the_engine_runs_on_a_backend_it_never_heard_of() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path());
    let running = engine.run(run_of("echo out; echo err >&2; exit 5")).await.unwrap();
    assert_eq!(running.choice.backend.as_str(), "fake");
    let output = running.process.output(1 << 20).await.unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice(), output.exit.code()),
        (&b"out\n"[..], &b"err\n"[..], 5)
    );
    assert_eq!(FakeControl::new(place.path()).count(Step::RunOnce), 1);
}

#[tokio::test]
async fn a_backend_without_rank_is_not_chosen() {
    let place = tempfile::tempdir().unwrap();
    let error = engine(place.path()).run(RunRequest { backend: None, ..run_of("true") }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.hint().is_some(), "{error}");
}

#[tokio::test]
async fn what_the_backend_refuses_is_refused_before_anything_starts() {
    let place = tempfile::tempdir().unwrap();
    let mut request = run_of("true");
    request.spec.policy = agentkernel_model::policy::EffectivePolicy::of_profile(
        agentkernel_model::policy::Profile::Restrictive,
    );
    let error = engine(place.path()).run(request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert_eq!(FakeControl::new(place.path()).count(Step::RunOnce), 0);
}

#[tokio::test]
async fn records_and_the_backends_sandboxes_stay_together() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path());
    let create = |name: &str| CreateRequest {
        name: name.parse().unwrap(),
        spec: plain_spec(),
        backend: Some("fake".to_owned()),
        labels: Vec::new(),
        ttl: None,
        description: None,
    };
    let control = FakeControl::new(place.path());
    control
        .inject(Fault { step: Step::Create, action: Action::Fail(FaultKind::Exhausted), times: Some(1) })
        .unwrap();
    assert_eq!(engine.create(create("one")).await.unwrap_err().kind(), Kind::Exhausted);
    assert!(engine.list(&Filter::default()).await.unwrap().is_empty(), "a failed create left a record");

    let one = engine.create(create("one")).await.unwrap();
    assert_eq!(one.backend.as_str(), "fake");
    assert_eq!(engine.create(create("one")).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(engine.info(&"one".parse().unwrap()).await.unwrap().uuid, one.uuid);
    engine.remove(&"one".parse().unwrap()).await.unwrap();
    assert!(engine.list(&Filter::default()).await.unwrap().is_empty());
    assert_eq!(
        fs::read_dir(place.path().join("sandboxes")).map_or(0, Iterator::count),
        0,
        "a directory is left"
    );
}
