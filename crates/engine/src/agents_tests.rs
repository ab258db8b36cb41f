use super::*;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
};

fn place(directory: &Path, name: &str, mode: u32) {
    let file = directory.join(name);
    fs::write(&file, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_agent_is_a_runnable_file_of_the_first_directory_that_has_one() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    place(first.path(), "claude", 0o644);
    place(second.path(), "claude", 0o755);
    fs::create_dir(first.path().join("gemini")).unwrap();
    symlink("nowhere", first.path().join("codex")).unwrap();
    symlink(second.path().join("claude"), second.path().join("opencode")).unwrap();
    let path = [first.path().to_owned(), "/nonexistent".into(), second.path().to_owned()];
    let found: Vec<_> = agents(&path, |_| false).into_iter().map(|agent| agent.path).collect();
    let at = |name: &str| Some(second.path().join(name));
    assert_eq!(found, [at("claude"), None, None, at("opencode")]);
}

#[test]
fn one_key_of_several_is_enough_and_no_value_is_asked_for() {
    let keys = |wanted: &'static str| {
        let reports = agents(&[], move |name| name.as_str() == wanted);
        reports.into_iter().map(|agent| agent.api_key.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(keys("GOOGLE_API_KEY"), ["missing", "set", "missing", "missing"]);
    assert_eq!(keys("GEMINI_API_KEY"), ["missing", "set", "missing", "set"]);
    assert_eq!(keys("ANTHROPIC_API_KEY"), ["set", "missing", "missing", "set"]);
    assert_eq!(keys("OPENAI_API_KEY"), ["missing", "missing", "set", "set"]);
}
