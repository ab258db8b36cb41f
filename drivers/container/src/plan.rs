//! A sandbox as the engine is asked for it: every wall that the policy wants, as fields of one request.

use crate::{
    engine::{Engine, Sight},
    facts::Facts,
    flavor::Flavor,
    installation::Installation,
    mounts::{self, Overlays},
    places::Place,
    stream,
};
use agentkernel_archive::Ownership;
use agentkernel_backend::{CreateInputs, gateway::RESOLVER};
use agentkernel_guest::{
    agent::{self, Road},
    walls::{Confinement, HostFiles},
};
use agentkernel_model::{
    Result,
    capset::CapSet,
    id::SandboxId,
    limits::Limits,
    mount::{Access, Workspace},
    policy::{EffectivePolicy, Network, RootAccess},
    spec::{Lifetime, SandboxSpec},
};
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, ResourcesUlimits,
};
use rustix::process::Resource;
use std::{collections::HashMap, path::Path};

/// The label of everything that belongs to a sandbox: its id.
pub(crate) const LABEL: &str = "sh.agentkernel.sandbox";
pub(crate) use crate::places::OWNER_LABEL;
/// The label of sandboxes that end with one command.
pub(crate) const EPHEMERAL_LABEL: &str = "sh.agentkernel.ephemeral";

/// What the agent itself needs, and no command gets beyond its policy: to unpack archives with their owners, to become
/// another user, to drop what a command may not have, to give
/// streams away, to end other users' processes, and with a gateway to redirect the sandbox's own network.
const AGENT_CAPS: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETPCAP", "SETUID"];
/// What agentkernel's own files take at most: two bundles of certificates, and secrets.
const OWN_FILES_BYTES: u64 = 32 << 20;
const NETWORK_CAP: &str = "NET_ADMIN";
/// To make the socket that answers UDP, which the keeper gets.
const PACKET_CAP: &str = "NET_RAW";

/// Variables by which something could be loaded into the agent (ld.so(8)).
pub(crate) const OF_INTERPRETER: [&str; 6] =
    ["GLIBC_TUNABLES", "LD_AUDIT", "LD_DEBUG_OUTPUT", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_PROFILE"];

/// The exact name of a sandbox's container.
pub(crate) fn name(id: SandboxId) -> String {
    format!("agentkernel-{id}")
}

/// How a sandbox's agent and its keeper reach each other.
pub(crate) fn road(engine: &Engine, spec: &SandboxSpec) -> Road {
    let local = engine.sight == Sight::Here && stream::shares_kernel(runtime(engine, spec));
    if local { Road::Socket } else { Road::Streams }
}

/// The runtime that `spec` gets.
pub(crate) fn runtime<'a>(engine: &'a Engine, spec: &'a SandboxSpec) -> &'a str {
    spec.runtime.as_ref().map_or(engine.facts.default_runtime.as_str(), |name| name.as_str())
}

/// Where a container has the agent's files from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AgentFiles<'a> {
    Directory(&'a Path),
    Volume(&'a str),
}

/// What a request is made from.
#[derive(Debug)]
pub(crate) struct Materials<'a> {
    pub(crate) flavor: Flavor,
    pub(crate) facts: &'a Facts,
    pub(crate) inputs: &'a CreateInputs,
    pub(crate) image: String,
    pub(crate) owner: String,
    pub(crate) place: &'a Place,
    pub(crate) installation: &'a Installation,
    pub(crate) agent_files: AgentFiles<'a>,
    pub(crate) road: Road,
    /// Whether its runtime is Linux itself.
    pub(crate) shares_kernel: bool,
    /// What goes into the security option `seccomp`.
    pub(crate) seccomp: String,
    pub(crate) overlays: Overlays,
}

/// The request, whose mounts' places exist when it is sent.
///
/// # Errors
/// When a place of a mount cannot be made, or a source is not what it was.
pub(crate) fn container(materials: &Materials<'_>) -> Result<ContainerCreateBody> {
    let spec = materials.inputs.admitted.spec();
    let rootfs = &materials.inputs.rootfs.rootfs;
    let mounted = mounts::all(materials)?;
    // Where the agent can make it, a path that cannot be made is the command's fault and not the container's.
    let read_only = spec.policy.root == RootAccess::ReadOnly;
    let streams = materials.road == Road::Streams;
    let workdir = rootfs.defaults.workdir.as_ref().filter(|_| read_only).map(ToString::to_string);
    Ok(ContainerCreateBody {
        image: Some(materials.image.clone()),
        hostname: Some("agentkernel".to_owned()),
        user: Some("0:0".to_owned()),
        entrypoint: Some(entrypoint(materials)),
        open_stdin: Some(streams),
        // It ends with the keeper, whatever becomes of that.
        stdin_once: Some(streams),
        attach_stdin: Some(streams),
        attach_stdout: Some(streams),
        cmd: Some(Vec::new()),
        // An engine adds the image's own variables to these: none of them may reach the agent's interpreter.
        env: Some(OF_INTERPRETER.iter().map(|name| format!("{name}=")).collect()),
        working_dir: Some(workdir.unwrap_or_else(|| "/".to_owned())),
        network_disabled: network_disabled(materials.flavor, materials.agent_files, materials.shares_kernel),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        stop_timeout: Some(1),
        labels: Some(labels(materials)),
        host_config: Some(HostConfig {
            binds: Some(mounted.binds).filter(|binds| !binds.is_empty()),
            mounts: Some(mounted.mounts),
            ..walls(materials, spec)
        }),
        ..ContainerCreateBody::default()
    })
}

fn entrypoint(materials: &Materials<'_>) -> Vec<String> {
    let bin = format!("{}/bin", agent::DIRECTORY);
    let mut words = materials.installation.command(&bin, agent::WORD);
    if materials.road == Road::Streams {
        words.push(agent::STREAMS.to_owned());
    }
    words
}

/// Docker's own 'none' is a network like the others, put into the container by a process of the engine's that starts for it:
/// half of a start. Without it the runtime makes the same namespace with nothing but a loopback; but for gVisor, whose loopback
/// has no address then. Where our own files cannot be mounted, the network is what brings those of names.
fn network_disabled(flavor: Flavor, agent_files: AgentFiles<'_>, shares_kernel: bool) -> Option<bool> {
    let brings_files = matches!(agent_files, AgentFiles::Volume(_));
    (flavor == Flavor::Docker && shares_kernel && !brings_files).then_some(true)
}

/// What tells that something in an engine is of this sandbox.
pub(crate) fn labels(materials: &Materials<'_>) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (LABEL.to_owned(), materials.inputs.id.to_string()),
        (OWNER_LABEL.to_owned(), materials.owner.clone()),
    ]);
    if materials.inputs.admitted.spec().lifetime == Lifetime::Ephemeral {
        labels.insert(EPHEMERAL_LABEL.to_owned(), "yes".to_owned());
    }
    labels
}

fn walls(materials: &Materials<'_>, spec: &SandboxSpec) -> HostConfig {
    let policy = &spec.policy;
    let (facts, limits) = (materials.facts, &policy.limits);
    let (memory, nano_cpus) = (memory(facts, limits), nano_cpus(facts, limits));
    // Rootless engines on cgroup v1 have no group to give a namespace of.
    let cgroupns = !(facts.rootless && facts.cgroup_version == "1");
    let own_names =
        matches!(materials.agent_files, AgentFiles::Volume(_)) && materials.flavor == Flavor::Docker;
    HostConfig {
        network_mode: Some("none".to_owned()),
        // Where only the engine can tell why it ended, it is asked before it forgets.
        auto_remove: Some(spec.lifetime == Lifetime::Ephemeral && materials.road == Road::Socket),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities(policy.caps, &policy.network, spec.lifetime)),
        security_opt: Some(vec!["no-new-privileges".to_owned(), format!("seccomp={}", materials.seccomp)]),
        readonly_rootfs: Some(policy.root == RootAccess::ReadOnly),
        tmpfs: Some(tmpfs(materials, policy, spec.lifetime)),
        // Where the files that say so cannot be mounted.
        dns: own_names.then(|| vec![RESOLVER.to_string()]),
        dns_options: own_names.then(|| ["timeout:5", "attempts:2"].map(str::to_owned).to_vec()),
        memory,
        // No swap beside it.
        memory_swap: memory,
        nano_cpus,
        pids_limit: limits
            .pids
            .filter(|_| facts.limits_pids && materials.shares_kernel)
            .map(|pids| i64::from(pids.value()) + 1),
        ulimits: Some(ulimits(materials.flavor, materials.agent_files)),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: cgroupns.then_some(HostConfigCgroupnsModeEnum::PRIVATE),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        runtime: spec.runtime.as_ref().map(ToString::to_string),
        ..HostConfig::default()
    }
}

fn memory(facts: &Facts, limits: &Limits) -> Option<i64> {
    limits.memory.filter(|_| facts.limits_memory).map(|memory| bytes(memory.value().bytes()))
}

fn nano_cpus(facts: &Facts, limits: &Limits) -> Option<i64> {
    limits.cpus.filter(|_| facts.limits_cpus).map(|cpus| i64::from(cpus.value().milli()) * 1_000_000)
}

/// The request that gives a container that exists other limits of memory and processors.
pub(crate) fn resized(facts: &Facts, limits: &Limits) -> ContainerUpdateBody {
    let memory = memory(facts, limits);
    let nano_cpus = nano_cpus(facts, limits);
    ContainerUpdateBody { memory, memory_swap: memory, nano_cpus, ..ContainerUpdateBody::default() }
}

/// No core dumps: see core(5) for why the limit is 1. Podman raises the limits of which nothing is said as far as it goes,
/// which not everybody may; they stay what they are here. What they are on another machine is not known, and is that engine's.
fn ulimits(flavor: Flavor, agent_files: AgentFiles<'_>) -> Vec<ResourcesUlimits> {
    let limit = |name: &str, value| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    };
    let ours = |resource| {
        let limits = rustix::process::getrlimit(resource);
        limits.maximum.map_or(i64::MAX, |most| i64::try_from(most).unwrap_or(i64::MAX))
    };
    let mut ulimits = vec![limit("core", 1)];
    if flavor == Flavor::Podman && matches!(agent_files, AgentFiles::Directory(_)) {
        // As much as it gives itself when it starts: 1,048,576 files, and as many processes as the kernel counts by default.
        ulimits.push(limit("nofile", ours(Resource::Nofile).min(1 << 20)));
        ulimits.push(limit("nproc", ours(Resource::Nproc).min(32_768)));
    }
    ulimits
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The policy's, and the agent's own.
fn capabilities(caps: CapSet, network: &Network, lifetime: Lifetime) -> Vec<String> {
    let mut names: Vec<String> = caps.names().map(str::to_owned).collect();
    names.extend(AGENT_CAPS.iter().map(|name| (*name).to_owned()));
    if let Network::Rules(rules) = network {
        names.push(NETWORK_CAP.to_owned());
        // One that stays may get rules that need it.
        if rules.let_udp_out() || lifetime == Lifetime::Named {
            names.push(PACKET_CAP.to_owned());
        }
    }
    names.sort();
    names.dedup();
    names
}

/// In-memory file systems are bounded by the memory limit, which their pages count against where it is enforced; without
/// a limit by a quarter of the machine's memory, so that none of them can fill it.
fn tmpfs(materials: &Materials<'_>, policy: &EffectivePolicy, lifetime: Lifetime) -> HashMap<String, String> {
    let memory = match (materials.agent_files, materials.facts.memory) {
        (AgentFiles::Volume(_), memory) if memory > 0 => memory,
        _ => {
            let info = rustix::system::sysinfo();
            info.totalram.saturating_mul(u64::from(info.mem_unit))
        }
    };
    let quarter = (memory / 4).max(64 << 20);
    let size = policy.limits.memory.map_or(quarter, |limit| limit.value().bytes().min(quarter));
    let options = |mode: &str| format!("rw,exec,nosuid,nodev,size={size},mode={mode}");
    let mut tmpfs = HashMap::from([("/tmp".to_owned(), options("1777"))]);
    if policy.root == RootAccess::ReadOnly {
        tmpfs.insert("/run".to_owned(), options("755"));
    }
    // One that stays may get rules that need it.
    let may_need = lifetime == Lifetime::Named && policy.rules().is_some();
    if policy.has_own_files() || may_need {
        let options = format!("rw,noexec,nosuid,nodev,size={OWN_FILES_BYTES},mode=755");
        tmpfs.insert(EffectivePolicy::OWN_FILES.to_owned(), options);
    }
    tmpfs
}

/// Whether commands can make files that the host sees.
pub(crate) fn host_files(spec: &SandboxSpec) -> HostFiles {
    let direct = matches!(spec.workspace, Workspace::Direct { access: Access::ReadWrite, .. });
    let mounted = spec.policy.mounts.iter().any(|mount| mount.access == Access::ReadWrite);
    if direct || mounted { HostFiles::Writable } else { HostFiles::ReadOnly }
}

/// The walls that the agent puts around each command, within the container's own.
pub(crate) fn confinement(spec: &SandboxSpec) -> Confinement {
    let host_files = host_files(spec);
    let shared = host_files == HostFiles::Writable;
    Confinement {
        caps: if shared { spec.policy.caps.without_setfcap() } else { spec.policy.caps },
        seccomp: spec.policy.seccomp,
        // The container's control group counts them, or nobody does.
        pids: None,
        open_files: None,
        has_groups: true,
        ownership: if shared { Ownership::ArchivePlain } else { Ownership::Archive },
        host_files,
    }
}

/// The generated files that the agent puts in place: those that cannot be mounted, which elsewhere is none.
pub(crate) fn files(engine: &Engine, inputs: &CreateInputs) -> Vec<agent::NewFile> {
    let root = inputs.admitted.spec().policy.root;
    let by_agent = |path: &str| match engine.sight {
        Sight::Here => !mounts::is_mounted(path, root),
        Sight::Elsewhere => root == RootAccess::ReadWrite,
    };
    let files = inputs.rootfs.rootfs.files.iter();
    let files = files.filter(|file| by_agent(file.target.as_str()));
    let new = |file: &agentkernel_backend::GeneratedFile| agent::NewFile {
        path: file.target.to_string(),
        mode: file.mode,
        content: file.content.clone(),
    };
    files.map(new).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
