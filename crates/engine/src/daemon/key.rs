//! The identity of a warm sandbox: a hash of everything that it was made from. Equal keys mean that a run cannot tell the
//! sandboxes apart.

use super::recipe::Recipe;
use agentkernel_backend::{Graft, Host, ImageDefaults, Rootfs, Surroundings};
use agentkernel_model::{Error, Result, id::BackendId, policy::Network, spec::SandboxSpec, text::printable};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The variable that says where ssh's agent is.
const KEYS_OF_SSH: &str = "SSH_AUTH_SOCK";

/// 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Key(String);

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(digit) {
            return Ok(Self(text));
        }
        Err(Error::invalid("a key of a warm sandbox has 64 hexadecimal digits"))
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

/// This very program: another one may start sandboxes otherwise, and speak another language with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Build {
    version: &'static str,
    /// Device, inode, length and time of its file.
    file: (u64, u64, u64, i64, i64),
}

impl Build {
    /// # Errors
    /// When the program's file cannot be looked at.
    pub(super) fn this(host: &Host) -> Result<Self> {
        // The file that runs, also when another one has been installed in its place.
        let path = if cfg!(target_os = "linux") { Path::new("/proc/self/exe") } else { &host.exe };
        let file = fs::metadata(path).map_err(|e| {
            Error::io(format!("cannot look at the program '{}'", printable(&path.to_string_lossy())), e)
        })?;
        let file = (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        Ok(Self { version: env!("CARGO_PKG_VERSION"), file })
    }
}

/// What is hashed.
#[derive(Serialize)]
struct Form<'a> {
    build: &'a Build,
    engines: Engines<'a>,
    backend: &'a BackendId,
    spec: &'a SandboxSpec,
    root: Root<'a>,
    /// What its gateway is told of name servers, and by this user.
    gateway: Vec<Option<Vec<u8>>>,
}

/// Which engine of several a driver speaks to. The caller's PATH is no part of it, and nor is where ssh has its keys from,
/// which is another place for each login.
#[derive(Serialize)]
struct Engines<'a> {
    home: &'a Option<PathBuf>,
    runtime_dir: &'a Option<PathBuf>,
    variables: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Root<'a> {
    identity: &'a str,
    layers: &'a [PathBuf],
    grafts: Vec<(&'a Path, (u64, u64), &'a str, String)>,
    links: Vec<(&'a str, &'a str)>,
    directories: Vec<(&'a str, u32)>,
    files: Vec<(&'a str, u32, &'a [u8])>,
    env: &'a [(String, String)],
    workdir: Option<&'a str>,
    user: Option<String>,
    entrypoint: &'a [String],
    owners: String,
}

impl<'a> Root<'a> {
    /// Every field, so that a new one is not forgotten here.
    fn of(rootfs: &'a Rootfs) -> Result<Self> {
        let Rootfs { identity, layers, grafts, links, directories, files, env, defaults, owners } = rootfs;
        let ImageDefaults { workdir, user, entrypoint } = defaults;
        let graft = |graft: &'a Graft| {
            let place = place_of(&graft.source)?;
            Ok((graft.source.as_path(), place, graft.target.as_str(), format!("{:?}", graft.layer)))
        };
        Ok(Self {
            identity,
            layers,
            grafts: grafts.iter().map(graft).collect::<Result<_>>()?,
            links: links.iter().map(|(target, says)| (target.as_str(), says.as_str())).collect(),
            directories: directories.iter().map(|(path, mode)| (path.as_str(), *mode)).collect(),
            files: files.iter().map(|f| (f.target.as_str(), f.mode, f.content.as_slice())).collect(),
            env,
            workdir: workdir.as_ref().map(|path| path.as_str()),
            user: user.map(|user| user.to_string()),
            entrypoint,
            owners: format!("{owners:?}"),
        })
    }
}

/// Which file or directory is at `path` now. A warm sandbox that shows it keeps it from being forgotten, so no other one
/// gets its number meanwhile.
fn place_of(path: &Path) -> Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)
        .map_err(|e| Error::io(format!("cannot look at '{}'", printable(&path.to_string_lossy())), e))?;
    Ok((found.dev(), found.ino()))
}

impl Key {
    /// The key of what `recipe` makes with `rootfs`; `files` are those that decide about gateways.
    ///
    /// # Errors
    /// When something of the root cannot be looked at, or has a name that is no text.
    pub(super) fn of(
        build: &Build,
        host: &Host,
        files: &[PathBuf],
        recipe: &Recipe,
        rootfs: &Rootfs,
    ) -> Result<Self> {
        let Surroundings { home, runtime_dir, path: _, variables, open_files: _ } = &host.surroundings;
        let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables = variables.filter(|(name, _)| *name != KEYS_OF_SSH).collect();
        let engines = Engines { home, runtime_dir, variables };
        let (backend, spec) = (recipe.backend(), recipe.spec());
        let gateway = match spec.policy.network {
            Network::Rules(_) => files.iter().map(|path| fs::read(path).ok()).collect(),
            Network::Off | Network::Open => Vec::new(),
        };
        let form = Form { build, engines, backend, spec, root: Root::of(rootfs)?, gateway };
        let bytes = serde_json::to_vec(&form)
            .map_err(|e| Error::invalid("a sandbox cannot be described as text").with_source(e))?;
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self(hash))
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
