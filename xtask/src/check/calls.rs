//! What a crate may not call or mention, by its role: the second table of the plan, section 2.

use super::{
    Finding,
    source::SourceFile,
    tokens::{self, Kind, PathUse, Token},
};
use crate::workspace::{Package, Role};
use std::path::Path;

/// The model is pure: no runtime, no file, no environment, no process.
const IMPURE: [&str; 4] = ["tokio", "std::fs", "std::env", "std::process"];

/// The environment belongs to the command line: libraries get what they need from their caller.
const ENVIRONMENT: [&str; 9] = [
    "std::env::var",
    "std::env::var_os",
    "std::env::vars",
    "std::env::vars_os",
    "std::env::set_var",
    "std::env::remove_var",
    "std::env::home_dir",
    "std::env::temp_dir",
    "std::env::args",
];

const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Names that a sentence about anything else would not hold: found as words inside literals.
const BACKENDS: [&str; 13] = [
    "docker",
    "podman",
    "firecracker",
    "qemu",
    "hyperlight",
    "wasmtime",
    "kubernetes",
    "k8s",
    "nomad",
    "daytona",
    "runloop",
    "e2b",
    "agentcomputer",
];
/// Names that are also ordinary words: only as a whole literal.
const ORDINARY_BACKENDS: [&str; 4] = ["native", "apple", "modal", "fake"];

pub(super) fn check(package: &Package, file: &SourceFile) -> Vec<Finding> {
    let role = &package.role;
    // Fakes, suites and chores talk to the machine; they are not the product.
    if matches!(role, Role::Testkit | Role::Xtask | Role::Unplanned) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut report = |line, why: String| findings.push(Finding::new(&file.path, line, why));
    for path in tokens::paths(&file.product) {
        if let Some(why) = judge_path(role, &file.path, &path) {
            report(path.line, why);
        }
    }
    if !role.is_crate("cli") {
        for token in macro_names(&file.product) {
            if let Kind::Ident(name) = &token.kind
                && PRINTING.contains(&name.as_str())
            {
                report(token.line, format!("{role} may not print ({name}!): return it, or send an event"));
            }
        }
    }
    for token in &file.product {
        if let Kind::Text(text) = &token.kind
            && let Some(why) = judge_text(role, text)
        {
            report(token.line, why);
        }
    }
    findings
}

fn judge_path(role: &Role, file: &Path, path: &PathUse) -> Option<String> {
    let written = path.segments.join("::");
    if role.is_crate("model") && IMPURE.iter().any(|prefix| path.is_under(prefix)) {
        return Some(format!("model may not use {written}: it does no I/O"));
    }
    if !role.is_crate("cli") {
        let reads = ENVIRONMENT.iter().any(|prefix| path.is_under(prefix)) || path.is_under("std::env::*");
        if reads {
            return Some(format!(
                "{role} may not use {written}: only the command line reads the environment"
            ));
        }
    }
    let names_driver =
        path.segments[0].strip_prefix("agentkernel_").is_some_and(|name| DRIVERS.contains(&name));
    if names_driver && role.is_crate("cli") && !file.ends_with("src/backends.rs") {
        return Some(format!("cli may name a driver ({written}) in src/backends.rs only"));
    }
    if let Role::Driver(own) = role
        && names_driver
        && path.segments[0] != format!("agentkernel_{own}")
    {
        return Some(format!("{role} may not use another driver ({written})"));
    }
    None
}

/// The directories under `drivers/`, planned ones too.
const DRIVERS: [&str; 7] = ["native", "container", "microvm", "wasm", "kubernetes", "nomad", "remote"];

fn judge_text(role: &Role, text: &str) -> Option<String> {
    if role.is_driver() && (text == "~" || text.starts_with("~/") || text.contains(" ~/")) {
        return Some(format!("{role} may not know ~: the engine gives it places in Host"));
    }
    if role.is_crate("engine") || role.is_crate("server") {
        let lower = text.to_ascii_lowercase();
        let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        if ORDINARY_BACKENDS.contains(&lower.as_str()) || words.any(|word| BACKENDS.contains(&word)) {
            return Some(format!("{role} names a backend ({text:?}): ask the registry or the capabilities"));
        }
    }
    None
}

fn macro_names(tokens: &[Token]) -> impl Iterator<Item = &Token> {
    // `a != b` is no call.
    let called = |at: usize| tokens[at].is_punct('!') && !tokens.get(at + 1).is_some_and(|t| t.is_punct('='));
    (1..tokens.len()).filter(move |at| called(*at)).map(|at| &tokens[at - 1])
}
