//! The committed corpus: of everything that was found, the few inputs that cover the most.

use super::{
    Places, Target,
    round::{Round, found},
};
use crate::Outcome;
use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Of one target, in the repository.
pub(super) const MAX_FILES: usize = 200;
pub(super) const MAX_BYTES: u64 = 200_000;

/// An input and the edges that it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) edges: Vec<u32>,
}

/// Replaces the committed corpus of a target by the best of it and of the new inputs.
pub(super) fn keep(round: &Round, places: &Places, programs: &Path) -> Outcome<()> {
    let target = round.target;
    let committed = places.fuzz.join("corpus").join(target.name);
    let chosen = choose(measure(target, places, programs, &committed)?);
    let new = places.scratch.join("kept").join(target.name);
    remove(&new)?;
    fs::create_dir_all(&new)?;
    for input in chosen {
        fs::copy(&input.path, new.join(input.path.file_name().ok_or("a file without a name")?))?;
    }
    remove(&committed)?;
    fs::create_dir_all(&committed)?;
    for (_, path) in sizes(&new)? {
        fs::copy(&path, committed.join(path.file_name().ok_or("a file without a name")?))?;
    }
    Ok(())
}

/// Has libFuzzer run every input once; what each one reaches is in the file by which it survives crashes of a merge.
fn measure(target: Target, places: &Places, programs: &Path, committed: &Path) -> Outcome<Vec<Input>> {
    let merged = places.scratch.join("merged").join(target.name);
    let control = places.scratch.join(format!("{}.merge", target.name));
    remove(&merged)?;
    fs::create_dir_all(&merged)?;
    if control.exists() {
        fs::remove_file(&control)?;
    }
    let mut command = Command::new(programs.join(target.name));
    // How often an edge is taken would ask for ten times as many inputs.
    command.args(["-set_cover_merge=1", "-use_counters=0"]).arg(format!("-max_len={}", target.longest));
    command.arg(format!("-merge_control_file={}", control.display()));
    command.arg(&merged).arg(committed).arg(found(places, target));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status()?.success() {
        return Err(format!("the corpus of {} cannot be measured", target.name).into());
    }
    parse(&fs::read_to_string(&control)?)
        .ok_or_else(|| format!("{} is not understood", control.display()).into())
}

/// Two counts, a path for each input, then lines of `STARTED ID SIZE` and `FT ID EDGE...`.
pub(super) fn parse(text: &str) -> Option<Vec<Input>> {
    let mut lines = text.lines();
    let count: usize = lines.next()?.parse().ok()?;
    lines.next()?;
    let paths: Vec<&str> = lines.by_ref().take(count).collect();
    let mut sizes = BTreeMap::new();
    let mut inputs = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let (kind, id) = (words.next()?, words.next()?.parse::<usize>().ok()?);
        match kind {
            "STARTED" => {
                sizes.insert(id, words.next()?.parse().ok()?);
            }
            "FT" => inputs.push(Input {
                path: PathBuf::from(*paths.get(id)?),
                size: *sizes.get(&id)?,
                edges: words.map(|word| word.parse().ok()).collect::<Option<_>>()?,
            }),
            _ => {}
        }
    }
    Some(inputs)
}

/// Again and again the input that adds the most edges, the smaller one of equals, until none adds any or the budget of a
/// target is used up.
pub(super) fn choose(mut inputs: Vec<Input>) -> Vec<Input> {
    let mut covered = HashSet::new();
    let mut chosen = Vec::new();
    let mut left = MAX_BYTES;
    while chosen.len() < MAX_FILES {
        for input in &mut inputs {
            input.edges.retain(|edge| !covered.contains(edge));
        }
        inputs.retain(|input| !input.edges.is_empty() && input.size <= left);
        let best = inputs.iter().enumerate().max_by_key(|(_, i)| (i.edges.len(), u64::MAX - i.size));
        let Some((index, _)) = best else { break };
        let input = inputs.swap_remove(index);
        left -= input.size;
        covered.extend(input.edges.iter().copied());
        chosen.push(input);
    }
    chosen
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

fn remove(directory: &Path) -> Outcome<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
