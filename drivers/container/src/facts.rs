//! What an engine says of itself, asked once and remembered for as long as it is the same engine.

use crate::dial::Way;
use agentkernel_model::{Error, Kind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt::Display,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::Path,
    thread,
    time::Duration,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long an engine may take for an answer about itself: Podman on a busy machine takes seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to say which program it is, where that is only compared.
const PING: Duration = Duration::from_secs(5);
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
    /// Which of them is used where none is named.
    pub(crate) default_runtime: String,
    pub(crate) cgroup_version: String,
    /// Its kernel is this machine's.
    pub(crate) local: bool,
    /// Its processors, as the kernel there calls them.
    pub(crate) architecture: String,
    /// The kind of system that its containers are of.
    pub(crate) system: String,
    /// The memory of its machine, in bytes; 0 when it does not say.
    pub(crate) memory: u64,
}

/// Tells a file from every other one, and from itself when it was made again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let changed = (meta.ctime(), meta.ctime_nsec());
        Some(Self { device: meta.dev(), inode: meta.ino(), changed })
    }
}

/// Which engine an answer came from, as far as the file system tells: another one, or the same one started again, has
/// another socket, or the same one of systemd's and another file with its process id beside it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    place: String,
    /// Of an engine of this machine.
    socket: Option<Stamp>,
    process: Option<Stamp>,
}

impl Identity {
    fn of(way: &Way) -> Option<Self> {
        let place = way.to_string();
        let Some(socket) = way.socket() else { return Some(Self { place, socket: None, process: None }) };
        Some(Self {
            place,
            socket: Some(Stamp::of(socket)?),
            process: Stamp::of(&socket.with_extension("pid")),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    identity: Identity,
    /// What it says of its program and version in every answer.
    server: String,
    facts: Facts,
}

/// The facts of the engine that `way` leads to, from `memory` where they are of this very engine: it is asked one short
/// question, because behind a socket that systemd keeps there may be another program than before. One on another machine is
/// always asked. Blocks.
///
/// # Errors
/// [`Kind::Unavailable`] when it does not answer; [`Kind::Denied`] when this user may not ask.
pub(crate) fn of(way: &Way, memory: &Path) -> Result<Facts> {
    if let Some(known) = known(way, memory).filter(|_| way.socket().is_some()) {
        // That it does not answer is told by whatever is wanted of it next.
        let same = server(way).is_none_or(|server| server == known.server);
        if same {
            return Ok(known.facts);
        }
    }
    let identity = Identity::of(way);
    let (facts, server) = ask(way)?;
    if let Some(identity) = identity {
        remember(memory, &Remembered { identity, server, facts: facts.clone() });
    }
    Ok(facts)
}

/// What is remembered of the engine that `way` leads to, for what runs already: nothing is asked and nobody is waited for.
pub(crate) fn remembered(way: &Way, memory: &Path) -> Option<Facts> {
    known(way, memory).map(|known| known.facts)
}

fn known(way: &Way, memory: &Path) -> Option<Remembered> {
    let known: Remembered = serde_json::from_slice(&fs::read(memory).ok()?).ok()?;
    (Some(&known.identity) == Identity::of(way).as_ref()).then_some(known)
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

fn ask(way: &Way) -> Result<(Facts, String)> {
    let ((version, server), info) = answers(way)?;
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
    let facts = Facts {
        version: text(&version, "Version"),
        api: parse_api(&text(&version, "ApiVersion")),
        rootless,
        remapped: has("userns"),
        limits_memory: enforced && yes("MemoryLimit"),
        limits_cpus: enforced && yes("CpuCfsQuota"),
        limits_pids: enforced && yes("PidsLimit"),
        runtimes: info["Runtimes"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        default_runtime: default_runtime(&info),
        cgroup_version,
        architecture: text(&info, "Architecture"),
        system: text(&info, "OSType"),
        memory: info["MemTotal"].as_u64().unwrap_or(0),
        local: same("KernelVersion", system.release()) && same("Name", system.nodename()),
    };
    Ok((facts, server))
}

/// What it says of its version, with the head of that answer, and of its machine.
fn answers(way: &Way) -> Result<((Value, String), Value)> {
    if way.socket().is_some() {
        let version = get(way, "/version")?;
        return Ok((version, get(way, "/info")?.0));
    }
    // A way over ssh takes a while: both at once.
    thread::scope(|scope| {
        let version = scope.spawn(|| get(way, "/version"));
        let info = get(way, "/info");
        let version =
            version.join().map_err(|_| Error::internal("a question to the engine ended early"))??;
        Ok((version, info?.0))
    })
}

/// Podman names its runtimes nowhere in Docker's form of the answer: then it is one of those that share the kernel.
fn default_runtime(info: &Value) -> String {
    info["DefaultRuntime"].as_str().filter(|name| !name.is_empty()).unwrap_or("runc").to_owned()
}

/// The labels of a container, and nothing else that its engine tells of it; `None` when it has no such container. Blocks.
///
/// # Errors
/// As [`of`].
pub(crate) fn labels(way: &Way, container: &str) -> Result<Option<HashMap<String, String>>> {
    let path = format!("/containers/{container}/json");
    let answer = exchange(way, &path, ANSWER).map_err(|e| unreachable(way, e))?;
    if says_missing(&answer) {
        return Ok(None);
    }
    let (seen, _): (Value, String) = read(way, &answer)?;
    let labels = seen["Config"]["Labels"].as_object().into_iter().flatten();
    Ok(Some(labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()))
}

/// `1.41`; what cannot be read is the oldest that is of use.
fn parse_api(text: &str) -> (usize, usize) {
    let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.unwrap_or((1, 41))
}

/// One question over a connection of its own, without the event loop: capabilities are asked for where none runs. Beside
/// the answer, what its head says of the program that answers.
fn get<T: DeserializeOwned>(way: &Way, path: &str) -> Result<(T, String)> {
    read(way, &exchange(way, path, ANSWER).map_err(|e| unreachable(way, e))?)
}

fn read<T: DeserializeOwned>(way: &Way, answer: &[u8]) -> Result<(T, String)> {
    let broken = || Error::new(Kind::Unavailable, format!("what listens on {way} is no container engine"));
    let (head, body) = split(answer).ok_or_else(broken)?;
    let body = serde_json::from_slice(body).map_err(|e| broken().with_source(e))?;
    Ok((body, program(head)))
}

/// What the engine says of its program and version when it is asked nothing else.
fn server(way: &Way) -> Option<String> {
    let answer = exchange(way, "/_ping", PING).ok()?;
    split(&answer).map(|(head, _)| program(head))
}

/// Whether the engine that `way` leads to answers at all.
///
/// # Errors
/// Why it does not.
pub(crate) async fn ping(way: &Way) -> Result<()> {
    let answer = tokio::time::timeout(PING, talk(way, "/_ping")).await;
    let answer =
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|e| unreachable(way, e))?;
    let broken = || Error::new(Kind::Unavailable, format!("what listens on {way} is no container engine"));
    split(&answer).map(drop).ok_or_else(broken)
}

/// Head and body of an answer that is a success.
fn split(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    (status(answer) == Some(b"200")).then_some((&answer[..at], &answer[at + 4..]))
}

fn status(answer: &[u8]) -> Option<&[u8]> {
    answer.split(|byte| *byte == b' ').nth(1)
}

/// Whether an answer says that there is no such container: Podman does it with another status of one that goes at this
/// moment.
fn says_missing(answer: &[u8]) -> bool {
    match status(answer) {
        Some(b"404") => true,
        Some(b"500") => String::from_utf8_lossy(answer).contains("no such container"),
        _ => false,
    }
}

/// The lines of `head` that are the same in every answer of one program: `Server`, and the versions of its API.
fn program(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let own = fields.filter(|(name, _)| {
        ["server", "api-version", "libpod-api-version"].iter().any(|own| name.eq_ignore_ascii_case(own))
    });
    let mut own: Vec<String> =
        own.map(|(name, value)| format!("{}: {}", name.to_ascii_lowercase(), value.trim())).collect();
    own.sort();
    own.join(", ")
}

fn exchange(way: &Way, path: &str, patience: Duration) -> io::Result<Vec<u8>> {
    match way.socket() {
        Some(socket) => exchange_here(socket, path, patience),
        None => exchange_there(way, path, patience),
    }
}

/// HTTP/1.0, so that the body ends with the connection; in one piece: a server may answer, and close, once it has seen the
/// first.
fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

fn exchange_here(socket: &Path, path: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request(path).as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// On a thread with an event loop of its own: whoever asks may be on one that must not be used to wait.
fn exchange_there(way: &Way, path: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async { tokio::time::timeout(patience, talk(way, path)).await });
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    };
    let asked = thread::scope(|scope| scope.spawn(ask).join());
    asked.unwrap_or_else(|_| Err(io::Error::other("the question ended early")))
}

async fn talk(way: &Way, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = way.dial().await?;
    let mut answer = Vec::new();
    let asked = stream.write_all(request(path).as_bytes()).await;
    let heard = match asked {
        Ok(()) => (&mut stream).take(MAX_ANSWER).read_to_end(&mut answer).await.map(drop),
        Err(e) => Err(e),
    };
    if answer.is_empty() {
        // ssh says it better than the end of its output does.
        if let Some(why) = stream.complaint().await {
            return Err(io::Error::other(why));
        }
        heard?;
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without an answer"));
    }
    heard.map(|()| answer)
}

/// The error of an engine that cannot be talked to.
pub(crate) fn unreachable(place: &impl Display, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
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
