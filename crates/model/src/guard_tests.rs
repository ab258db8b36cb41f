use super::*;
use crate::Kind;
use std::path::PathBuf;

#[test]
fn names_are_plain_relative_and_each_there_once() {
    let mut seen = std::collections::BTreeSet::new();
    for name in names() {
        let parts: Vec<&str> = name.split('/').collect();
        assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..")), "{name}");
        assert!(seen.insert(name), "{name} twice");
        // What lies deeper can be taken away by a rename above it, unless that is mounted on as well.
        assert!(parts.len() == 1 || parts[0] == REPOSITORY && parts.len() == 2, "{name}");
    }
}

#[test]
fn a_name_is_allowed_as_a_person_writes_it() {
    for (text, name) in
        [(".envrc", ".envrc"), ("./.envrc", ".envrc"), (".vscode/", ".vscode"), (".git/hooks", ".git/hooks")]
    {
        assert_eq!(text.parse::<GuardedName>().unwrap().as_str(), name);
    }
    for text in ["", ".", "/", ".envrcc", "src", ".claude/commands", "../.envrc", "/p/.envrc", ".git\u{1b}"] {
        let error = text.parse::<GuardedName>().unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.hint().is_some() && !error.message().contains('\u{1b}'), "{error}");
    }
}

#[test]
fn the_repository_stands_for_what_is_kept_of_it() {
    let git: GuardedName = ".git".parse().unwrap();
    assert!(IN_REPOSITORY.iter().all(|name| git.covers(name)));
    assert!(!IN_PROJECT.iter().any(|name| git.covers(name)));
    let hooks: GuardedName = ".git/hooks".parse().unwrap();
    assert!(hooks.covers(".git/hooks") && !hooks.covers(".git") && !hooks.covers(".git/config"));
    let vim: GuardedName = ".vim".parse().unwrap();
    assert!(!vim.covers(".vimrc"));
}

#[test]
fn only_what_can_be_written_is_a_place() {
    let direct = |access| Workspace::Direct { source: PathBuf::from("/p"), access };
    let place = Place { source: Path::new("/p"), target: "/workspace" };
    assert_eq!(Place::writable_workspace(&direct(Access::ReadWrite)), Some(place));
    for workspace in [direct(Access::ReadOnly), Workspace::View("/p".into()), Workspace::None] {
        assert_eq!(Place::writable_workspace(&workspace), None);
    }
    let mount = place.mount(".envrc", Access::ReadOnly).unwrap();
    assert_eq!(Place::writable(&mount), None);
}

#[test]
fn what_keeps_a_name_is_recognised_and_nothing_else() {
    let place = Place { source: Path::new("/p"), target: "/workspace" };
    for name in names() {
        assert!(place.is_kept_by(&place.mount(name, Access::ReadOnly).unwrap()), "{name}");
        let writable = place.mount(name, Access::ReadWrite).unwrap();
        assert_eq!(place.is_kept_by(&writable), name == REPOSITORY, "{name}");
    }
    let other = |source: &str, target: &str| Mount {
        source: source.into(),
        target: target.parse().unwrap(),
        access: Access::ReadOnly,
    };
    for mount in [
        other("/p/src", "/workspace/src"),
        other("/q/.envrc", "/workspace/.envrc"),
        other("/p/.envrc", "/data/.envrc"),
        other("/p/.envrc", "/workspace/.profile"),
        other("/p", "/workspace"),
    ] {
        assert!(!place.is_kept_by(&mount), "{mount:?}");
    }
}
