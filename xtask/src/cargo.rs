//! Calls of cargo: the one that runs us, so that a pinned toolchain stays pinned.

use crate::Outcome;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
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
