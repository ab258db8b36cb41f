//! `cargo xtask check`: the architecture as a test. One line per finding: `file:line: why`.
//!
//! Rules read tokens, not text: comments and strings never trip a rule about code, and code behind `#[cfg(test)]` and in
//! test targets is left alone where a rule is about the product.

mod attributes;
mod budgets;
mod calls;
pub(crate) mod layers;
mod manifests;
mod source;
mod tokens;
mod unsafety;

use crate::{Outcome, workspace::Workspace};
use source::SourceFile;
use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: PathBuf,
    /// From 1.
    line: usize,
    why: String,
}

impl Finding {
    fn new(path: impl Into<PathBuf>, line: usize, why: impl Into<String>) -> Self {
        Self { path: path.into(), line: line.max(1), why: why.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.why)
    }
}

/// Prints the findings; exit code 1 when there are any.
pub(crate) fn run() -> Outcome<ExitCode> {
    let workspace = Workspace::load()?;
    let (findings, files) = inspect(&workspace)?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("check: {} packages, {files} files, {} findings", workspace.packages.len(), findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every finding, sorted, with paths relative to the workspace; and how many files were read.
fn inspect(workspace: &Workspace) -> Outcome<(Vec<Finding>, usize)> {
    let mut findings = layers::check(workspace)?;
    let mut count = 0;
    for package in &workspace.packages {
        findings.extend(manifests::check(package)?);
        let files = source::load(package)?;
        count += files.len();
        findings.extend(unsafety::check_roots(package, &files));
        for file in &files {
            findings.extend(check_file(package, file));
        }
    }
    for finding in &mut findings {
        finding.path = workspace.relative(&finding.path).to_owned();
    }
    findings.sort();
    findings.dedup();
    Ok((findings, count))
}

fn check_file(package: &crate::workspace::Package, file: &SourceFile) -> Vec<Finding> {
    let mut findings: Vec<Finding> = budgets::check(file).into_iter().collect();
    findings.extend(attributes::check(file));
    findings.extend(calls::check(package, file));
    findings.extend(unsafety::check(package, file));
    findings
}

/// The line of the first occurrence of `needle` in the file at `path`, for findings about manifests.
fn line_of(path: &Path, needle: &str) -> Outcome<usize> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().position(|line| line.contains(needle)).map_or(1, |index| index + 1))
}

#[cfg(test)]
mod tests;
