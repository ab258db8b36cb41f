//! The official Python SDK as a client, over both roads.

use agentkernel_testkit::{TestEnv, env::product_binary};
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

const KEY: &str = "sk-test-mcp-0123456789";
const DEADLINE: Duration = Duration::from_secs(240);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What the client said; that it was content is asserted.
#[track_caller]
fn client(env: &TestEnv, words: &[&str]) -> String {
    let python = root().join("target/python/bin/python3");
    assert!(python.exists(), "there is no {}: run scripts/packages python", python.display());
    let script = root().join("testkit/clients/mcp_client.py");
    let words = [&[script.to_str().unwrap()], words].concat();
    env.program(&python, &words).env("KEY", KEY).deadline(DEADLINE).run().ok().out()
}

#[test]
fn the_python_sdk_works_over_stdio() {
    let env = TestEnv::new();
    let binary = product_binary();
    let version = client(&env, &["stdio", binary.to_str().unwrap(), "mcp-server"]);
    assert_eq!(version, "2026-07-28\n");
    env.assert_nothing_left();
}

#[test]
fn the_python_sdk_works_over_http_with_a_key() {
    let env = TestEnv::new();
    let keys = env.file("keys", format!("{KEY}\n"));
    fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let words = ["serve", "--port", "0", "--json", "--api-key-file", keys.to_str().unwrap()];
    let server = env.agentkernel(&words).stdout(writer).deadline(2 * DEADLINE).start();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = format!("{}/mcp", told["url"].as_str().unwrap());
    // Without the key nobody is told anything.
    let stranger = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-d", "{}", &url];
    assert_eq!(env.program(Path::new("/usr/bin/curl"), &stranger).run().ok().out(), "401");
    client(&env, &["http", &url]);
    server.signal(Signal::TERM);
    let finished = server.finish().ok();
    assert!(finished.elapsed < 2 * DEADLINE, "{finished}");
    env.assert_nothing_left();
}
