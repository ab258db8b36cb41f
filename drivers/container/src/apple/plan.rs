//! What a sandbox is in the words of `container create`, and what cannot be said in them.

use super::{defaults::unwritable, marks, scripts};
use agentkernel_backend::Refusal;
use agentkernel_model::{
    id::SandboxId,
    image::ImageRef,
    mount::{Access, Mount, Workspace},
    policy::{Network, RootAccess},
    spec::{Lifetime, SandboxSpec},
    text::printable,
};
use std::path::Path;

/// What a new container is made of.
#[derive(Debug)]
pub(crate) struct Materials<'a> {
    pub(crate) id: SandboxId,
    pub(crate) spec: &'a SandboxSpec,
    pub(crate) image: &'a str,
    pub(crate) owner: &'a str,
}

/// `container create` for a named sandbox, `container run` for an ephemeral one: the same container.
pub(crate) fn create(materials: &Materials<'_>) -> Vec<String> {
    let Materials { id, spec, image, owner } = materials;
    let mut words = Words(Vec::new());
    match spec.lifetime {
        Lifetime::Named => words.word("create"),
        Lifetime::Ephemeral => {
            words.word("run");
            words.word("--rm");
            words.pair("--progress", "none");
        }
    }
    words.pair("--name", marks::name(*id));
    words.pair("--label", format!("{}={id}", marks::SANDBOX));
    words.pair("--label", format!("{}={owner}", marks::OWNER));
    if spec.lifetime == Lifetime::Ephemeral {
        words.pair("--label", format!("{}=yes", marks::EPHEMERAL));
    }
    // The sandbox lives for as long as somebody holds the other end of its main process's input.
    words.word("--interactive");
    words.word("--init");
    for (flag, value) in [("--uid", "0"), ("--gid", "0"), ("--workdir", "/"), ("--entrypoint", "/bin/sh")] {
        words.pair(flag, value);
    }
    policy(spec, &mut words);
    words.word(*image);
    for word in ["-c", scripts::MAIN, &id.to_string()] {
        words.word(word);
    }
    words.0
}

fn policy(spec: &SandboxSpec, words: &mut Words) {
    let policy = &spec.policy;
    words.pair("--cap-drop", "ALL");
    let mut names: Vec<&str> = policy.caps.names().collect();
    names.sort_unstable();
    for name in names {
        words.pair("--cap-add", name);
    }
    if policy.network == Network::Off {
        words.pair("--network", "none");
        words.word("--no-dns");
    }
    if let Some(memory) = policy.limits.memory {
        words.pair("--memory", format!("{}M", memory.value().bytes() >> 20));
    }
    if let Some(cpus) = policy.limits.cpus {
        words.pair("--cpus", cpus.value().milli().div_ceil(1000).to_string());
    }
    if policy.root == RootAccess::ReadOnly {
        words.word("--read-only");
    }
    for target in in_memory(spec) {
        words.pair("--tmpfs", target);
    }
    for mount in mounts(spec) {
        words.pair("--mount", bind(&mount));
    }
}

/// Where memory file systems are.
fn in_memory(spec: &SandboxSpec) -> Vec<&'static str> {
    let mut targets = vec!["/tmp"];
    if spec.policy.root == RootAccess::ReadOnly {
        targets.push("/run");
        if matches!(spec.workspace, Workspace::View(_)) {
            targets.push(Workspace::TARGET);
        }
    }
    targets
}

/// The host's directories, in the order in which they are mounted.
pub(crate) fn mounts(spec: &SandboxSpec) -> Vec<Mount> {
    let mut mounts = Vec::new();
    if let (Workspace::Direct { source, access }, Ok(target)) = (&spec.workspace, Workspace::TARGET.parse()) {
        mounts.push(Mount { source: source.clone(), target, access: *access });
    }
    mounts.extend(spec.policy.mounts.iter().cloned());
    mounts
}

fn bind(mount: &Mount) -> String {
    let mut text = format!("type=bind,source={},target={}", mount.source.display(), mount.target);
    if mount.access == Access::ReadOnly {
        text.push_str(",readonly");
    }
    text
}

/// What of `spec` cannot be said to it, beside what the capabilities tell.
pub(crate) fn refusals(spec: &SandboxSpec) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if spec.image == ImageRef::Host {
        refusals.push(Refusal::new(
            "the image 'host', since the programs of this machine are not those of a virtual machine",
            "name an image with --image, such as alpine:3.20",
        ));
    }
    for mount in mounts(spec) {
        refusals.extend(unmountable(&mount));
    }
    let hidden = |target: &str| {
        let in_memory = in_memory(spec).into_iter().map(str::to_owned);
        let mounted = mounts(spec).into_iter().map(|mount| mount.target.to_string());
        in_memory.chain(mounted).any(|place| {
            target.strip_prefix(&place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    for file in spec.files.iter().filter(|file| hidden(file.target.as_str())) {
        refusals.push(Refusal::new(
            format!("the file '{}', because something is mounted above it", file.target),
            "put it elsewhere",
        ));
    }
    let kept_view = matches!(spec.workspace, Workspace::View(_)) && spec.lifetime == Lifetime::Named;
    if kept_view && spec.policy.root == RootAccess::ReadOnly {
        refusals.push(Refusal::new(
            "a view of the project that outlives a stop on a read-only root",
            "mount it with --dir, or add --no-workspace",
        ));
    }
    for var in &spec.env {
        if let Some(why) = unwritable(var.key(), var.value()) {
            refusals.push(Refusal::new(
                format!("the variable '{}', {why}", printable(var.key())),
                "pass it in a file, or encode it",
            ));
        }
    }
    refusals
}

fn unmountable(mount: &Mount) -> Option<Refusal> {
    let shown = printable(&mount.source.display().to_string());
    let written = |path: &str| !path.contains([',', '=']) && !path.chars().any(char::is_control);
    if !mount.source.to_str().is_some_and(written) || !written(mount.target.as_str()) {
        return Some(Refusal::new(
            format!("a mount of '{shown}' at '{}', whose names have a ',' or a '='", mount.target),
            "rename the directory",
        ));
    }
    is_file(&mount.source).then(|| {
        Refusal::new(
            format!("a mount of the file '{shown}', since it mounts directories only"),
            "mount its directory; where a rule protects files of a project, use --dir PATH:ro",
        )
    })
}

/// What is gone is said when it is mounted.
fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_dir())
}

struct Words(Vec<String>);

impl Words {
    fn word(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    fn pair(&mut self, flag: &str, value: impl Into<String>) {
        self.word(flag);
        self.word(value);
    }
}
