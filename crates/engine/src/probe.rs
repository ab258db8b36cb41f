//! Health of backends, remembered for as long as it can be true: this boot, this binary, this user.

use crate::{boot, clock, directories, engine::Engine, memory, runner};
use agentkernel_backend::{Backend, Health, Host};
use agentkernel_model::{Error, Result, id::BackendId};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// How long bad news counts, in milliseconds: what was broken may be mended without a new boot.
const BAD_NEWS: i64 = 10 * 60 * 1000;

/// How long it may take to try one out.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    boot: Option<String>,
    exe_length: u64,
    /// Nanoseconds since 1970-01-01 UTC.
    exe_modified: i64,
    uid: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Finding {
    at: i64,
    #[serde(flatten)]
    health: Health,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    key: Key,
    backends: BTreeMap<String, Finding>,
}

fn path(host: &Host) -> PathBuf {
    host.data.join("probe.json")
}

fn key(host: &Host) -> Result<Key> {
    let exe = fs::metadata(&host.exe)
        .map_err(|e| Error::io(format!("cannot look at the program '{}'", host.exe.display()), e))?;
    let modified = exe.mtime().saturating_mul(1_000_000_000).saturating_add(exe.mtime_nsec());
    Ok(Key { boot: boot::id(), exe_length: exe.len(), exe_modified: modified, uid: host.uid })
}

/// What was written down. A file that is missing or damaged means: nothing.
fn read(host: &Host) -> Option<File> {
    serde_json::from_slice(&fs::read(path(host)).ok()?).ok()
}

/// Everything that is remembered and still counts, from one look at the file.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<String, Finding>);

impl Memory {
    pub(crate) fn load(host: &Host) -> Self {
        // Where nothing was written down there is nothing to compare.
        let Some(file) = read(host) else { return Self::default() };
        if !key(host).is_ok_and(|key| key == file.key) {
            return Self::default();
        }
        let now = clock::now();
        let counts =
            |finding: &Finding| finding.health.is_healthy() || (0..BAD_NEWS).contains(&(now - finding.at));
        Self(file.backends.into_iter().filter(|(_, finding)| counts(finding)).collect())
    }

    /// Asks nobody.
    pub(crate) fn health(&self, id: &str) -> Option<&Health> {
        self.0.get(id).map(|finding| &finding.health)
    }
}

/// The health of all `backends`, in their order: as `memory` has it, and of the others found out [`anew`].
pub(crate) async fn health(
    engine: &Engine,
    memory: &Memory,
    backends: &[Arc<dyn Backend>],
) -> Result<Vec<Health>> {
    let known = |backend: &Arc<dyn Backend>| memory.health(backend.id().as_str()).cloned();
    let unknown: Vec<_> = backends.iter().filter(|backend| known(backend).is_none()).cloned().collect();
    // One for each of those, in this order.
    let mut found = anew(engine, &unknown).await?.into_iter();
    Ok(backends.iter().filter_map(|backend| known(backend).or_else(|| found.next())).collect())
}

/// As [`health`], of one.
pub(crate) async fn known(engine: &Engine, memory: &Memory, backend: &Arc<dyn Backend>) -> Result<Health> {
    let found = health(engine, memory, std::slice::from_ref(backend)).await?.pop();
    found.ok_or_else(|| Error::internal("a backend was tried out, and nothing came of it"))
}

/// As [`known`], whatever is remembered.
pub(crate) async fn fresh(engine: &Engine, backend: &Arc<dyn Backend>) -> Result<Health> {
    known(engine, &Memory::default(), backend).await
}

/// Tries out all `backends` at the same time, and remembers what was found, in their order. A process that has runners
/// has one do it: what a sandbox cannot be cloned from says nothing about a backend.
pub(crate) async fn anew(engine: &Engine, backends: &[Arc<dyn Backend>]) -> Result<Vec<Health>> {
    if backends.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(runners) = &engine.runners {
        return runner::probe(engine, runners, backends.iter().map(|backend| backend.id()).collect()).await;
    }
    let found = join_all(backends.iter().map(|backend| tried(backend.as_ref()))).await;
    remember(&engine.host, backends.iter().map(|backend| backend.id()).zip(&found))?;
    Ok(found)
}

async fn tried(backend: &dyn Backend) -> Health {
    match tokio::time::timeout(PATIENCE, backend.probe()).await {
        Ok(health) => health,
        Err(_) => Health::Unhealthy {
            reason: format!("a sandbox was not there after {} seconds", PATIENCE.as_secs()),
            hint: "see what it waits for, then try 'agentkernel setup --check' again".to_owned(),
        },
    }
}

fn remember<'a>(host: &Host, found: impl IntoIterator<Item = (BackendId, &'a Health)>) -> Result<()> {
    if memory::is_unseen() {
        // It finds what is true of itself alone.
        return Ok(());
    }
    directories::ensure(host)?;
    let key = key(host)?;
    let known = read(host).filter(|file| file.key == key);
    let mut backends = known.map(|file| file.backends).unwrap_or_default();
    let at = clock::now();
    let finding = |health: &Health| Finding { at, health: health.clone() };
    backends.extend(found.into_iter().map(|(id, health)| (id.as_str().to_owned(), finding(health))));
    save(host, &File { key, backends })
}

/// Replaces the file in one step: a reader sees the old one or the new one.
fn save(host: &Host, file: &File) -> Result<()> {
    let fail = |e| Error::io(format!("cannot write '{}'", path(host).display()), e);
    let bytes =
        serde_json::to_vec(file).map_err(|e| Error::internal("cannot encode a probe").with_source(e))?;
    let fresh = host.data.join(format!("probe.json.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut out| out.write_all(&bytes))
        .and_then(|()| fs::rename(&fresh, path(host)));
    if written.is_err() {
        // The failure of the write is the news; the half-written file was ours alone.
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(fail)
}
