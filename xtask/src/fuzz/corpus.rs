//! The committed corpus: what was found is added, then the whole is reduced to what covers the same.

use super::{
    Places,
    round::{Round, found},
};
use crate::Outcome;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Of one target, in the repository.
pub(super) const MAX_FILES: usize = 200;
pub(super) const MAX_BYTES: u64 = 200_000;

/// Replaces the committed corpus of a target by the least that covers what it and the new inputs cover.
pub(super) fn keep(round: &Round, places: &Places, programs: &Path) -> Outcome<()> {
    let target = round.target;
    let committed = places.fuzz.join("corpus").join(target.name);
    let merged = places.scratch.join("merged").join(target.name);
    remove(&merged)?;
    fs::create_dir_all(&merged)?;
    let mut command = Command::new(programs.join(target.name));
    command.arg("-set_cover_merge=1").arg(format!("-max_len={}", target.longest));
    command.arg(&merged).arg(&committed).arg(found(places, target));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status()?.success() {
        return Err(format!("the corpus of {} cannot be merged", target.name).into());
    }
    let files = smallest(sizes(&merged)?);
    remove(&committed)?;
    fs::create_dir_all(&committed)?;
    for path in files {
        fs::copy(&path, committed.join(path.file_name().ok_or("a file without a name")?))?;
    }
    Ok(())
}

/// Every file of a directory with its size, smallest first.
pub(super) fn sizes(directory: &Path) -> Outcome<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort();
    Ok(files)
}

/// As many as the budget of a target allows.
fn smallest(files: Vec<(u64, PathBuf)>) -> Vec<PathBuf> {
    let mut left = MAX_BYTES;
    let fits = |(size, path): (u64, PathBuf)| {
        left = left.checked_sub(size)?;
        Some(path)
    };
    files.into_iter().take(MAX_FILES).map_while(fits).collect()
}

fn remove(directory: &Path) -> Outcome<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
