//! What an engine says of itself, asked once and remembered for as long as its socket is the same.

use agentkernel_model::{Error, Kind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::Path,
    time::Duration,
};

/// How long an engine may take for an answer about itself: Podman on a busy machine takes seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest such answer, in bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// An engine, as far as it decides what can be promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The engine's own version.
    pub(crate) version: String,
    /// The newest version of the API that it speaks.
    pub(crate) api: (usize, usize),
    /// Its containers' root is an ordinary user of this machine.
    pub(crate) rootless: bool,
    /// Containers have user ids of their own, whoever runs the engine.
    pub(crate) remapped: bool,
    pub(crate) limits_memory: bool,
    pub(crate) limits_cpus: bool,
    pub(crate) limits_pids: bool,
    pub(crate) runtimes: Vec<String>,
    pub(crate) cgroup_version: String,
    /// Its kernel is this machine's.
    pub(crate) local: bool,
}

/// Which socket an answer came from: another engine, or the same one started again, has another.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Socket {
    path: String,
    device: u64,
    inode: u64,
    changed: i64,
}

impl Socket {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            path: path.display().to_string(),
            device: meta.dev(),
            inode: meta.ino(),
            changed: meta.ctime(),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    socket: Socket,
    facts: Facts,
}

/// The facts of the engine at `socket`, from `memory` where they are of this very socket.
///
/// # Errors
/// [`Kind::Unavailable`] when it does not answer; [`Kind::Denied`] when this user may not ask.
pub(crate) fn of(socket: &Path, memory: &Path) -> Result<Facts> {
    let now = Socket::of(socket);
    let known = fs::read(memory).ok().and_then(|json| serde_json::from_slice::<Remembered>(&json).ok());
    if let Some(known) = known
        && Some(&known.socket) == now.as_ref()
    {
        return Ok(known.facts);
    }
    let facts = ask(socket)?;
    if let Some(socket) = now {
        remember(memory, &Remembered { socket, facts: facts.clone() });
    }
    Ok(facts)
}

/// What cannot be written is asked again the next time.
fn remember(memory: &Path, value: &Remembered) {
    let Some(dir) = memory.parent() else { return };
    let Ok(json) = serde_json::to_vec(value) else { return };
    let fresh = memory.with_extension(format!("{}.new", std::process::id()));
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(&fresh, json));
    if written.and_then(|()| fs::rename(&fresh, memory)).is_err() {
        let _ = fs::remove_file(&fresh);
    }
}

fn ask(socket: &Path) -> Result<Facts> {
    let version: Value = get(socket, "/version")?;
    let info: Value = get(socket, "/info")?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let yes = |key: &str| info[key].as_bool().unwrap_or(false);
    let options: Vec<&str> =
        info["SecurityOptions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let has = |name: &str| options.iter().any(|o| o.split(',').any(|part| part == format!("name={name}")));
    let rootless = has("rootless") || yes("Rootless");
    let cgroup_version = text(&info, "CgroupVersion");
    // Without a hierarchy that can be delegated, rootless engines take limits and do not set them.
    let enforced = !rootless || cgroup_version == "2";
    let system = rustix::system::uname();
    let same = |key: &str, ours: &std::ffi::CStr| info[key].as_str() == ours.to_str().ok();
    Ok(Facts {
        version: text(&version, "Version"),
        api: parse_api(&text(&version, "ApiVersion")),
        rootless,
        remapped: has("userns"),
        limits_memory: enforced && yes("MemoryLimit"),
        limits_cpus: enforced && yes("CpuCfsQuota"),
        limits_pids: enforced && yes("PidsLimit"),
        runtimes: info["Runtimes"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        cgroup_version,
        local: same("KernelVersion", system.release()) && same("Name", system.nodename()),
    })
}

/// `1.41`; what cannot be read is the oldest that is of use.
fn parse_api(text: &str) -> (usize, usize) {
    let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.unwrap_or((1, 41))
}

/// One question over a connection of its own, without the event loop: capabilities are asked for where none runs.
fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T> {
    let answer = exchange(socket, path).map_err(|e| unreachable(socket, e))?;
    let broken = || {
        Error::new(Kind::Unavailable, format!("what listens on {} is no container engine", socket.display()))
    };
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(broken)?;
    let (head, body) = (&answer[..split], &answer[split + 4..]);
    let ok = head.split(|b| *b == b' ').nth(1).is_some_and(|status| status == b"200");
    if !ok {
        return Err(broken());
    }
    serde_json::from_slice(body).map_err(|e| broken().with_source(e))
}

/// HTTP/1.0, so that the body ends with the connection.
fn exchange(socket: &Path, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    // In one piece: a server may answer, and close, once it has seen the first.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The error of a socket that cannot be talked to.
pub(crate) fn unreachable(socket: &Path, source: std::io::Error) -> Error {
    let place = socket.display();
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Denied, format!("you may not use the engine at {place}"))
                .with_hint("whoever may use it is root on this machine; see docs/containers.md")
        }
        _ => Error::new(Kind::Unavailable, format!("no engine answers at {place}")),
    }
    .with_source(source)
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
