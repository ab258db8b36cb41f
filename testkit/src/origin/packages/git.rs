//! A repository of git as files, for the "dumb" protocol that every client of git still speaks.

use super::Files;
use agentkernel_model::{Error, Kind, Result, text::printable};
use std::{fs, path::Path, process::Command};

/// A bare repository with one commit, under `/repo.git`: `git clone https://HOST/repo.git`. `place` is an empty
/// directory for its making.
///
/// # Errors
/// When git is not there, or fails.
pub fn repository(place: &Path) -> Result<Files> {
    let work = place.join("work");
    let bare = place.join("repo.git");
    fs::create_dir_all(&work).map_err(|e| Error::io("cannot make a repository", e))?;
    fs::write(work.join("README"), "hello\n").map_err(|e| Error::io("cannot make a repository", e))?;
    git(&work, &["init", "--quiet", "--initial-branch=main"])?;
    git(&work, &["add", "README"])?;
    git(&work, &["commit", "--quiet", "--message=first"])?;
    let (from, to) = (work.display().to_string(), bare.display().to_string());
    git(place, &["clone", "--quiet", "--bare", &from, &to])?;
    git(&bare, &["update-server-info"])?;
    let mut files = Files::default();
    collect(&bare, "/repo.git", &mut files).map_err(|e| Error::io("cannot read a repository", e))?;
    Ok(files)
}

fn collect(directory: &Path, path: &str, files: &mut Files) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, files)?;
        } else {
            files.bytes(&name, fs::read(entry.path())?);
        }
    }
    Ok(())
}

fn git(directory: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.args(words).current_dir(directory);
    // Neither the machine's settings nor the caller's.
    for (key, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "test"),
        ("GIT_AUTHOR_EMAIL", "test@localhost"),
        ("GIT_COMMITTER_NAME", "test"),
        ("GIT_COMMITTER_EMAIL", "test@localhost"),
    ] {
        command.env(key, value);
    }
    let ran = command.output().map_err(|e| Error::io("cannot start git", e))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(Error::new(Kind::Internal, format!("git {}: {}", words.join(" "), printable(&said))))
}
