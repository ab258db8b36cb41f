//! Both roads of the driver where systemd makes the groups: what is asked, recorded and left.

use super::{ALL, Daemon, LONG, limits, me, mover, v2_root};
use crate::cgroup::{Hierarchy, Version};
use agentkernel_backend::{
    Backend, CreateInputs, Exit, Graft, Health, Host, ImageDefaults, Lease, Owners, Rootfs, rootfs::Layer,
};
use agentkernel_model::{
    Kind,
    command::{Argv, ExecSpec, Stdio},
    id::SandboxId,
    image::ImageRef,
    mount::Workspace,
    policy::{EffectivePolicy, Profile},
    spec::{Isolation, Lifetime, SandboxSpec},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

struct Scene {
    daemon: Daemon,
    /// The hierarchy that processes are moved in, and the directory that stands for it where limits are read.
    v2: PathBuf,
    files: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl Scene {
    fn set() -> Option<Self> {
        let (v2, daemon) = (v2_root()?, Daemon::start("")?);
        if me() != 0 {
            println!("skipped: only root may move processes in this hierarchy");
            return None;
        }
        let (files, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Some(Self { daemon, v2, files, data })
    }

    fn backend(&self, patience: Duration) -> Arc<dyn Backend> {
        let gid = rustix::process::getegid().as_raw();
        let (data, exe) = (self.data.path().to_owned(), PathBuf::from("/proc/self/exe"));
        let host = Host {
            data,
            exe,
            uid: me(),
            gid,
            login: "root".to_owned(),
            surroundings: agentkernel_backend::Surroundings::default(),
        };
        let hierarchy = Hierarchy {
            kind: Version::Scope,
            bases: ALL.map(|c| (c, self.v2.clone())).to_vec(),
            accounts: None,
            manager: Some(self.daemon.manager(self.files.path(), patience)),
        };
        crate::backend::build_with(&host, hierarchy)
    }

    fn systemd(&self) -> std::thread::JoinHandle<()> {
        let (v2, files) = (self.v2.clone(), self.files.path().to_owned());
        self.daemon.systemd(mover(v2, files, "67108864\n"))
    }

    /// The one scope of sandbox `id`.
    fn scope(&self, id: SandboxId) -> PathBuf {
        let prefix = format!("agentkernel-{id}-");
        let entries = fs::read_dir(&self.v2).unwrap().map(|e| e.unwrap().path());
        let ours = |p: &PathBuf| p.file_name().unwrap().to_string_lossy().starts_with(&prefix);
        let [scope] = entries.filter(ours).collect::<Vec<_>>().try_into().expect("one scope");
        scope
    }

    /// The record of a group whose v2 directory is `scope`.
    fn record(&self, scope: &Path) -> String {
        let dir = self.files.path().join(scope.file_name().unwrap());
        format!("systemd\n{}", ALL.map(|c| format!("{c} {}\n", dir.display())).concat())
    }
}

fn inputs(backend: &dyn Backend, id: SandboxId, lifetime: Lifetime) -> CreateInputs {
    let mut policy = EffectivePolicy::of_profile(Profile::Restrictive);
    policy.limits = limits();
    let spec = SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy,
        isolation: Isolation::Any,
        lifetime,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    };
    let usr = Graft { source: "/usr".into(), target: "/usr".parse().unwrap(), layer: Layer::ReadOnly };
    let links = ["bin", "lib", "lib64"].map(|l| (format!("/{l}").parse().unwrap(), format!("usr/{l}")));
    let rootfs = Rootfs {
        identity: "test".to_owned(),
        layers: Vec::new(),
        grafts: vec![usr],
        links: links.to_vec(),
        directories: Vec::new(),
        files: Vec::new(),
        defaults: ImageDefaults::default(),
        env: vec![("PATH".to_owned(), "/usr/bin".to_owned())],
        owners: Owners::Single,
    };
    CreateInputs { admitted: backend.admit(&spec).unwrap(), id, rootfs: Lease::unguarded(rootfs) }
}

fn cat() -> ExecSpec {
    let argv = Argv::new(vec!["cat".to_owned(), "/proc/self/cgroup".to_owned(), "-".to_owned()]).unwrap();
    ExecSpec { argv, env: Vec::new(), workdir: None, user: None, stdio: Stdio::Pipes }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_run_is_in_its_scope_recorded_and_gone() {
    let Some(scene) = Scene::set() else { return };
    let systemd = scene.systemd();
    let (backend, id) = (scene.backend(LONG), SandboxId::new());
    let output = block_on(async {
        let inputs = inputs(&*backend, id, Lifetime::Ephemeral);
        let process = backend.run_once(inputs, &cat(), None).await.unwrap();
        let scope = scene.scope(id);
        let recorded = fs::read_to_string(scene.data.path().join(format!("runs/{id}"))).unwrap();
        assert_eq!(recorded, scene.record(&scope));
        let members = fs::read_to_string(scope.join("cgroup.procs")).unwrap();
        assert!(members.lines().count() >= 1, "{members}");
        process.output(1 << 16).await.unwrap()
    });
    systemd.join().unwrap();
    assert_eq!(output.exit, Exit::Code(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().any(|l| l == "0::/"), "inside, the scope is the root of the hierarchy: {text}");
    assert!(!scene.data.path().join(format!("runs/{id}")).exists());
    fs::remove_dir(scene.scope(id)).expect("nothing lives in the scope");
}

#[test]
fn a_named_sandbox_starts_again_in_another_scope() {
    let Some(scene) = Scene::set() else { return };
    let (backend, id) = (scene.backend(LONG), SandboxId::new());
    block_on(async {
        let mut state = backend.create(inputs(&*backend, id, Lifetime::Named)).await.unwrap();
        for _ in 0..2 {
            let systemd = scene.systemd();
            let (after, sandbox) =
                backend.start(inputs(&*backend, id, Lifetime::Named), &state, None).await.unwrap();
            systemd.join().unwrap();
            let scope = scene.scope(id);
            let file = scene.data.path().join(format!("sandboxes/{id}/native/cgroup"));
            assert_eq!(fs::read_to_string(file).unwrap(), scene.record(&scope));
            assert_eq!(sandbox.stats().await.unwrap().pids, Some(3), "as the group's files say");
            state = backend.stop(id, &after, Duration::ZERO).await.unwrap();
            drop(sandbox);
            fs::remove_dir(scope).expect("nothing lives in the scope");
        }
        backend.destroy(id, Some(&state)).await.unwrap();
    });
}

#[test]
fn a_systemd_that_says_no_leaves_nothing_running() {
    let Some(scene) = Scene::set() else { return };
    // Nobody owns systemd's name on this bus.
    let (backend, id) = (scene.backend(LONG), SandboxId::new());
    block_on(async {
        let error =
            backend.run_once(inputs(&*backend, id, Lifetime::Ephemeral), &cat(), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(error.hint().is_some());
        assert_eq!(fs::read_dir(scene.data.path().join("runs")).unwrap().count(), 0);
        match backend.probe().await {
            Health::Unhealthy { reason, hint } => {
                assert!(
                    reason.contains("made no control group") && hint.contains("systemctl"),
                    "{reason}: {hint}"
                );
            }
            other => panic!("{other:?}"),
        }
    });
}
