//! The seam's side of this driver: both roads, and what stays on disk between them.

use crate::{
    cgroup::{Entry, Group, Hierarchy},
    client::{self, Client},
    conversation::Conversation,
    defaults::Defaults,
    idmap::{self, IdMap},
    init::Inheritance,
    launch::{Init, launch},
    plan::{Disk, History, Net, OverlayUpper, Plan},
    probe,
    process::{self, Pipes, RemoteControl},
    purge::purge,
    runs::{self, Run},
    sandbox::{Lifeline, NativeSandbox, check_user},
    sources,
    uplink::CapturedUplink,
    wire::{Exec, Reply},
};
use agentkernel_backend::{
    Admitted, Backend, ByteSource, CreateInputs, Driver, DriverState, Exit, Gateway, Health, Host, Owned,
    Process, Refusal, Sandbox, admit,
};
use agentkernel_model::{
    Error, Kind, Result,
    capabilities::{Boundary, Capabilities, Class, Egress, Support},
    command::{ExecSpec, User},
    id::{BackendId, SandboxId},
    limits::Limits,
    mount::Workspace,
    policy::RootAccess,
    spec::{Lifetime, SandboxSpec},
};
use async_trait::async_trait;
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The registration of this backend.
pub const DRIVER: Driver = Driver {
    id: "native",
    aliases: &["embedded"],
    class: Class::Local,
    isolation: Boundary::Kernel,
    auto_rank: Some(4),
    build,
};

fn build(host: &Host) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(Native { host: host.clone(), hierarchy: OnceLock::new(), overlay: OnceLock::new() }))
}

/// As [`build`], with groups that a test chose.
#[cfg(test)]
pub(crate) fn build_with(host: &Host, hierarchy: Hierarchy) -> Arc<dyn Backend> {
    Arc::new(Native { host: host.clone(), hierarchy: hierarchy.into(), overlay: OnceLock::new() })
}

#[derive(Debug)]
struct Native {
    host: Host,
    hierarchy: OnceLock<Hierarchy>,
    overlay: OnceLock<OverlayUpper>,
}

/// Version 1 of this driver's state.
const STATE_VERSION: u32 = 1;
const STATE_FILE: &str = "state.json";
const GROUP_FILE: &str = "cgroup";
/// Exists once a named sandbox has been up: from then on its root may hold whatever its commands put there.
const STARTED_FILE: &str = "started";
/// How long a healthy init takes for anything at most.
const STUCK: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct State {
    map: IdMap,
    env: Vec<(String, String)>,
    workdir: agentkernel_model::path::GuestPath,
    user: User,
    /// States of before images had users are about root's.
    #[serde(default = "root")]
    home_of: Option<User>,
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the type of the field")]
const fn root() -> Option<User> {
    Some(User::ROOT)
}

impl State {
    fn new(map: IdMap, defaults: &Defaults) -> Self {
        let Defaults { env, workdir, user, home_of } = defaults.clone();
        Self { map, env, workdir, user, home_of }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            env: self.env.clone(),
            workdir: self.workdir.clone(),
            user: self.user,
            home_of: self.home_of,
        }
    }
}

impl Native {
    fn hierarchy(&self) -> &Hierarchy {
        self.hierarchy.get_or_init(Hierarchy::find)
    }

    /// Whether overlays can keep their upper directories in the data directory: not on another overlay, nor on network
    /// and FUSE file systems.
    fn overlay_upper(&self) -> OverlayUpper {
        const IMPOSSIBLE: [u32; 5] = [0x794c_7630, 0x6969, 0x6573_5546, 0xff53_4d42, 0x4d44];
        *self.overlay.get_or_init(|| {
            let existing = self.host.data.ancestors().find(|a| a.exists());
            let magic = existing.and_then(|p| rustix::fs::statfs(p).ok()).map(|s| s.f_type);
            match magic {
                Some(magic) if IMPOSSIBLE.iter().any(|m| i64::from(*m) == magic) => OverlayUpper::Impossible,
                _ => OverlayUpper::Possible,
            }
        })
    }

    fn dir(&self, id: SandboxId) -> PathBuf {
        self.host.sandbox_dir(id).join("native")
    }

    fn disk(&self, layers: PathBuf, root: PathBuf) -> Disk {
        let started = root.parent().is_some_and(|dir| dir.join(STARTED_FILE).exists());
        let history = if started { History::Used } else { History::New };
        Disk { root, history, layers, overlay_upper: self.overlay_upper() }
    }

    /// The map that a removal of leftovers uses: the widest that this user has.
    fn widest_map(&self) -> IdMap {
        IdMap::choose(self.host.uid, self.host.gid, &self.host.login, idmap::Need::Many, None)
    }

    /// Ends init and with it everything inside. One that does not go by itself is killed through its control group.
    async fn end(&self, dir: &Path, grace: Duration) -> Result<()> {
        match tokio::time::timeout(grace + STUCK, Client::stop(dir, grace)).await {
            Ok(ended) => ended.map(drop),
            Err(_) => match self.group_of(dir) {
                Some(group) => group.remove().map_err(|e| Error::io("cannot end the sandbox's processes", e)),
                None => Err(Error::new(Kind::Timeout, "the sandbox does not end")
                    .with_hint("end its process 'agentkernel keeper' with SIGKILL")),
            },
        }
    }

    fn state(&self, state: &DriverState) -> Result<State> {
        state.decode(STATE_VERSION)
    }

    fn group_of(&self, dir: &Path) -> Option<Group> {
        Group::from_text(&std::fs::read_to_string(dir.join(GROUP_FILE)).ok()?)
    }

    fn group(&self, id: SandboxId) -> Option<Group> {
        self.hierarchy().group(&id.to_string())
    }
}

/// Makes `group` if init must be born in it, or if it must not: each at its own moment.
fn make_group(group: Option<&Group>, birthplace: bool, plan: &Plan) -> Result<Entry> {
    let wanted = group.filter(|g| g.is_birthplace() == birthplace);
    let made = wanted.map(|g| g.create(&plan.limits)).transpose();
    Ok(made.map_err(|e| Error::io("cannot make the sandbox's control group", e))?.unwrap_or_default())
}

/// Starts init in `group`, which is returned as it was made. `record` writes down what to remove after a crash, before
/// anything is made, and again where a scope is, once that is known.
fn begin(
    plan: &Plan,
    mut group: Option<Group>,
    inherit: impl FnOnce(OwnedFd) -> Inheritance,
    mut record: impl FnMut(Option<&Group>) -> Result<()>,
) -> Result<(Init, OwnedFd, Option<Group>)> {
    // Init needs these at once where it is born in the group, or opens the layers itself.
    let at_once = group.as_ref().is_some_and(Group::is_birthplace) || plan.map.is_users();
    if at_once {
        record(group.as_ref()).and_then(|()| prepare(plan))?;
    }
    let entry = make_group(group.as_ref(), true, plan)?;
    let (init, control) = launch(plan, entry.birthplace(), inherit, |pid| {
        if !at_once {
            record(group.as_ref()).and_then(|()| prepare(plan))?;
        }
        if let Some(scope) = group.as_mut().filter(|g| g.is_scope()) {
            scope.enclose(pid, &plan.limits)?;
            record(Some(scope))?;
        }
        make_group(group.as_ref(), false, plan)
    })?;
    Ok((init, control, group))
}

fn cannot_make(path: &Path, source: std::io::Error) -> Error {
    let error = Error::io(format!("cannot make {}", path.display()), source);
    if error.kind() != Kind::Exhausted {
        return error;
    }
    error.with_hint("free some space, or set XDG_DATA_HOME to a directory on another disk")
}

/// Makes directories of the sandbox's own and gives them to its root.
fn prepare(plan: &Plan) -> Result<()> {
    for directory in sources::directories(plan) {
        let failed = |e| cannot_make(&directory.path, e);
        make_passable(&directory.path).map_err(failed)?;
        directory.own(&plan.map).map_err(failed)?;
    }
    Ok(())
}

/// Makes `path` and what is missing above it so that the sandbox's root, who is another user, can go through it, whatever
/// the caller's umask says. Whoever else is kept out by the data directory.
fn make_passable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::create_dir(path) {
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => match path.parent() {
            Some(parent) => make_passable(parent).and_then(|()| make_passable(path)),
            None => Err(e),
        },
        Err(e) => Err(e),
    }
}

/// Waits until init is complete and gives its network to the gateway.
async fn up(control: &Conversation, plan: &Plan, gateway: Option<&Arc<dyn Gateway>>) -> Result<()> {
    match control.recv().await? {
        Some(Reply::Up { network: false }) => Ok(()),
        Some(Reply::Up { network: true }) => {
            let mut sockets: Vec<OwnedFd> = Vec::new();
            while let Ok(socket) = control.take_fd() {
                sockets.push(socket);
            }
            let Net::Gateway(udp) = plan.network else {
                return Err(Error::internal("a sandbox without a network sent one"));
            };
            let uplink = Box::new(CapturedUplink::new(sockets, udp)?);
            match gateway {
                Some(gateway) => gateway.serve(uplink),
                // Nobody listens: every connection of the sandbox is reset.
                None => drop(uplink),
            }
            Ok(())
        }
        other => Err(process::unexpected(other, &Exec::none())),
    }
}

/// An ephemeral sandbox while it lives: dropping it ends and removes everything, in this order.
struct Ephemeral {
    control: Arc<Conversation>,
    init: Init,
    run: Option<Run>,
}

impl Ephemeral {
    async fn finish(mut self, exec: &Exec) -> Result<Exit> {
        let group = self.run.as_ref().and_then(Run::group);
        let out_of_memory = || group.is_some_and(Group::out_of_memory);
        let exit = process::ended(&self.control, exec, &out_of_memory).await;
        let _cleaning = tracing::info_span!("clean up");
        if exit.is_ok() {
            let watch = |e| Error::io("cannot wait for the sandbox", e);
            let pidfd = crate::sys::watch(self.init.pidfd().try_clone().map_err(watch)?).map_err(watch)?;
            pidfd.readable().await.map_err(watch)?.retain_ready();
            self.init.reap();
        }
        // An init that has not ended by itself is ended here, and then nobody is in the group.
        let Self { init, run, .. } = self;
        drop(init);
        drop(run);
        exit
    }
}

#[async_trait]
impl Backend for Native {
    fn id(&self) -> BackendId {
        BackendId::new(DRIVER.id)
    }

    fn capabilities(&self) -> Capabilities {
        let hierarchy = self.hierarchy();
        let has = |controller| Support::from_test(hierarchy.has(controller));
        let disk = Support::from_test(self.overlay_upper() == OverlayUpper::Possible);
        Capabilities {
            boundary: Boundary::Kernel,
            egress: Egress::HostGateway,
            limit_memory: has("memory"),
            limit_cpus: has("cpu"),
            // Without a control group RLIMIT_NPROC of the sandbox's own user namespace holds, for each of its users.
            limit_pids: if hierarchy.has("pids") {
                Support::Yes
            } else {
                Support::from_test(!self.widest_map().has(1))
            },
            users: Support::from_test(self.widest_map().has(1)),
            mounts: Support::Yes,
            workspace_view: Support::Yes,
            read_only_root: Support::Yes,
            // Files of the host belong to the host's root, who exists inside only where owners can be translated.
            image_changes: Support::from_test(self.host.uid == 0),
            own_files: Support::Yes,
            terminal: Support::Yes,
            publish_ports: Support::Yes,
            named: disk,
            runtimes: Support::No,
        }
    }

    async fn probe(&self) -> Health {
        probe::probe(&self.host, self.hierarchy())
    }

    fn admit(&self, spec: &SandboxSpec) -> Result<Admitted, Vec<Refusal>> {
        let mut extra = Vec::new();
        let needs_disk = spec.lifetime == Lifetime::Named
            && (spec.policy.root == RootAccess::ReadWrite || matches!(spec.workspace, Workspace::View(_)));
        if needs_disk && self.overlay_upper() == OverlayUpper::Impossible {
            extra.push(Refusal::new(
                format!("a writable disk in {}, whose file system cannot hold one", self.host.data.display()),
                "set XDG_DATA_HOME to a directory on ext4, xfs, btrfs or tmpfs",
            ));
        }
        let map = self.widest_map();
        if spec.user.is_some_and(|u| !u.is_root()) && !map.has(1) {
            extra.push(Refusal::new(
                "a user other than root, because this user has no subordinate ids",
                "install the package uidmap and add a line to /etc/subuid and /etc/subgid (usermod --add-subuids)",
            ));
        } else if let Some(user) = spec.user.filter(|u| !map.has(u.uid) || !map.has(u.gid)) {
            extra.push(Refusal::new(
                format!("the user {}:{}, whom its user namespace has no room for", user.uid, user.gid),
                "choose smaller numbers, such as --user 1000:1000",
            ));
        }
        let mut can = self.capabilities();
        // Refused above, with the reason.
        can.users = Support::Yes;
        admit::admit(&self.id(), spec, &can, extra)
    }

    async fn create(&self, inputs: CreateInputs) -> Result<DriverState> {
        let dir = self.dir(inputs.id);
        let plan = Plan::new(&self.host, &inputs, None, &self.disk(dir.join("layers"), dir.join("root")))?;
        let state = State::new(plan.map.clone(), &plan.defaults);
        let made = std::fs::create_dir_all(&dir).map_err(|e| cannot_make(&dir, e));
        let made = made.and_then(|()| prepare(&plan)).and_then(|()| {
            let state = DriverState::encode(STATE_VERSION, &state)?;
            let json = serde_json::to_vec(&state)
                .map_err(|e| Error::internal("cannot encode state").with_source(e))?;
            let path = dir.join(STATE_FILE);
            std::fs::write(&path, json)
                .map_err(|e| Error::io(format!("cannot write {}", path.display()), e))?;
            Ok(state)
        });
        if made.is_err() {
            let _ = purge(&dir, &plan.map);
        }
        made
    }

    async fn start(
        &self,
        inputs: CreateInputs,
        state: &DriverState,
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<(DriverState, Arc<dyn Sandbox>)> {
        if let Some(running) = self.attach(inputs.id, state).await? {
            return Ok((state.clone(), running));
        }
        let known = self.state(state)?;
        let dir = self.dir(inputs.id);
        let mut plan =
            Plan::new(&self.host, &inputs, None, &self.disk(dir.join("layers"), dir.join("root")))?;
        plan.keep_map(known.map.clone());
        if let Some(stale) = self.group_of(&dir) {
            stale.remove().map_err(|e| Error::io("cannot remove the control group of the last start", e))?;
        }
        let planned = self.hierarchy().counted_group(&inputs.id.to_string());
        let record = |group: Option<&Group>| match group {
            Some(group) => std::fs::write(dir.join(GROUP_FILE), group.to_text())
                .map_err(|e| Error::io(format!("cannot write in {}", dir.display()), e)),
            None => Ok(()),
        };
        let listener = client::listener(&dir, client::SOCKET)?;
        let inherit = |control| Inheritance { control, listener: Some(listener), first: None };
        let started = begin(&plan, planned.clone(), inherit, record).and_then(|(init, control, group)| {
            Ok(Lifeline { init, group, control: Arc::new(Conversation::new(control)?) })
        });
        let lifeline = match started {
            Ok(lifeline) => lifeline,
            Err(error) => {
                planned.iter().for_each(|g| drop(g.remove()));
                return Err(error);
            }
        };
        let group = lifeline.group.clone();
        let complete = tokio::time::timeout(3 * STUCK, up(&lifeline.control, &plan, gateway.as_ref())).await;
        complete.map_err(|_| Error::new(Kind::Timeout, "the sandbox did not come up"))??;
        std::fs::write(dir.join(STARTED_FILE), "")
            .map_err(|e| Error::io(format!("cannot write in {}", dir.display()), e))?;
        // Those of this start: its rules may be others than those that it was made with.
        let now = State::new(plan.map.clone(), &plan.defaults);
        let sandbox = NativeSandbox {
            client: Client::new(dir, plan.defaults),
            map: plan.map,
            group,
            lifeline: Some(lifeline),
        };
        Ok((DriverState::encode(STATE_VERSION, &now)?, Arc::new(sandbox)))
    }

    async fn attach(&self, id: SandboxId, state: &DriverState) -> Result<Option<Arc<dyn Sandbox>>> {
        let dir = self.dir(id);
        if client::connect(&dir)?.is_none() {
            return Ok(None);
        }
        let known = self.state(state)?;
        let group = self.group_of(&dir);
        Ok(Some(Arc::new(NativeSandbox {
            client: Client::new(dir, known.defaults()),
            map: known.map,
            group,
            lifeline: None,
        })))
    }

    async fn stop(&self, id: SandboxId, state: &DriverState, grace: Duration) -> Result<DriverState> {
        let dir = self.dir(id);
        self.end(&dir, grace).await?;
        if let Some(group) = self.group_of(&dir) {
            group.remove().map_err(|e| Error::io("cannot remove the sandbox's control group", e))?;
        }
        Ok(state.clone())
    }

    async fn resize(&self, id: SandboxId, _state: &DriverState, limits: &Limits) -> Result<()> {
        let dir = self.dir(id);
        if client::connect(&dir)?.is_none() {
            // Each start makes its control group anew.
            return Ok(());
        }
        let group = self.group_of(&dir).ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                "the sandbox has no control group, so that its limits cannot change",
            )
            .with_hint("see 'agentkernel doctor'; a new start may give it one")
        })?;
        group.set(limits)
    }

    async fn destroy(&self, id: SandboxId, state: Option<&DriverState>) -> Result<()> {
        let map = state.and_then(|s| self.state(s).ok()).map_or_else(|| self.widest_map(), |s| s.map);
        let placeholder = DriverState::encode(STATE_VERSION, &())?;
        self.stop(id, state.unwrap_or(&placeholder), Duration::ZERO).await?;
        let dir = self.dir(id);
        purge(&dir, &map).map_err(|e| Error::io(format!("cannot remove {}", dir.display()), e))
    }

    async fn list_owned(&self) -> Result<Vec<Owned>> {
        runs::sweep(&self.host.runs_dir(), &self.widest_map());
        let Ok(entries) = std::fs::read_dir(self.host.data.join("sandboxes")) else { return Ok(Vec::new()) };
        let mut owned = Vec::new();
        for entry in entries.filter_map(std::result::Result::ok) {
            let Ok(id) = SandboxId::parse(&entry.file_name().to_string_lossy()) else { continue };
            if !self.dir(id).exists() {
                continue;
            }
            let state = std::fs::read(self.dir(id).join(STATE_FILE)).ok();
            let state = state.and_then(|json| serde_json::from_slice(&json).ok());
            let state = state.map_or_else(|| DriverState::encode(STATE_VERSION, &()), Ok)?;
            owned.push(Owned { id, state });
        }
        Ok(owned)
    }

    async fn run_once(
        &self,
        inputs: CreateInputs,
        command: &ExecSpec,
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<Process> {
        let runs_dir = self.host.runs_dir();
        runs::sweep(&runs_dir, &self.widest_map());
        let run_path = runs_dir.join(inputs.id.to_string());
        let disk = self.disk(runs::layers(&run_path), run_path.clone());
        let plan = Plan::new(&self.host, &inputs, command.user, &disk)?;
        let exec = plan.command(command);
        check_user(&plan.map, &exec)?;
        let failed = |e: rustix::io::Errno| cannot_make(&run_path, e.into());
        let pipes = Pipes::new(command.stdio, plan.map.host_ids(exec.uid, exec.gid))?;
        let (streams, ends) = match pipes {
            Some(p) => (Some((p.stdin, ByteSource::Fd(p.stdout), ByteSource::Fd(p.stderr))), Some(p.inside)),
            None => (None, None),
        };
        let first = Some((exec.clone(), ends));
        let inherit = |control| Inheritance { control, listener: None, first };
        let mut run: Option<Run> = None;
        let record = |group: Option<&Group>| {
            let run = match &mut run {
                Some(run) => run,
                none => none.insert(Run::create(&run_path, plan.map.clone()).map_err(failed)?),
            };
            group.map_or(Ok(()), |group| run.record(group.clone())).map_err(failed)
        };
        let isolating = || begin(&plan, self.group(inputs.id), inherit, record);
        let (init, control, _) = tracing::info_span!("isolate").in_scope(isolating)?;
        let control = Arc::new(Conversation::new(control)?);
        let ephemeral = Ephemeral { control: Arc::clone(&control), init, run };
        if plan.network != Net::Off {
            up(&control, &plan, gateway.as_ref()).await?;
        }
        let (stdin, stdout, stderr) = match streams {
            Some(streams) => streams,
            None => {
                let (input, output) = process::terminal(&control, &exec).await?;
                (input, output, ByteSource::Empty)
            }
        };
        let exit = Box::pin(async move { ephemeral.finish(&exec).await });
        Ok(Process { stdin, stdout, stderr, control: Box::new(RemoteControl(control)), exit })
    }
}
