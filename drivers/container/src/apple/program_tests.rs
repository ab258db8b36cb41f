use super::*;
use std::{fs, os::unix::fs::PermissionsExt as _};

/// A `container` that is the shell script `text`.
fn program(text: &str) -> (tempfile::TempDir, Program) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join(NAME);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let surroundings = Surroundings { path: vec![place.path().to_owned()], ..Surroundings::default() };
    let found = Program::find(&surroundings).unwrap();
    (place, found)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn only_programs_in_absolute_directories_are_taken() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join(NAME), "not executable").unwrap();
    for directory in [place.path(), Path::new("."), Path::new("/nowhere")] {
        let surroundings = Surroundings { path: vec![directory.to_owned()], ..Surroundings::default() };
        let error = Program::find(&surroundings).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn its_environment_is_made_and_its_arguments_are_a_vector() {
    let (_place, program) = program("env | sort; printf '%s|' \"$@\"; cat");
    let answer = program.ask(&words(&["a b", "$(id)", "'; id"]), QUICK).await.unwrap();
    let text = String::from_utf8(answer.out).unwrap();
    let env: Vec<&str> = text.lines().filter(|line| line.contains('=')).collect();
    assert!(
        env.iter()
            .all(|line| line.starts_with("PATH=") || line.starts_with("PWD=") || line.starts_with("_=")),
        "{text}"
    );
    assert!(text.ends_with("a b|$(id)|'; id|"), "{text}");
}

#[tokio::test]
async fn one_that_never_answers_is_ended() {
    let (_place, program) = program("exec sleep 1000");
    let error = program.ask(&words(&["list"]), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.message().contains("'container list'"), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_refused() {
    let (_place, program) = program("exec cat /dev/zero");
    let error = program.ask(&words(&["list"]), SLOW).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted);
}

#[tokio::test]
async fn what_it_says_is_told_without_what_it_was_asked() {
    let (_place, program) = program(
        "case $1 in system) echo '{\"status\":\"running\"}';; *) printf 'Error: no \\033[31m way\\n' >&2; exit 1;; esac",
    );
    let error = program.demand(&words(&["exec", "--secret"]), QUICK).await.unwrap_err();
    assert_eq!(error.message(), "'container exec' failed: no \\u{1b}[31m way");
}

#[tokio::test]
async fn a_service_that_does_not_run_is_the_reason_of_everything() {
    let (_place, program) = program(
        "case $1 in system) echo '{\"status\":\"unregistered\"}'; exit 1;; *) echo 'Error: XPC' >&2; exit 1;; esac",
    );
    let error = program.demand(&words(&["list"]), QUICK).await.unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Unavailable, Some(START)));
}
