//! Calls of cargo: the one that runs us, so that a pinned toolchain stays pinned.

use crate::Outcome;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Without what `cargo run` says about our own package: build scripts (ring's is one) look at such variables, and would run
/// again, with all that is built on them, whenever cargo was called by hand in between.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let about_us = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|kind| name.starts_with(kind));
    for (name, _) in std::env::vars_os().filter(|(name, _)| about_us(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

/// The program `name` of the whole workspace, unoptimised; `words` are more for cargo.
///
/// A test of any crate stands beside it: only with one does cargo switch on what tests want of dependencies (tokio's
/// `test-util`), and then all that the program is made of was compiled with the tests already.
pub(crate) fn beside_tests(name: &str, words: &[&str]) -> Outcome<PathBuf> {
    let mut building = vec!["build", "--workspace", "--test", "trust", "--bin", name];
    building.extend(words);
    build(&building, name)
}

/// Runs `cargo WORDS` and returns the executable of the target `name`.
pub(crate) fn build(words: &[&str], name: &str) -> Outcome<PathBuf> {
    let output = cargo()
        .args(words)
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo {} failed", words.join(" ")).into());
    }
    executable(&String::from_utf8_lossy(&output.stdout), name)
        .ok_or_else(|| format!("cargo {} built no program {name}", words.join(" ")).into())
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let wanted = name.replace('-', "_");
    messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let target = message["target"]["name"].as_str().unwrap_or_default().replace('-', "_");
        let ours = message["reason"] == "compiler-artifact" && target == wanted;
        let path = message["executable"].as_str().filter(|_| ours)?;
        Some(Path::new(path).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_whose_tests_these_are() {
        let command = cargo();
        let removed = |name| command.get_envs().any(|(key, value)| key == name && value.is_none());
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_MANIFEST_DIR"] {
            assert!(std::env::var_os(name).is_some(), "cargo has not set {name}");
            assert!(removed(name), "{name} stays");
        }
        assert!(!removed("CARGO"));
    }

    #[test]
    fn the_executable_is_that_of_the_target() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"agentkernel"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"name":"agentkernel"},"executable":"/t/agentkernel"}
"#;
        assert_eq!(executable(messages, "agentkernel"), Some("/t/agentkernel".into()));
        assert_eq!(executable(messages, "missing"), None);
    }
}
