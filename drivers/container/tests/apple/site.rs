//! One test's own `container`, and sandboxes on it.

use agentkernel_backend::{
    Backend, CreateInputs, DriverState, Host, ImageDefaults, Lease, Owners, Rootfs, Sandbox, Surroundings,
    process::Output,
};
use agentkernel_model::{
    command::{Argv, ExecSpec, Stdio},
    id::SandboxId,
    limits::Limits,
    mount::Workspace,
    policy::{EffectivePolicy, Network, Profile},
    spec::{Isolation, Lifetime, SandboxSpec},
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

pub(crate) struct Site {
    place: tempfile::TempDir,
    pub(crate) backend: Arc<dyn Backend>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for directory in ["bin", "state", "data", "home"] {
            fs::create_dir(at(directory)).unwrap();
        }
        let standin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testkit/standins/container.py");
        fs::copy(standin, at("bin/container")).unwrap();
        fs::set_permissions(at("bin/container"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(at("data"), fs::Permissions::from_mode(0o700)).unwrap();
        let host = Host {
            data: at("data"),
            exe: "/nowhere".into(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            login: "tester".to_owned(),
            surroundings: Surroundings {
                home: Some(at("home")),
                path: vec![at("bin")],
                ..Surroundings::default()
            },
        };
        let backend = (agentkernel_container::APPLE.build)(&host).unwrap();
        Self { place, backend }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// From now on the command goes wrong in this way; with an empty `how` it works.
    pub(crate) fn fault(&self, command: &str, how: &str) {
        let text = serde_json::json!({ command: how }).to_string();
        fs::write(self.path("state/fault.json"), text).unwrap();
    }

    /// The words of every call so far that begins with `command`.
    pub(crate) fn calls(&self, command: &str) -> Vec<Vec<String>> {
        let all = fs::read_to_string(self.path("state/calls")).unwrap_or_default();
        let words = |line: &str| -> Vec<String> {
            let call: Value = serde_json::from_str(line).unwrap();
            call["words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_owned()).collect()
        };
        all.lines().map(words).filter(|words| words.first().is_some_and(|w| w == command)).collect()
    }

    /// Everything that any call was given, on its command line and in its environment.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path("state/calls")).unwrap_or_default()
    }

    /// Containers that the stand-in has.
    pub(crate) fn containers(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("state/containers")).into_iter().flatten();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A container of somebody else's, which is stopped.
    pub(crate) fn foreign(&self, name: &str, labels: &Value) {
        let directory = self.path("state/containers").join(name);
        fs::create_dir_all(&directory).unwrap();
        let container =
            serde_json::json!({ "id": name, "image": "alpine", "labels": labels, "flags": {}, "words": [] });
        fs::write(directory.join("container.json"), container.to_string()).unwrap();
    }

    /// busybox, and nothing else.
    pub(crate) fn rootfs(&self) -> Lease {
        let layer = self.path("layer");
        if !layer.exists() {
            fs::create_dir_all(layer.join("bin")).unwrap();
            fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
            let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
            for applet in String::from_utf8(applets.stdout).unwrap().lines().filter(|a| *a != "busybox") {
                symlink("busybox", layer.join("bin").join(applet)).unwrap();
            }
        }
        Lease::unguarded(Rootfs {
            identity: "busybox".to_owned(),
            layers: vec![layer],
            grafts: Vec::new(),
            links: Vec::new(),
            directories: Vec::new(),
            files: Vec::new(),
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            defaults: ImageDefaults::default(),
            owners: Owners::Single,
        })
    }

    pub(crate) fn inputs(&self, spec: &SandboxSpec) -> CreateInputs {
        CreateInputs {
            admitted: self.backend.admit(spec).unwrap(),
            id: SandboxId::new(),
            rootfs: self.rootfs(),
        }
    }

    /// A named sandbox that runs.
    pub(crate) async fn up(&self, spec: &SandboxSpec) -> Up {
        let inputs = self.inputs(spec);
        let id = inputs.id;
        let made = CreateInputs { admitted: inputs.admitted.clone(), id, rootfs: inputs.rootfs.clone() };
        let created = self.backend.create(made).await.unwrap();
        let (state, sandbox) = self.backend.start(inputs, &created, None).await.unwrap();
        Up { id, state, sandbox }
    }

    pub(crate) async fn destroy(&self, up: Up) {
        drop(up.sandbox);
        self.backend.destroy(up.id, Some(&up.state)).await.unwrap();
        assert_eq!(self.containers(), Vec::<String>::new());
    }
}

pub(crate) struct Up {
    pub(crate) id: SandboxId,
    pub(crate) state: DriverState,
    pub(crate) sandbox: Arc<dyn Sandbox>,
}

impl Up {
    pub(crate) async fn output(&self, script: &str) -> Output {
        self.sandbox.exec(&sh(script)).await.unwrap().output(1 << 20).await.unwrap()
    }

    pub(crate) async fn prints(&self, script: &str) -> String {
        String::from_utf8(self.output(script).await.stdout).unwrap()
    }
}

pub(crate) fn spec(lifetime: Lifetime) -> SandboxSpec {
    let mut policy = EffectivePolicy::of_profile(Profile::Moderate);
    policy.network = Network::Off;
    policy.limits = Limits { memory: None, cpus: None, pids: None };
    SandboxSpec {
        image: "tools:1".parse().unwrap(),
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy,
        isolation: Isolation::Vm,
        lifetime,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

pub(crate) fn command(words: &[&str], stdio: Stdio) -> ExecSpec {
    let argv = Argv::new(words.iter().map(|word| (*word).to_owned()).collect()).unwrap();
    ExecSpec { argv, env: Vec::new(), workdir: None, user: None, stdio }
}

pub(crate) fn sh(script: &str) -> ExecSpec {
    command(&["sh", "-c", script], Stdio::NoInput)
}
