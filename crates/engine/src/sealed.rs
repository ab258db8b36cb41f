//! Bytes that somebody keeps beside a sandbox, encrypted by whoever gave them, and gone with it.

use crate::{directories::SandboxDir, engine::Engine, held, query};
use agentkernel_model::{Error, Result, name::SandboxName, text::printable};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
};

const FILE: &str = "sealed";
/// The most bytes of one sandbox.
const MAX: u64 = 4 << 20;

/// Keeps `bytes` with the sandbox, in place of those that it had.
pub(crate) async fn keep(engine: &Engine, name: &SandboxName, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > MAX {
        return Err(Error::invalid(format!("the values of '{name}' are more than 4 MiB together"))
            .with_hint("keep them with 'agentkernel secret set', and leave them off the command line"));
    }
    let held = held::wait(engine, name).await?;
    let (path, fresh) = (held.dir.path.join(FILE), held.dir.path.join("sealed.new"));
    let fail = |e| Error::io(format!("cannot write '{}'", printable(&path.to_string_lossy())), e);
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    written.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).map_err(fail)?;
    std::fs::rename(&fresh, &path).map_err(fail)?;
    File::open(&held.dir.path).and_then(|dir| dir.sync_all()).map_err(fail)
}

/// What [`keep`] kept; `None` when there is nothing.
pub(crate) fn read(engine: &Engine, name: &SandboxName) -> Result<Option<Vec<u8>>> {
    let path = SandboxDir::of(&engine.host, query::by_name(engine, name)?.id).path.join(FILE);
    let fail = |e| Error::io(format!("cannot read '{}'", printable(&path.to_string_lossy())), e);
    let file = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(fail)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).map_err(fail)?;
    Ok(Some(bytes))
}
