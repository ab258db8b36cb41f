//! Every crate takes its lints and its package fields from the workspace.

use super::{Finding, line_of};
use crate::{Outcome, workspace::Package};
use toml::Table;

const INHERITED: [&str; 6] = ["version", "edition", "rust-version", "license", "repository", "publish"];

pub(super) fn check(package: &Package) -> Outcome<Vec<Finding>> {
    let path = package.manifest();
    let text = std::fs::read_to_string(&path)?;
    let manifest: Table = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
    let heading = line_of(&path, "[package]")?;
    Ok(problems(&manifest).into_iter().map(|why| Finding::new(&path, heading, why)).collect())
}

pub(super) fn problems(manifest: &Table) -> Vec<String> {
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|v| v.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    let mut problems = Vec::new();
    if !inherits(manifest.get("lints")) {
        problems.push("does not inherit the lints: write [lints] workspace = true".to_owned());
    }
    let package = manifest.get("package");
    for field in INHERITED {
        if !inherits(package.and_then(|p| p.get(field))) {
            problems.push(format!("does not inherit a package field: write {field}.workspace = true"));
        }
    }
    if package.and_then(|p| p.get("description")).and_then(toml::Value::as_str).is_none_or(str::is_empty) {
        problems.push("has no description: say in one line what the crate owns".to_owned());
    }
    let defaults = manifest.get("features").and_then(|f| f.get("default")).and_then(toml::Value::as_array);
    let is_mutation =
        |feature: &toml::Value| feature.as_str().is_some_and(|name| name.ends_with("mutations"));
    if defaults.is_some_and(|features| features.iter().any(is_mutation)) {
        problems.push(
            "builds mutations by default: they take defences away and are for the escape suite".to_owned(),
        );
    }
    problems
}
