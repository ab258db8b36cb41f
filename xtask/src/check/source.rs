//! The source files of a package, each with its tokens and with what of it is test code.

use super::tokens::{self, Kind, Token};
use crate::{
    Outcome,
    workspace::{Package, TargetKind},
};
use proc_macro2::Delimiter;
use std::{
    collections::HashSet,
    ffi::OsStr,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) lines: usize,
    pub(super) kind: TargetKind,
    /// Everything.
    pub(super) tokens: Vec<Token>,
    /// Without items behind `#[cfg(test)]` and `#[test]`; empty in a test file.
    pub(super) product: Vec<Token>,
}

impl SourceFile {
    pub(super) fn parse(path: PathBuf, text: &str, kind: TargetKind) -> Outcome<Self> {
        let tokens = tokens::lex(text).map_err(|error| format!("{} is not Rust: {error}", path.display()))?;
        let product = if kind == TargetKind::Product { without_tests(&tokens) } else { Vec::new() };
        Ok(Self { path, lines: text.lines().count(), kind, tokens, product })
    }
}

/// Every `.rs` file of the package except what other packages inside its directory own.
pub(super) fn load(package: &Package) -> Outcome<Vec<SourceFile>> {
    let mut paths = Vec::new();
    walk(&package.dir, true, &mut paths)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let kind = target_kind(package, &path);
        files.push(SourceFile::parse(path, &text, kind)?);
    }
    mark_test_modules(&mut files);
    Ok(files)
}

fn walk(dir: &Path, is_package: bool, out: &mut Vec<PathBuf>) -> Outcome<()> {
    if !is_package && dir.join("Cargo.toml").exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "target" {
            walk(&path, false, out)?;
        } else if kind.is_file() && path.extension() == Some(OsStr::new("rs")) {
            out.push(path);
        }
    }
    Ok(())
}

fn target_kind(package: &Package, path: &Path) -> TargetKind {
    let inside = |dir: &str| path.starts_with(package.dir.join(dir));
    if inside("tests") || inside("benches") || inside("examples") {
        return TargetKind::Test;
    }
    package.roots.iter().find(|(root, _)| root == path).map_or(TargetKind::Product, |(_, kind)| *kind)
}

/// A file that only a `#[cfg(test)] mod` declares is a test file, and so is everything below it.
fn mark_test_modules(files: &mut [SourceFile]) {
    let mut test_dirs = Vec::new();
    let mut test_files = HashSet::new();
    for file in files.iter() {
        for module in test_modules(&file.tokens) {
            let base = module_dir(&file.path);
            match module {
                TestModule::Named(name) => {
                    test_files.insert(base.join(format!("{name}.rs")));
                    test_dirs.push(base.join(name));
                }
                TestModule::At(path) => {
                    let parent = file.path.parent().unwrap_or(Path::new(""));
                    test_files.insert(parent.join(path));
                }
            }
        }
    }
    for file in files {
        if test_files.contains(&file.path) || test_dirs.iter().any(|dir| file.path.starts_with(dir)) {
            file.kind = TargetKind::Test;
            file.product.clear();
        }
    }
}

/// Where the child modules of the module in `path` are.
fn module_dir(path: &Path) -> PathBuf {
    let parent = path.parent().unwrap_or(Path::new(""));
    match path.file_stem().and_then(OsStr::to_str) {
        Some("mod" | "lib" | "main") | None => parent.to_owned(),
        Some(stem) => parent.join(stem),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum TestModule {
    Named(String),
    /// `#[path = ".."]`.
    At(String),
}

fn test_modules(tokens: &[Token]) -> Vec<TestModule> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let Some(item) = annotated_item(tokens, index) else {
            index += 1;
            continue;
        };
        index = item.start.max(index + 1);
        if !item.is_test {
            continue;
        }
        let rest = &tokens[item.start..];
        let at = rest.iter().position(|t| t.is_ident("mod"));
        let named = at.and_then(|at| match (rest.get(at + 1).map(|t| &t.kind), rest.get(at + 2)) {
            (Some(Kind::Ident(name)), Some(end)) if end.is_punct(';') && at <= 4 => Some(name.clone()),
            _ => None,
        });
        if let Some(name) = named {
            found.push(item.path.map_or(TestModule::Named(name), TestModule::At));
        }
    }
    found
}

struct Item {
    /// Behind its attributes.
    start: usize,
    is_test: bool,
    path: Option<String>,
}

/// Reads the outer attributes that start at `index`, if any do.
fn annotated_item(tokens: &[Token], index: usize) -> Option<Item> {
    let mut item = Item { start: index, is_test: false, path: None };
    while tokens.get(item.start).is_some_and(|t| t.is_punct('#'))
        && tokens.get(item.start + 1).is_some_and(|t| t.kind == Kind::Open(Delimiter::Bracket))
    {
        let end = tokens::group_end(tokens, item.start + 1);
        let inside = &tokens[item.start + 2..end - 1];
        item.is_test |= is_test_attribute(inside);
        if let [name, equals, value] = inside
            && name.is_ident("path")
            && equals.is_punct('=')
            && let Kind::Text(path) = &value.kind
        {
            item.path = Some(path.clone());
        }
        item.start = end;
    }
    (item.start > index).then_some(item)
}

/// `test`, `tokio::test`, `cfg(test)`, `cfg(all(test, ..))`; not `cfg(not(test))`, not `cfg(any(test, ..))`. The feature
/// `mutations` counts as a test: it exists for the escape suite, and [`super::manifests`] keeps it out of releases.
fn is_test_attribute(inside: &[Token]) -> bool {
    let head = inside.iter().position(|t| matches!(t.kind, Kind::Open(_))).unwrap_or(inside.len());
    if !inside.first().is_some_and(|t| t.is_ident("cfg")) {
        return inside[..head].last().is_some_and(|t| t.is_ident("test"));
    }
    let mut terms = &inside[(head + 1).min(inside.len())..];
    if terms.first().is_some_and(|t| t.is_ident("all")) {
        terms = &terms[2.min(terms.len())..];
    }
    // Only the top level of the conjunction makes the whole item a test.
    let mut depth = 0_usize;
    terms.iter().enumerate().any(|(at, token)| {
        match token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        let feature = || match terms.get(at + 2).map(|t| &t.kind) {
            Some(Kind::Text(name)) => name == "mutations",
            _ => false,
        };
        depth == 0 && (token.is_ident("test") || (token.is_ident("feature") && feature()))
    })
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        match annotated_item(tokens, index) {
            Some(item) if item.is_test => index = item_end(tokens, item.start),
            Some(item) => {
                kept.extend_from_slice(&tokens[index..item.start]);
                index = item.start;
            }
            None => {
                kept.push(tokens[index].clone());
                index += 1;
            }
        }
    }
    kept
}

/// Behind the `;` or the braces that end the item at `start`; a field or an arm ends with a comma or its group's close.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while let Some(token) = tokens.get(index) {
        match token.kind {
            Kind::Open(Delimiter::Brace) => return tokens::group_end(tokens, index),
            Kind::Open(_) => index = tokens::group_end(tokens, index),
            Kind::Punct(';' | ',') => return index + 1,
            Kind::Close(_) => return index,
            _ => index += 1,
        }
    }
    index
}
