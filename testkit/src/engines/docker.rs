//! dockerd, with a containerd of its own.

use super::{Engine, Revival, api::Api, daemon::Daemon, find, place::Place, tls::Tls};
use agentkernel_model::{Error, Kind, Result};
use serde_json::json;
use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

const NAME: &str = "dockerd";
/// Names the engine in the environment of its helpers.
const MARKER: &str = "AGENTKERNEL_TEST_ENGINE";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What dockerd and containerd's shims make at places that no setting moves.
const OUTSIDE: [&str; 4] = ["/run/docker", "/run/docker/plugins", "/run/containerd", "/run/containerd/s"];
/// Parts of containerd that look for file systems and networks of the machine.
const DISABLED: [&str; 5] = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
];

/// What an engine has beside the usual.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extras<'a> {
    /// It listens there as well.
    pub(super) tls: Option<&'a Tls>,
    /// Whose subordinate ids its containers have.
    pub(super) remap: Option<&'a str>,
}

pub(super) fn start(dir: &Path, extras: Extras<'_>) -> Result<Engine> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(Kind::Unavailable, "a Docker of its own takes root")
            .with_hint("run the tests as root for this half"));
    }
    let (containerd, dockerd) = (find("containerd", "containerd")?, find("dockerd", "docker.io")?);
    find("runc", "runc")?;
    let mut place = Place::make(dir, format!("{MARKER}={}", dir.display()), &OUTSIDE)?;
    if extras.remap.is_some() {
        // Root of its containers is another user, who has to get as far as their roots.
        let opened = fs::set_permissions(dir, fs::Permissions::from_mode(0o711));
        opened.map_err(|e| Error::io(format!("cannot open '{}'", dir.display()), e))?;
    }
    let cgroup = cgroup(dir);
    place.add_cgroup(&cgroup);
    let mut engine = Engine::new(Api::new(dir.join("api.sock")), place);
    // Dropping the engine on the way out ends what has been started.
    let config = engine.place.file("containerd.toml", &containerd_settings(dir))?;
    engine.daemons.push(Daemon::start("containerd", &containerd, dir, |command| {
        command.env("PATH", PATH).env(MARKER, dir).arg("--config").arg(config);
    })?);
    let config = engine.place.file("daemon.json", &dockerd_settings(dir, &cgroup, &engine.api, extras))?;
    let dir = dir.to_owned();
    let dockerd = move || Daemon::start(NAME, &dockerd, &dir, |command| set_up(command, &dir, &config));
    engine.daemons.push(dockerd()?);
    engine.revival = Some(Revival(Box::new(dockerd)));
    engine.api.ping()?;
    Ok(engine)
}

fn set_up(command: &mut Command, dir: &Path, config: &Path) {
    command.env("PATH", PATH).env(MARKER, dir).arg("--config-file").arg(config);
}

/// The parent of all its containers' cgroups.
pub(super) fn cgroup(dir: &Path) -> String {
    format!("ake{}", dir.display().to_string().replace('/', "-"))
}

fn containerd_settings(dir: &Path) -> String {
    // Strings of JSON are strings of TOML.
    let quoted = |name: &str| json!(dir.join(name)).to_string();
    let mut text = format!("version = 2\ndisabled_plugins = {}\n", json!(DISABLED));
    let _infallible = write!(
        text,
        "root = {}\nstate = {}\n[grpc]\naddress = {}\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = {}\n",
        quoted("containerd"),
        quoted("shims"),
        quoted("containerd.sock"),
        quoted("opt"),
    );
    text
}

fn dockerd_settings(dir: &Path, cgroup: &str, api: &Api, extras: Extras<'_>) -> String {
    let mut settings = json!({
        "hosts": [api.address()],
        "containerd": dir.join("containerd.sock"),
        "data-root": dir.join("data"),
        "exec-root": dir.join("exec"),
        "pidfile": dir.join("dockerd.pid"),
        "deprecated-key-path": dir.join("key.json"),
        "storage-driver": "overlay2",
        // The names of slices are another language; every machine knows this one.
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": format!("/{cgroup}"),
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-masq": false,
        "ip-forward": false,
        "shutdown-timeout": 1,
    });
    if let Some(tls) = extras.tls {
        settings["hosts"] = json!([api.address(), tls.address()]);
        settings["tlsverify"] = json!(true);
        for (setting, file) in [("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem")] {
            settings[setting] = json!(tls.of_server(file));
        }
    }
    if let Some(user) = extras.remap {
        settings["userns-remap"] = json!(user);
    }
    if let Ok(runsc) = find("runsc", "runsc") {
        // Its own network stack fails on some machines, and KVM is not everywhere. The host's stack is that of the
        // container's namespace, which has no network.
        let arguments = ["--platform=ptrace", "--network=host"];
        settings["runtimes"] = json!({"runsc": {"path": runsc, "runtimeArgs": arguments}});
    }
    settings.to_string()
}
