//! Who may import whom: the table of the plan, section 2, checked against what `cargo metadata` says.

use super::{Finding, line_of};
use crate::{
    Outcome,
    workspace::{Dependency, DependencyKind, Package, Role, Workspace},
};

/// What a role may import among our own crates, besides itself. `None`: the role is not planned.
fn allowed(role: &Role) -> Option<&'static [&'static str]> {
    Some(match role {
        Role::Crate(name) => match name.as_str() {
            "model" | "trace" => &[],
            "archive" | "backend" | "config" | "store" | "trust" => &["model"],
            "guest" => &["model", "archive", "backend"],
            "image" => &["model", "backend", "archive"],
            "egress" => &["model", "backend", "trust"],
            "engine" => {
                &["model", "archive", "backend", "config", "store", "trust", "image", "egress", "trace"]
            }
            "server" => &["engine", "config", "model", "trace"],
            "cli" => &[
                "model", "archive", "backend", "config", "store", "trust", "image", "egress", "engine",
                "server", "guest", "trace", ANY_DRIVER,
            ],
            _ => return None,
        },
        Role::Driver(name) => match name.as_str() {
            "container" | "microvm" | "native" => &["model", "archive", "backend", "guest"],
            _ => &["model", "archive", "backend"],
        },
        Role::Testkit => &[
            "model", "archive", "backend", "config", "store", "trust", "image", "egress", "engine", "server",
            "guest", ANY_DRIVER,
        ],
        Role::Sdk | Role::Xtask => &[],
        Role::Unplanned => return None,
    })
}

const ANY_DRIVER: &str = "drivers/*";

/// Libraries that would drag a concern into the wrong layer, and the crates that may have them.
const GATED: [(&str, &[&str]); 3] = [("clap", &["cli"]), ("axum", &["server"]), ("rusqlite", &["store"])];
/// What the model, which does no I/O, may not have.
const NOT_IN_MODEL: [&str; 2] = ["tokio", "rustix"];

pub(super) fn check(workspace: &Workspace) -> Outcome<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = package.manifest();
        let Some(allowed) = allowed(&package.role) else {
            let why =
                format!("{} is not in the plan of the house: add it to the layer table first", package.name);
            findings.push(Finding::new(manifest, 1, why));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some(why) = judge(workspace, package, allowed, dependency) {
                let line = line_of(&manifest, &dependency.name)?;
                findings.push(Finding::new(&manifest, line, why));
            }
        }
    }
    Ok(findings)
}

fn judge(
    workspace: &Workspace,
    package: &Package,
    allowed: &[&str],
    dependency: &Dependency,
) -> Option<String> {
    match &dependency.path {
        Some(dir) => {
            let role = Role::of(&workspace.root, dir);
            judge_own(&package.role, allowed, &role, dependency.kind)
        }
        None => judge_library(&package.role, dependency),
    }
}

fn judge_own(from: &Role, allowed: &[&str], to: &Role, kind: DependencyKind) -> Option<String> {
    match (to, kind) {
        (Role::Xtask, _) => return Some("nothing may import xtask".to_owned()),
        // Tests may stand on the conformance suite and its fakes, and on what those already bring along.
        (Role::Testkit, DependencyKind::Dev) => return None,
        (Role::Testkit, _) => return Some("testkit is for tests: make it a dev-dependency".to_owned()),
        _ => {}
    }
    let target = to.to_string();
    if allowed.iter().any(|entry| *entry == target || (*entry == ANY_DRIVER && to.is_driver())) {
        return None;
    }
    let list = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    Some(format!("{from} may not import {target}; it may import {list}"))
}

fn judge_library(from: &Role, dependency: &Dependency) -> Option<String> {
    // Tests are not the product: they may use any library.
    if dependency.kind == DependencyKind::Dev {
        return None;
    }
    let library = dependency.name.as_str();
    if from.is_crate("model") && NOT_IN_MODEL.contains(&library) {
        return Some(format!("model may not depend on {library}: it does no I/O"));
    }
    let (_, homes) = GATED.iter().find(|(gated, _)| *gated == library)?;
    let at_home = homes.iter().any(|home| from.is_crate(home));
    (!at_home).then(|| format!("{library} belongs to {} only, not to {from}", homes.join(", ")))
}
