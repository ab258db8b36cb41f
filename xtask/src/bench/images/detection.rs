//! Which image fits, asked in projects that say nothing: every name is looked at in vain.

use super::Task;
use crate::{Outcome, bench::rounds::Subject};
use std::{
    fs::{self, File},
    io,
    path::Path,
};

pub(super) const EMPTY: &str = "agentkernel run --dry-run, no files";
pub(super) const DEEP: &str = "agentkernel run --dry-run, 100,000 files in 100 subdirectories";
pub(super) const FLAT: &str = "agentkernel run --dry-run, 60,000 files side by side";

/// Directories, and files in each.
const DEEP_TREE: (usize, usize) = (100, 1000);
const FLAT_FILES: usize = 60_000;

pub(super) fn subjects(task: &Task) -> Outcome<Vec<Subject<'_>>> {
    let projects = task.home.join("projects");
    let dir = |name: &str| -> io::Result<_> {
        let dir = projects.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    };
    let (empty, deep, flat) = (dir("empty")?, dir("deep")?, dir("flat")?);
    for number in 0..DEEP_TREE.0 {
        let part = deep.join(format!("part-{number}"));
        fs::create_dir(&part)?;
        fill(&part, DEEP_TREE.1)?;
    }
    fill(&flat, FLAT_FILES)?;
    let rows = [(EMPTY, empty), (DEEP, deep), (FLAT, flat)];
    let each = rows.into_iter().map(|(row, dir)| {
        Subject::new(row, move || {
            // A program of no language.
            let mut command = task.agentkernel("dry-run", &["run", "--dry-run", "--", "true"]);
            command.current_dir(&dir);
            command
        })
    });
    Ok(each.collect())
}

fn fill(dir: &Path, files: usize) -> io::Result<()> {
    (0..files).try_for_each(|number| File::create_new(dir.join(format!("file-{number}.dat"))).map(drop))
}
