//! Clients that nobody here wrote against `agentkernel serve`: the published libraries of the reference implementation,
//! unchanged, and schemathesis with the server's own document. `scripts/packages` has fetched them.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

#[path = "server/http.rs"]
#[expect(dead_code, reason = "the server's own tests use the rest")]
mod http;

#[path = "server/image.rs"]
mod image;

#[path = "clients/traces.rs"]
mod traces;

#[path = "server/world.rs"]
#[expect(dead_code, reason = "the server's own tests use the rest")]
mod world;

use agentkernel_testkit::{TestEnv, env::Finished, registry::Registry};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use world::{KEY, Server};

/// A library or a round of schemathesis that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(500);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A server that has the image which commands without one are detected to want.
fn serve() -> (TestEnv, Registry, Server) {
    let env = TestEnv::new();
    let registry = Registry::start().unwrap();
    registry.push(&image::python(&env, "alpine:3.20")).unwrap();
    env.registries(&registry.settings());
    let server = Server::start(&env, &[]);
    (env, registry, server)
}

/// Runs a driver of a library, with a server that is told by the environment alone.
fn drive(program: &Path, arguments: &[&str]) {
    let (env, _registry, server) = serve();
    let driver = env.program(program, arguments).deadline(DEADLINE);
    let driver = driver.env("AGENTKERNEL_BASE_URL", &server.url).env("AGENTKERNEL_API_KEY", KEY);
    let driver = if env.is_root() { driver.env("LIMITS", "1") } else { driver };
    driver.run().ok().prints("all of it works\n");
    server.end(&env);
}

/// The text of a driver, where the test's user may read it.
fn driver(env: &TestEnv, name: &str) -> PathBuf {
    env.file(name, fs::read(workspace().join("testkit/clients").join(name)).unwrap())
}

#[test]
fn the_library_of_pypi() {
    let place = TestEnv::new();
    let script = driver(&place, "drive.py");
    drive(&workspace().join("target/python/bin/python"), &["-I", script.to_str().unwrap()]);
}

#[test]
fn the_library_of_npm() {
    let place = TestEnv::new();
    let script = driver(&place, "drive.mjs");
    let library = workspace().join("target/node/node_modules/agentkernel/dist/index.js");
    drive(&node(), &[script.to_str().unwrap(), library.to_str().unwrap()]);
}

/// Debian's, or another one that the PATH leads to.
fn node() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join("node")).find(|node| node.exists());
    found.expect("node is on the PATH")
}

#[test]
fn the_library_of_crates_io() {
    drive(&workspace().join("target/client/debug/agentkernel-testkit-client"), &[]);
}

fn schemathesis(env: &TestEnv, server: &Server, arguments: &[&str], hooks: Option<&Path>) -> Finished {
    let config = driver(env, "schemathesis.toml");
    let (document, key) = (format!("{}/openapi.json", server.url), format!("Authorization: Bearer {KEY}"));
    let fixed = ["--config-file", config.to_str().unwrap(), "--no-color", "run", &document, "-H", &key];
    let program = workspace().join("target/python/bin/schemathesis");
    let mut judging = env.program(&program, &[&fixed, arguments].concat()).deadline(DEADLINE);
    if let Some(hooks) = hooks {
        judging = judging.env("SCHEMATHESIS_HOOKS", hooks);
    }
    judging.run()
}

/// Every operation in these phases, with every check. Nothing that is sent comes further than a sandbox. One request at a
/// time: compile() of CPython 3.11 fails at random where several threads use it. The same seed each time: what is red stays
/// red.
fn examine(env: &TestEnv, server: &Server, phases: &[&str], excluded: &[&str], hooks: Option<&Path>) {
    // It would keep what it found for the next time, in the directory that it is in.
    let fixed = ["--checks", "all", "--seed", "1", "--generation-database", "none"];
    let excluded: Vec<&str> = excluded.iter().flat_map(|path| ["--exclude-path", path]).collect();
    let said = schemathesis(env, server, &[&fixed, phases, &excluded].concat(), hooks);
    assert_eq!(said.code, Some(0), "{}", said.out());
    assert!(said.out().contains(" passed"), "{}", said.out());
}

fn leave(server: Server, env: &TestEnv) {
    for info in server.get("/sandboxes").data(200).as_array().unwrap() {
        server.delete(&format!("/sandboxes/{}", info["name"].as_str().unwrap())).data(200);
    }
    server.end(env);
}

fn judge(phases: &[&str], excluded: &[&str]) {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    examine(&env, &server, phases, excluded, None);
    leave(server, &env);
}

/// The same where every call is about one sandbox, see `testkit/clients/one_sandbox.py`. Each operation of `done` has to have
/// succeeded: rounds in which nothing is there judge nothing.
fn judge_one_sandbox(phases: &[&str], excluded: &[&str], done: &[(&str, &str)]) {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    let hooks = driver(&env, "one_sandbox.py");
    server.create("of-schemathesis");
    examine(&env, &server, phases, excluded, Some(&hooks));
    let counted = String::from_utf8(server.get("/metrics").body).unwrap();
    for (method, route) in done {
        let success = format!("{{method=\"{method}\",route=\"/sandboxes{route}\",status=\"20");
        assert!(counted.contains(&success), "{method} {route} never succeeded:\n{counted}");
    }
    leave(server, &env);
}

/// A stream without an end.
const EVENTS: &str = "/events";
/// One that ends with its sandbox: each call of another one goes to a sandbox that is not there.
const CONNECTIONS: &str = "/sandboxes/{name}/connections/stream";

/// With examples, and with what its document says is wrong.
#[test]
fn no_answer_is_another_than_the_document_says() {
    judge(&["--phases", "examples,coverage"], &[EVENTS]);
}

/// With what is made up within the document, and beyond it.
#[test]
fn no_answer_to_what_is_made_up_is_another() {
    judge(&["--phases", "fuzzing", "--max-examples", "10"], &[EVENTS]);
}

/// With what is made up about a sandbox that runs, and goes on.
#[test]
fn no_answer_about_a_sandbox_that_is_there_is_another() {
    let phases =
        ["--phases", "fuzzing", "--max-examples", "10", "--include-path-regex", "^/sandboxes/.name."];
    let done = [
        ("POST", "/{name}/exec"),
        ("POST", "/{name}/exec/detach"),
        ("GET", "/{name}/exec/detached"),
        ("GET", "/{name}/stats"),
        ("POST", "/{name}/files"),
        ("PUT", "/{name}/raw/{*path}"),
    ];
    judge_one_sandbox(&phases, &["/sandboxes/{name}", "/sandboxes/{name}/stop", CONNECTIONS], &done);
}

/// One call after another, with what the ones before answered: it is made, stopped, started and removed.
#[test]
fn no_answer_in_the_course_of_a_sandbox_is_another() {
    let phases = ["--phases", "stateful", "--mode", "positive", "--include-path-regex", "^/sandboxes"];
    // What it does next is drawn by lot, also with a seed: of the others one or the other may never have its turn.
    let done = [("POST", ""), ("POST", "/{name}/start")];
    judge_one_sandbox(&[&phases[..], &["--max-examples", "50"]].concat(), &[CONNECTIONS], &done);
}
