//! What the benchmark's images are made of: software of this machine, which compresses as software does.

use crate::Outcome;
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    process::Command,
};

/// Bytes of all files of the large image.
pub(super) const BYTES: u64 = 200_000_000;
const SOURCE: &str = "/usr/lib";
/// Larger files are left out: one library would be the whole layer.
const MAX_FILE: u64 = 16_000_000;
/// What a root file system has besides programs.
const PLACES: [&str; 8] = ["/dev", "/etc", "/etc/group", "/etc/passwd", "/proc", "/root", "/sys", "/tmp"];
/// Linux follows so many links of one path.
const MAX_LINKS: usize = 40;

/// Paths of this machine, each with its parents.
pub(super) type Paths = BTreeSet<PathBuf>;

/// Enough to run `true` of this machine: it, its libraries, and the links that lead to them.
pub(super) fn base() -> Outcome<Paths> {
    let mut paths: Paths = PLACES.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    let program = Path::new("/bin/true");
    add(program, &mut paths, 0)?;
    let output = Command::new("ldd").arg(program).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    for library in said.split_whitespace().filter(|word| word.starts_with('/')) {
        add(Path::new(library), &mut paths, 0)?;
    }
    Ok(paths)
}

/// Adds `path`, its parents, and where links among them lead.
fn add(path: &Path, paths: &mut Paths, links: usize) -> Outcome<()> {
    if links > MAX_LINKS {
        return Err(format!("{} has too many links", path.display()).into());
    }
    let mut at = PathBuf::from("/");
    let mut rest =
        path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    while let Some(part) = rest.next() {
        if part == Component::ParentDir {
            at.pop();
            continue;
        }
        at.push(part);
        paths.insert(at.clone());
        if at.symlink_metadata()?.is_symlink() {
            let to = at.parent().unwrap_or(Path::new("/")).join(fs::read_link(&at)?);
            return add(&rest.fold(to, |to, part| to.join(part)), paths, links + 1);
        }
    }
    Ok(())
}

/// Files and links below /usr/lib until they have [`BYTES`], in as many parts as `shares` has per cent; and the bytes.
pub(super) fn parts(shares: &[u64]) -> Outcome<(Vec<Paths>, u64)> {
    let mut found = Found { left: BYTES, files: Vec::new() };
    found.walk(Path::new(SOURCE))?;
    let total = BYTES - found.left;
    let mut parts = vec![Paths::new(); shares.len()];
    let (mut index, mut packed, mut end) = (0, 0, 0);
    for (path, bytes) in found.files {
        // The last part takes what rounding left.
        while packed >= end + total * shares[index] / 100 && index + 1 < shares.len() {
            end += total * shares[index] / 100;
            index += 1;
        }
        packed += bytes;
        parts[index].extend(path.ancestors().filter(|path| *path != Path::new("/")).map(Path::to_owned));
    }
    Ok((parts, total))
}

struct Found {
    left: u64,
    files: Vec<(PathBuf, u64)>,
}

impl Found {
    fn walk(&mut self, dir: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, meta) = (entry.path(), entry.metadata()?);
            // One name a line, below.
            if path.as_os_str().as_bytes().contains(&b'\n') {
                continue;
            }
            if meta.is_dir() {
                self.walk(&path)?;
            } else if meta.is_symlink() {
                self.files.push((path, 0));
            } else if meta.is_file() && meta.len() <= MAX_FILE.min(self.left) {
                self.left -= meta.len();
                self.files.push((path, meta.len()));
            }
        }
        Ok(())
    }
}

/// The words that have `tar` pack `paths` into `archive`; `list` is a file to be written.
pub(super) fn packing(paths: &Paths, list: &Path, archive: &Path) -> io::Result<Command> {
    let mut text = Vec::new();
    for path in paths {
        text.extend_from_slice(path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes());
        text.push(b'\n');
    }
    fs::write(list, text)?;
    let mut command = Command::new("tar");
    command.args(["--no-recursion", "--verbatim-files-from", "--numeric-owner", "-C", "/", "-cf"]);
    command.arg(archive).arg("-T").arg(list);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_comes_with_its_links_and_its_libraries() {
        let paths = base().unwrap();
        let real = Path::new("/bin/true").canonicalize().unwrap();
        assert!(paths.contains(Path::new("/bin/true")) || paths.contains(Path::new("/bin")));
        assert!(paths.contains(&real), "{paths:?}");
        for path in &paths {
            assert!(path.parent().is_none_or(|p| p == Path::new("/") || paths.contains(p)), "{path:?}");
        }
    }
}
