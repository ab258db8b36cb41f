//! One configuration over another: a template over the one that it extends, a project's file over its template.

use crate::{
    build::Build,
    file::{Config, Domains},
    template::TemplateInfo,
    workspace::WorkspaceRequest,
};

impl Config {
    /// What `self` says, and what `below` says where `self` is silent. Tables merge key by key, `[environment]`, labels
    /// and build arguments too; lists are replaced as a whole, by an empty one only where it is written (`ports = []`).
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let mut lists = Lists { own: &self.emptied, below: &below.emptied, emptied: Vec::new() };
        let ports = lists.choose("network.ports", self.ports, below.ports);
        let allow_write = lists.choose("security.allow_write", self.allow_write, below.allow_write);
        let secret_files = lists.choose("security.secret_files", self.secret_files, below.secret_files);
        let mounts = lists.choose("mounts", self.mounts, below.mounts);
        let files = lists.choose("files", self.files, below.files);
        let rules = lists.choose("network.rules", self.rules, below.rules);
        let domains = Domains {
            allow: lists.choose("security.domains.allow", self.domains.allow, below.domains.allow),
            block: lists.choose("security.domains.block", self.domains.block, below.domains.block),
            allowlist_only: self.domains.allowlist_only.or(below.domains.allowlist_only),
        };
        let emptied = lists.emptied;
        Self {
            name: self.name.or(below.name),
            description: self.description.or(below.description),
            image: self.image.or(below.image),
            init_script: self.init_script.or(below.init_script),
            user: self.user.or(below.user),
            workdir: self.workdir.or(below.workdir),
            backend: self.backend.or(below.backend),
            isolation: self.isolation.or(below.isolation),
            oci_runtime: self.oci_runtime.or(below.oci_runtime),
            ttl: self.ttl.or(below.ttl),
            labels: merged(self.labels, below.labels, |a, b| a.key == b.key),
            env: merged(self.env, below.env, |a, b| a.key() == b.key()),
            agent: self.agent.or(below.agent),
            mode: self.mode.or(below.mode),
            git: self.git.or(below.git),
            cpus: self.cpus.or(below.cpus),
            memory: self.memory.or(below.memory),
            pids: self.pids.or(below.pids),
            ports,
            rules,
            domains,
            profile: self.profile.or(below.profile),
            network: self.network.or(below.network),
            mount_cwd: self.mount_cwd.or(below.mount_cwd),
            seccomp: self.seccomp.or(below.seccomp),
            allow_write,
            secrets: merged(self.secrets, below.secrets, |a, b| a.name == b.name),
            secret_files,
            workspace: WorkspaceRequest {
                path: self.workspace.path.or(below.workspace.path),
                share: self.workspace.share.or(below.workspace.share),
                limit: self.workspace.limit.or(below.workspace.limit),
            },
            mounts,
            files,
            build: Build {
                dockerfile: self.build.dockerfile.or(below.build.dockerfile),
                context: self.build.context.or(below.build.context),
                target: self.build.target.or(below.build.target),
                args: merged(self.build.args, below.build.args, |a, b| a.0 == b.0),
                no_cache: self.build.no_cache.or(below.build.no_cache),
            },
            template: TemplateInfo {
                description: self.template.description.or(below.template.description),
                category: self.template.category.or(below.template.category),
                help_text: self.template.help_text.or(below.template.help_text),
                extends: self.template.extends.or(below.template.extends),
            },
            emptied,
            unused: merged(self.unused, below.unused, |a, b| a == b),
            credentials: merged(self.credentials, below.credentials, |a, b| a == b),
        }
    }
}

/// Which lists are written and empty, on both sides and in the result.
struct Lists<'a> {
    own: &'a [&'static str],
    below: &'a [&'static str],
    emptied: Vec<&'static str>,
}

impl Lists<'_> {
    fn choose<T>(&mut self, key: &'static str, own: Vec<T>, below: Vec<T>) -> Vec<T> {
        if !own.is_empty() {
            return own;
        }
        let emptied = self.own.contains(&key);
        if emptied || self.below.contains(&key) {
            self.emptied.push(key);
        }
        if emptied { own } else { below }
    }
}

/// The entries of `below` with those of `own` in their place, then the new ones of `own`.
fn merged<T>(own: Vec<T>, below: Vec<T>, same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all = below;
    for entry in own {
        match all.iter_mut().find(|known| same(known, &entry)) {
            Some(known) => *known = entry,
            None => all.push(entry),
        }
    }
    all
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
