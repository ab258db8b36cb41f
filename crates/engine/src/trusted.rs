//! Files of projects that a person trusts: by path and by content, so that a file that changed is trusted no more.

use crate::{directories, engine::Engine, lock::Lock};
use agentkernel_model::{Error, Kind, Result, image::Digest, text::printable};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Directory as the file system resolves it, with the file's name in it, and the digest of what a person agreed to. A file
/// that is a link is itself and not what it leads to: else a link in one project could borrow the trust of another.
type Table = BTreeMap<PathBuf, Digest>;

/// The digest of a file's content.
#[must_use]
pub fn digest(content: &[u8]) -> Digest {
    Digest::of_sha256(&Sha256::digest(content).into())
}

pub(crate) fn is_trusted(engine: &Engine, file: &Path, content: &[u8]) -> Result<bool> {
    let table = read(engine)?;
    // Most people trust nothing: no path is resolved for them.
    if table.is_empty() {
        return Ok(false);
    }
    let Ok(path) = resolved(file) else { return Ok(false) };
    Ok(table.get(&path) == Some(&digest(content)))
}

pub(crate) fn trust(engine: &Engine, file: &Path, content: &[u8]) -> Result<PathBuf> {
    let path = resolved(file)?;
    change(engine, |table| {
        table.insert(path.clone(), digest(content));
    })?;
    Ok(path)
}

/// Whether it was trusted.
pub(crate) fn revoke(engine: &Engine, file: &Path) -> Result<bool> {
    // A file that is gone can still be forgotten.
    let path = resolved(file).unwrap_or_else(|_| file.to_owned());
    let mut was = false;
    change(engine, |table| was = table.remove(&path).is_some())?;
    Ok(was)
}

pub(crate) fn list(engine: &Engine) -> Result<Vec<(PathBuf, Digest)>> {
    read(engine).map(|table| table.into_iter().collect())
}

fn resolved(file: &Path) -> Result<PathBuf> {
    let missing =
        || Error::new(Kind::NotFound, format!("there is no file {}", printable(&file.to_string_lossy())));
    let meta = fs::symlink_metadata(file).map_err(|e| missing().with_source(e))?;
    if meta.is_symlink() {
        return Err(Error::new(
            Kind::Denied,
            format!(
                "{} is a symbolic link, and a link can lead elsewhere tomorrow",
                printable(&file.to_string_lossy())
            ),
        )
        .with_hint("trust the file that it leads to, in its own directory"));
    }
    let name = file.file_name().ok_or_else(missing)?;
    let parent = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::canonicalize(parent).map_err(|e| missing().with_source(e))?.join(name))
}

fn place(engine: &Engine) -> PathBuf {
    engine.host.data.join("trusted.json")
}

fn read(engine: &Engine) -> Result<Table> {
    let path = place(engine);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(e) => return Err(Error::io(format!("cannot read '{}'", path.display()), e)),
    };
    serde_json::from_slice(&text).map_err(|e| {
        Error::internal(format!("'{}' is damaged", path.display()))
            .with_source(e)
            .with_hint("remove it, and trust your projects anew")
    })
}

/// Written beside and renamed, under a lock: nobody sees half a table, and no change is lost.
fn change(engine: &Engine, change: impl FnOnce(&mut Table)) -> Result<()> {
    directories::ensure(&engine.host)?;
    let path = place(engine);
    let _lock = Lock::block(&path.with_extension("lock"))?;
    let mut table = read(engine)?;
    change(&mut table);
    let fail = |e| Error::io(format!("cannot write '{}'", path.display()), e);
    let text = serde_json::to_vec_pretty(&table)
        .map_err(|e| Error::internal("cannot encode what is trusted").with_source(e))?;
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).map_err(fail)?;
    fs::rename(&fresh, &path).map_err(fail)
}
