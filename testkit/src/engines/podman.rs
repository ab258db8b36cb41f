//! `podman system service`, for root and for an ordinary user.

use super::{Engine, Revival, api::Api, daemon::Daemon, find, place::Place};
use agentkernel_model::Result;
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Also the marker: it is in the environment of everything that Podman starts.
const SETTINGS: &str = "CONTAINERS_CONF";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What root's Podman and runc make at places that no setting moves.
const OUTSIDE: [&str; 6] = [
    "/run/containers",
    "/run/containers/networks",
    "/run/runc",
    "/var/lib/containers",
    "/var/lib/containers/cache",
    "/var/lib/containers/cache/blob-info-cache-v1.boltdb",
];
/// The parent of all containers' cgroups under root's Podman.
const CGROUP: &str = "libpod_parent";
/// Registries of a test speak plain http, which Docker takes of loopback without a word. Others are not asked.
const REGISTRIES: &str =
    "unqualified-search-registries = []\n[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n";
/// A service that nobody asks for this many seconds ends: a rootless one outlives a test that was killed.
const IDLE: &str = "--time=600";
/// Podman lowers its own limits to these, and may give no more than it has.
const MOST_FILES: u64 = 1 << 20;
const MOST_PROCESSES: u64 = 1 << 15;

pub(super) fn start(dir: &Path) -> Result<Engine> {
    let root = rustix::process::geteuid().is_root();
    let podman = find("podman", "podman")?;
    find("runc", "runc")?;
    let outside = if root { OUTSIDE.as_slice() } else { &[] };
    let settings = dir.join("containers.conf");
    let mut place = Place::make(dir, format!("{SETTINGS}={}", settings.display()), outside)?;
    if root {
        place.add_cgroup(CGROUP);
    }
    let mut engine = Engine::new(Api::new(dir.join("api.sock")), place);
    // Dropping the engine on the way out ends what has been started.
    for private in ["home", "run", "config", "tmp"] {
        engine.place.directory(private)?;
    }
    engine.place.file("containers.conf", &containers_conf(dir))?;
    engine.place.file("storage.conf", &storage_conf(dir))?;
    engine.place.file("registries.conf", REGISTRIES)?;
    if !root {
        engine.purge = Some(purge(&podman, dir));
    }
    let (address, dir) = (engine.api.address(), dir.to_owned());
    let service = move || {
        Daemon::start("podman", &podman, &dir, |command| {
            set_up(command, &dir);
            command.args(["system", "service", IDLE, &address]);
        })
    };
    engine.daemons.push(service()?);
    engine.revival = Some(Revival(Box::new(service)));
    engine.api.ping()?;
    Ok(engine)
}

/// The environment and the first arguments of every Podman of this place.
fn set_up(command: &mut Command, dir: &Path) {
    command.env("PATH", PATH).env("HOME", dir.join("home")).env("TMPDIR", dir.join("tmp"));
    command.env("XDG_RUNTIME_DIR", dir.join("run")).env("XDG_CONFIG_HOME", dir.join("config"));
    command
        .env(SETTINGS, dir.join("containers.conf"))
        .env("CONTAINERS_STORAGE_CONF", dir.join("storage.conf"))
        .env("CONTAINERS_REGISTRIES_CONF", dir.join("registries.conf"));
    command.arg("--root").arg(storage(dir)).arg("--runroot").arg(dir.join("runroot"));
    command.arg("--tmpdir").arg(dir.join("libpod"));
}

/// Files of users inside belong to subordinate ids outside: only who has the mapping can remove them.
fn purge(podman: &Path, dir: &Path) -> Command {
    let mut command = Command::new(podman);
    command.env_clear().current_dir("/").stdin(Stdio::null());
    set_up(&mut command, dir);
    command.args(["unshare", "rm", "-rf", "--"]).arg(storage(dir));
    command
}

fn storage(dir: &Path) -> PathBuf {
    dir.join("storage")
}

fn containers_conf(dir: &Path) -> String {
    // Strings of JSON are strings of TOML.
    let quoted = |name: &str| json!(dir.join(name)).to_string();
    let limit = |resource, most: u64| getrlimit(resource).maximum.unwrap_or(most).min(most);
    let (files, processes) = (limit(Resource::Nofile, MOST_FILES), limit(Resource::Nproc, MOST_PROCESSES));
    let ulimits = json!([format!("nofile={files}:{files}"), format!("nproc={processes}:{processes}")]);
    [
        "[containers]".to_owned(),
        format!("default_ulimits = {ulimits}"),
        "log_driver = \"k8s-file\"".to_owned(),
        "http_proxy = false".to_owned(),
        "[network]".to_owned(),
        format!("network_config_dir = {}", quoted("networks")),
        "[engine]".to_owned(),
        // crun refuses a machine with both versions of cgroups; there may be no systemd, and no journal.
        "runtime = \"runc\"".to_owned(),
        "cgroup_manager = \"cgroupfs\"".to_owned(),
        "events_logger = \"file\"".to_owned(),
        // Else the locks are in a shared memory that all of a user's Podmans share.
        "lock_type = \"file\"".to_owned(),
        format!("tmp_dir = {}", quoted("libpod")),
        format!("static_dir = {}", quoted("storage/libpod")),
        format!("volume_path = {}", quoted("storage/volumes")),
        String::new(),
    ]
    .join("\n")
}

fn storage_conf(dir: &Path) -> String {
    let quoted = |path: PathBuf| json!(path).to_string();
    let (storage, run) = (quoted(storage(dir)), quoted(dir.join("runroot")));
    format!("[storage]\ndriver = \"overlay\"\ngraphroot = {storage}\nrunroot = {run}\n")
}
