//! Names that begin with `.wh.`: what a layer removes from those below it (OCI image-spec, layer.md).

use crate::name::Name;
use agentkernel_model::{Error, Result};

const PREFIX: &[u8] = b".wh.";
/// What aufs kept for itself, and what image builders still carry along.
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry of a layer is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A file like others.
    Plain,
    /// Nothing of the lower layers is to be seen at this name.
    Removed(Name),
    /// Nothing of the lower layers is to be seen in the directory that this is in.
    Opaque,
    /// Nothing for us.
    Skip,
}

pub(crate) fn meaning(name: &Name) -> Result<Meaning> {
    let refuse = || Err(Error::invalid(format!("the layer has a whiteout {name} of nothing")));
    let Some((parent, last)) = name.split() else { return Ok(Meaning::Plain) };
    let mut above = parent.split(|b| *b == b'/');
    if above.clone().any(|part| part.starts_with(META)) {
        return Ok(Meaning::Skip);
    }
    if above.any(|part| part.starts_with(PREFIX)) {
        return Err(Error::invalid(format!("the layer has an entry {name} below a whiteout")));
    }
    if last == OPAQUE {
        return Ok(Meaning::Opaque);
    }
    if last.starts_with(META) {
        return Ok(Meaning::Skip);
    }
    match last.strip_prefix(PREFIX) {
        None => Ok(Meaning::Plain),
        Some(b"" | b"." | b"..") => refuse(),
        Some(removed) => Ok(Meaning::Removed(name.sibling(removed))),
    }
}

/// The name of the entry that removes `path`, which is not the root.
pub(crate) fn removed(path: &[u8]) -> Vec<u8> {
    let last = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    [&path[..last], PREFIX, &path[last..]].concat()
}

/// The name of the entry that makes the directory `path` opaque.
pub(crate) fn opaque(path: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
    [path, slash, OPAQUE].concat()
}

#[cfg(test)]
#[path = "whiteout_tests.rs"]
mod tests;
