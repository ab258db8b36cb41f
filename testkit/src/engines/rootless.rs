//! dockerd of an ordinary user, in the namespaces that rootlesskit makes, as `dockerd-rootless.sh` starts it.

use super::{Engine, api::Api, daemon::Daemon, find, place::Place};
use agentkernel_model::Result;
use serde_json::json;
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Names the engine in the environment of its helpers.
const MARKER: &str = "AGENTKERNEL_TEST_ENGINE";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Root's engines have directories at the same places, which here are links to them that can be taken away.
const BEGIN: &str = "rm -rf /run/docker /run/containerd /run/xtables.lock; exec \"$@\"";

pub(super) fn start(dir: &Path) -> Result<Engine> {
    let (rootlesskit, dockerd) = (find("rootlesskit", "rootlesskit")?, find("dockerd", "docker.io")?);
    find("containerd", "containerd")?;
    find("runc", "runc")?;
    let place = Place::make(dir, format!("{MARKER}={}", dir.display()), &[])?;
    let mut engine = Engine::new(Api::new(dir.join("api.sock")), place);
    // Dropping the engine on the way out ends what has been started.
    for private in ["home", "run"] {
        engine.place.directory(private)?;
    }
    let config = engine.place.file("daemon.json", &settings(dir, &engine.api))?;
    engine.purge = Some(purge(&rootlesskit, dir));
    engine.daemons.push(Daemon::start("dockerd", &rootlesskit, dir, |command| {
        set_up(command, dir);
        // Containers have no network but their own loopback.
        command.args(["--net=host", "--copy-up=/etc", "--copy-up=/run", "--propagation=rslave"]);
        command.args(["/bin/sh", "-c", BEGIN, "sh"]).arg(&dockerd).args(["--rootless", "--config-file"]);
        command.arg(&config);
    })?);
    engine.api.ping()?;
    Ok(engine)
}

fn set_up(command: &mut Command, dir: &Path) {
    command.env("PATH", PATH).env(MARKER, dir).env("HOME", dir.join("home"));
    command.env("XDG_RUNTIME_DIR", dir.join("run")).arg("--state-dir").arg(dir.join("rootlesskit"));
}

/// Files of users inside belong to subordinate ids outside: only who has the mapping can remove them.
fn purge(rootlesskit: &Path, dir: &Path) -> Command {
    let mut command = Command::new(rootlesskit);
    command.env_clear().current_dir("/").stdin(Stdio::null());
    set_up(&mut command, dir);
    command.args(["rm", "-rf", "--"]).args([dir.join("data"), dir.join("exec")]);
    command
}

fn settings(dir: &Path, api: &Api) -> String {
    json!({
        "hosts": [api.address()],
        "data-root": dir.join("data"),
        "exec-root": dir.join("exec"),
        "pidfile": dir.join("dockerd.pid"),
        "deprecated-key-path": dir.join("key.json"),
        "storage-driver": "overlay2",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-masq": false,
        "ip-forward": false,
        "shutdown-timeout": 1,
    })
    .to_string()
}
