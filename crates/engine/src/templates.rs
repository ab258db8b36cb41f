//! Templates that somebody saved: files of the data directory. What they say is no business of this crate.

use crate::{directories, engine::Engine};
use agentkernel_model::{Error, Kind, Result, name::TemplateName};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
};

fn root(engine: &Engine) -> PathBuf {
    engine.host.data.join("templates")
}

fn place(engine: &Engine, name: &TemplateName) -> PathBuf {
    root(engine).join(format!("{name}.toml"))
}

pub(crate) fn read(engine: &Engine, name: &TemplateName) -> Result<Option<String>> {
    match fs::read_to_string(place(engine, name)) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("cannot read the template '{name}'"), e)),
    }
}

pub(crate) fn list(engine: &Engine) -> Result<Vec<TemplateName>> {
    let root = root(engine);
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(format!("cannot list '{}'", root.display()), e)),
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse().ok();
    let mut names: Vec<TemplateName> = entries.filter_map(io::Result::ok).filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// Whether a template of the same name may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    Yes,
    No,
}

pub(crate) fn save(engine: &Engine, name: &TemplateName, text: &str, replace: Replace) -> Result<()> {
    directories::ensure(&engine.host)?;
    let fail = |e| Error::io(format!("cannot save the template '{name}'"), e);
    DirBuilder::new().recursive(true).mode(0o700).create(root(engine)).map_err(fail)?;
    // Written beside and put in its place at once: nobody reads half a template.
    let fresh = tempfile::Builder::new().prefix(".new-").tempfile_in(root(engine)).map_err(fail)?;
    fs::write(fresh.path(), text).map_err(fail)?;
    let put = match replace {
        Replace::Yes => fresh.persist(place(engine, name)).map(drop),
        Replace::No => fresh.persist_noclobber(place(engine, name)).map(drop),
    };
    put.map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::new(Kind::AlreadyExists, format!("there is a template '{name}' already"))
                .with_hint(format!("add --force to replace it, or agentkernel template remove {name}"))
        }
        _ => fail(e.error),
    })
}

/// Whether there was one.
pub(crate) fn remove(engine: &Engine, name: &TemplateName) -> Result<bool> {
    match fs::remove_file(place(engine, name)) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(format!("cannot remove the template '{name}'"), e)),
    }
}
