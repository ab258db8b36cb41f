//! The programs that agentkernel is compared with, made ready: a runc container and a Docker container from one
//! busybox root file system.

use super::command::quiet;
use crate::{Outcome, suite::on_path};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// A root file system with busybox and nothing else.
pub(super) fn busybox_rootfs(dir: &Path) -> Result<PathBuf, String> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|p| p.exists());
    let busybox = busybox.ok_or("busybox is not installed: apt-get install busybox-static")?;
    let rootfs = dir.join("rootfs");
    let make = || -> std::io::Result<()> {
        for place in ["bin", "proc", "dev", "tmp"] {
            fs::create_dir_all(rootfs.join(place))?;
        }
        fs::copy(busybox, rootfs.join("bin/busybox"))?;
        for applet in ["sh", "true", "sleep"] {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        Ok(())
    };
    make().map_err(|error| format!("no busybox root file system: {error}"))?;
    Ok(rootfs)
}

/// A running runc container; deleted when dropped.
#[derive(Debug)]
pub(super) struct Runc {
    state: PathBuf,
}

impl Runc {
    const NAME: &str = "agentkernel-bench";

    pub(super) fn start(dir: &Path, rootfs: &Path) -> Result<Self, String> {
        if !on_path("runc") {
            return Err("runc is not installed: apt-get install runc".to_owned());
        }
        let bundle = dir.join("bundle");
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let config = runc_config(rootfs, (uid != 0).then_some((uid, gid)));
        let state = dir.join("runc");
        let write = || -> Outcome<()> {
            fs::create_dir_all(&bundle)?;
            fs::create_dir_all(&state)?;
            fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
            Ok(())
        };
        write().map_err(|error| format!("no runc bundle: {error}"))?;
        let container = Self { state };
        let mut run = container.command();
        run.args(["run", "--detach", "--bundle"]).arg(&bundle).arg(Self::NAME);
        quiet(&mut run, &dir.join("runc.log")).map_err(|why| format!("runc run: {why}"))?;
        Ok(container)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.state);
        command
    }

    /// The words of `runc exec .. true`.
    pub(super) fn exec(&self) -> Vec<String> {
        let state = self.state.display().to_string();
        ["runc", "--root", &state, "exec", Self::NAME, "/bin/true"].map(str::to_owned).to_vec()
    }
}

impl Drop for Runc {
    fn drop(&mut self) {
        if let Err(error) = self.command().args(["delete", "--force", Self::NAME]).output() {
            eprintln!("bench: the runc container is left behind: {error}");
        }
    }
}

/// Namespaces like ours, no seccomp filter and no limits: what makes runc fast.
fn runc_config(rootfs: &Path, user: Option<(u32, u32)>) -> Value {
    let mut namespaces = vec!["pid", "mount", "ipc", "uts", "network"];
    let mut linux = json!({ "rootfsPropagation": "rprivate" });
    if let Some((uid, gid)) = user {
        namespaces.push("user");
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    }
    linux["namespaces"] = namespaces.iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
            "args": ["/bin/sleep", "1000000"], "noNewPrivileges": true,
        },
        "root": {"path": rootfs, "readonly": true},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ],
        "linux": linux,
    })
}

/// A running Docker container of the busybox root file system; removed with its image when dropped.
#[derive(Debug)]
pub(super) struct Docker {
    container: String,
}

impl Docker {
    pub(super) const IMAGE: &str = "agentkernel-bench:busybox";

    pub(super) fn start(dir: &Path, rootfs: &Path) -> Result<Self, String> {
        if !on_path("docker") {
            return Err("docker is not installed".to_owned());
        }
        let log = dir.join("docker.log");
        let mut version = Command::new("docker");
        version.args(["version", "--format", "{{.Server.Version}}"]);
        quiet(&mut version, &log).map_err(|why| format!("no Docker engine answers: {why}"))?;
        let archive = dir.join("rootfs.tar");
        quiet(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(rootfs).arg("."), &log)?;
        quiet(Command::new("docker").arg("import").arg(&archive).arg(Self::IMAGE), &log)?;
        let container = format!("agentkernel-bench-{}", std::process::id());
        let docker = Self { container };
        let mut run = Command::new("docker");
        run.args([
            "run",
            "--detach",
            "--init",
            "--network",
            "none",
            "--name",
            &docker.container,
            Self::IMAGE,
        ]);
        run.args(["/bin/sleep", "1000000"]);
        quiet(&mut run, &log).map_err(|why| format!("docker run: {why}"))?;
        Ok(docker)
    }

    pub(super) fn exec(&self) -> Vec<String> {
        ["docker", "exec", &self.container, "/bin/true"].map(str::to_owned).to_vec()
    }

    pub(super) fn run() -> Vec<String> {
        ["docker", "run", "--rm", "--network", "none", Self::IMAGE, "/bin/true"].map(str::to_owned).to_vec()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        for words in [&["rm", "--force", &self.container][..], &["rmi", Self::IMAGE]] {
            if let Err(error) = Command::new("docker").args(words).output() {
                eprintln!("bench: docker {}: {error}", words.join(" "));
            }
        }
    }
}
