//! The name of a sandbox for the branch that is checked out: read from the repository's own files, git is not run.

use agentkernel_model::{Error, Kind, Result, name::SandboxName, text::printable};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// `HEAD` and `.git` files are one short line; more than this is something else.
const MAX: u64 = 4096;

/// `REPOSITORY-BRANCH` of the repository that `dir` is in; a detached HEAD is named by the start of its hash.
///
/// # Errors
/// [`Kind::NotFound`] outside a repository.
pub(crate) fn name(dir: &Path) -> Result<SandboxName> {
    let root = dir.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok()).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("'{}' is in no git repository", printable(&dir.to_string_lossy())))
            .with_hint("name the sandbox instead: agentkernel sandbox create NAME")
    })?;
    let head = git_dir(root).and_then(|git| line(&git.join("HEAD"))).ok_or_else(|| {
        Error::new(
            Kind::Config,
            format!("the repository '{}' has no HEAD", printable(&root.to_string_lossy())),
        )
    })?;
    let branch = match head.strip_prefix("ref: ") {
        Some(reference) => reference.strip_prefix("refs/heads/").unwrap_or(reference).to_owned(),
        None => head.chars().take(8).collect(),
    };
    let repository = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    sandbox_name(&format!("{repository}-{branch}"))
}

/// The name of a sandbox for the directory `dir`.
///
/// # Errors
/// When nothing of its name can be in that of a sandbox.
pub(crate) fn directory(dir: &Path) -> Result<SandboxName> {
    sandbox_name(&dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
        .map_err(|e| e.with_hint("name it: agentkernel init --name NAME"))
}

/// The directory `.git`, or where the file of that name (of a worktree or submodule) says that it is.
fn git_dir(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let says = line(&git)?;
    Some(root.join(says.strip_prefix("gitdir: ")?))
}

fn line(path: &Path) -> Option<String> {
    let file = File::open(path).ok().filter(|f| f.metadata().is_ok_and(|meta| meta.is_file()))?;
    let mut text = String::new();
    file.take(MAX).read_to_string(&mut text).ok()?;
    Some(text.lines().next()?.trim_end().to_owned())
}

/// `text` in the grammar of names: lower case, everything else a hyphen, and what is too long cut, with a hash of the
/// whole in place of the rest, so that two long branches stay two.
fn sandbox_name(text: &str) -> Result<SandboxName> {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let plain: String = text.chars().map(word).collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let mut name = parts.join("-");
    if name.len() > SandboxName::MAX {
        let hash = agentkernel_engine::trusted::digest(text.as_bytes());
        name.truncate(SandboxName::MAX - 9);
        name = format!("{}-{}", name.trim_end_matches('-'), &hash.hex()[..8]);
    }
    name.parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_made_of_the_repository_and_the_branch() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("My.App");
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir_all(root.join("src/deep")).unwrap();
        for (head, expected) in [
            ("ref: refs/heads/main\n", "my-app-main"),
            ("ref: refs/heads/feature/Login_page v2.0\n", "my-app-feature-login-page-v2-0"),
            ("0123456789abcdef0123456789abcdef01234567\n", "my-app-01234567"),
        ] {
            fs::write(root.join(".git/HEAD"), head).unwrap();
            assert_eq!(name(&root.join("src/deep")).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn worktrees_lead_to_their_own_head() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        let git = place.path().join("main/.git/worktrees/tree");
        fs::create_dir_all(&git).unwrap();
        fs::create_dir_all(&root).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/topic\n").unwrap();
        fs::write(root.join(".git"), format!("gitdir: {}\n", git.display())).unwrap();
        assert_eq!(name(&root).unwrap().as_str(), "tree-topic");
    }

    #[test]
    fn long_branches_stay_apart_and_odd_ones_are_refused() {
        let long = |end: &str| sandbox_name(&format!("{}{end}", "a".repeat(80))).unwrap();
        assert_ne!(long("x"), long("y"));
        assert!(long("x").as_str().len() <= SandboxName::MAX);
        assert!(sandbox_name("///").is_err());
        assert_eq!(name(Path::new("/proc")).unwrap_err().kind(), Kind::NotFound);
    }
}
