//! Health of backends, remembered for as long as it can be true: this boot, this binary, this user.

use crate::{boot, clock, directories};
use agentkernel_backend::{Backend, Health, Host};
use agentkernel_model::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

/// How long bad news counts, in milliseconds: what was broken may be mended without a new boot.
const BAD_NEWS: i64 = 10 * 60 * 1000;

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

/// What is remembered for `key`. A file that is missing, damaged or about something else means: nothing.
fn load(host: &Host, key: &Key) -> BTreeMap<String, Finding> {
    let file = fs::read(path(host)).ok().and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
    file.filter(|f| f.key == *key).map(|f| f.backends).unwrap_or_default()
}

/// What is remembered of `id` and still counts; asks nobody.
pub(crate) fn remembered(host: &Host, id: &str) -> Option<Health> {
    let finding = load(host, &key(host).ok()?).remove(id)?;
    let counts = finding.health.is_healthy() || (0..BAD_NEWS).contains(&(clock::now() - finding.at));
    counts.then_some(finding.health)
}

/// The health of `backend`: remembered, or probed and then remembered.
pub(crate) async fn health(host: &Host, backend: &dyn Backend) -> Result<Health> {
    match remembered(host, backend.id().as_str()) {
        Some(health) => Ok(health),
        None => fresh(host, backend).await,
    }
}

/// Probes `backend`, whatever is remembered.
pub(crate) async fn fresh(host: &Host, backend: &dyn Backend) -> Result<Health> {
    let health = backend.probe().await;
    directories::ensure(host)?;
    let key = key(host)?;
    let mut backends = load(host, &key);
    let finding = Finding { at: clock::now(), health: health.clone() };
    backends.insert(backend.id().as_str().to_owned(), finding);
    save(host, &File { key, backends })?;
    Ok(health)
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
