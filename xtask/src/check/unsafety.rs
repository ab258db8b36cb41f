//! `unsafe` has three homes; every other crate forbids it at its root.

use super::{Finding, source::SourceFile, tokens::Kind};
use crate::workspace::{Package, Role, TargetKind};

fn may_be_unsafe(role: &Role) -> bool {
    match role {
        Role::Crate(name) => name == "guest",
        Role::Driver(name) => matches!(name.as_str(), "native" | "microvm"),
        _ => false,
    }
}

/// Every product target's root says `#![forbid(unsafe_code)]`.
pub(super) fn check_roots(package: &Package, files: &[SourceFile]) -> Vec<Finding> {
    if may_be_unsafe(&package.role) {
        return Vec::new();
    }
    let roots = package.roots.iter().filter(|(_, kind)| *kind == TargetKind::Product);
    roots
        .filter_map(|(root, _)| files.iter().find(|f| f.path == *root))
        .filter(|file| !forbids(file))
        .map(|file| Finding::new(&file.path, 1, "the crate root does not say #![forbid(unsafe_code)]"))
        .collect()
}

fn forbids(file: &SourceFile) -> bool {
    file.tokens.windows(3).any(|w| {
        w[0].is_ident("forbid") && matches!(w[1].kind, Kind::Open(_)) && w[2].is_ident("unsafe_code")
    })
}

pub(super) fn check(package: &Package, file: &SourceFile) -> Vec<Finding> {
    if may_be_unsafe(&package.role) {
        return Vec::new();
    }
    let why = "unsafe code outside drivers/native, drivers/microvm and guest: use rustix or std";
    file.product
        .iter()
        .filter(|t| t.is_ident("unsafe"))
        .map(|t| Finding::new(&file.path, t.line, why))
        .collect()
}
