//! Specs and sandboxes, as lines for people.

use agentkernel_engine::{
    images::{Checked, Freed},
    request::{SandboxInfo, Status},
};
use agentkernel_model::{
    egress::{EgressRules, Otherwise},
    limits::Limit,
    mount::{Access, Workspace},
    policy::{EffectivePolicy, Network, RootAccess},
    secret::{Held, SecretGrant},
    spec::{Isolation, SandboxSpec},
    text::printable,
};
use std::fmt::Display;

/// A key and its value.
pub(crate) type Row = (&'static str, String);

/// The rows as `key: value` lines, values in one column. Values are made fit for a terminal.
pub(crate) fn lines(rows: &[Row]) -> String {
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0) + 1;
    let line = |(key, value): &Row| {
        let key = format!("{key}:");
        format!("{key:<width$} {}", printable(value))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A resolved spec and its policy.
pub(crate) fn spec(spec: &SandboxSpec) -> Vec<Row> {
    let policy = &spec.policy;
    let limits = &policy.limits;
    let mut rows: Vec<Row> = vec![
        ("Image", spec.image.to_string()),
        ("Profile", policy.profile.to_string()),
        ("Network", network(&policy.network).to_owned()),
        ("Root", root(policy.root)),
        ("Workspace", workspace(&spec.workspace)),
    ];
    if let Network::Rules(egress) = &policy.network {
        rows.splice(3..3, egress.rules.iter().map(|rule| ("Rule", rule.to_string())));
    }
    rows.extend(
        policy
            .mounts
            .iter()
            .map(|m| ("Mount", format!("{} at {} ({})", m.source.display(), m.target, access(m.access)))),
    );
    rows.extend(policy.secrets.iter().map(|grant| ("Secret", secret(grant))));
    rows.extend(policy.secret_files.iter().map(|name| {
        ("Secret file", format!("{name} at {}/{name}, where commands read it", EffectivePolicy::SECRET_FILES))
    }));
    rows.extend(spec.ports.iter().map(|p| ("Port", format!("127.0.0.1:{} to {}", p.host, p.guest))));
    // Values may be secrets.
    let keys: Vec<&str> = spec.env.iter().map(agentkernel_model::command::EnvVar::key).collect();
    if !keys.is_empty() {
        rows.push(("Environment", keys.join(" ")));
    }
    rows.extend(spec.workdir.as_ref().map(|dir| ("Directory", dir.to_string())));
    rows.extend(spec.user.map(|user| ("User", user.to_string())));
    rows.push(("Memory", limit(limits.memory)));
    rows.push(("CPUs", limit(limits.cpus)));
    rows.push(("Processes", limit(limits.pids)));
    rows.push(("Capabilities", policy.caps.to_string()));
    rows.push(("System calls", format!("{:?}", policy.seccomp).to_lowercase()));
    if spec.isolation == Isolation::Vm {
        rows.push(("Isolation", "a kernel of its own".to_owned()));
    }
    rows.extend(spec.runtime.as_ref().map(|runtime| ("OCI runtime", runtime.to_string())));
    rows
}

/// One line; the rules stand below it.
pub(crate) fn network(network: &Network) -> &'static str {
    match network {
        Network::Off => "off",
        Network::Rules(egress) if egress.is_plain() => "public addresses only",
        Network::Rules(EgressRules { rules, otherwise }) => match (rules.is_empty(), otherwise) {
            (true, Otherwise::Deny) => "nothing is let out but to hosts of secrets",
            (false, Otherwise::Deny) => "by these rules, and nothing else is let out",
            (_, Otherwise::Public) => "by these rules, otherwise public addresses only",
        },
        Network::Open => "the backend's own",
    }
}

/// Where it goes; never its value.
fn secret(grant: &SecretGrant) -> String {
    let to = grant
        .host
        .as_ref()
        .map_or_else(|| "the hosts that the vault has for it".to_owned(), ToString::to_string);
    let header = grant.header.as_ref().map(|header| format!(", in header {header}")).unwrap_or_default();
    let held = match grant.held {
        Held::Vault => "",
        Held::Caller => " (its value was given on the command line)",
    };
    format!("{} to {to}{header}{held}", grant.name)
}

fn root(root: RootAccess) -> String {
    match root {
        RootAccess::ReadOnly => "read-only",
        RootAccess::ReadWrite => "writable, in a layer of its own",
    }
    .to_owned()
}

fn workspace(workspace: &Workspace) -> String {
    match workspace {
        Workspace::None => "none".to_owned(),
        Workspace::View(source) => format!("a copy-on-write view of {}", source.display()),
        Workspace::Direct { source, access: how } => {
            format!("{} itself ({})", source.display(), access(*how))
        }
    }
}

const fn access(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read-only",
        Access::ReadWrite => "writable",
    }
}

pub(crate) fn limit<T: Copy + Display>(limit: Option<Limit<T>>) -> String {
    match limit {
        None => "no limit".to_owned(),
        Some(Limit::Required(value)) => value.to_string(),
        Some(Limit::Default(value)) => format!("{value} (the profile's)"),
    }
}

pub(crate) const fn status(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Stopped => "stopped",
        Status::Unknown => "unknown",
    }
}

/// Everything known of a sandbox.
pub(crate) fn sandbox(info: &SandboxInfo) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![("Name", info.name.to_string()), ("UUID", info.uuid.to_string())];
    let mut state = status(info.status).to_owned();
    if let Some(reason) = &info.reason {
        state += &format!(" ({reason})");
    }
    rows.push(("Status", state));
    rows.push(("Backend", info.backend.to_string()));
    rows.extend(info.ip.clone().map(|ip| ("IP", ip)));
    rows.push(("Created", info.created_at.clone()));
    rows.extend(info.expires_at.clone().map(|at| ("Expires", at)));
    if !info.labels.is_empty() {
        rows.push(("Labels", labels(info)));
    }
    rows.extend(info.description.clone().map(|text| ("Description", text)));
    match &info.spec {
        Some(resolved) => rows.extend(spec(resolved)),
        None => rows.push(("Image", info.image.clone())),
    }
    if !info.unenforced.is_empty() {
        rows.push(("Not enforced", info.unenforced.join(", ")));
    }
    rows
}

pub(crate) fn labels(info: &SandboxInfo) -> String {
    info.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// What a removal of images freed, after `verb`.
pub(crate) fn freed(verb: &str, freed: &Freed) -> String {
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let mut text = format!(
        "{verb} {}, {} and {}: {}",
        count(freed.images.len(), "image", "images"),
        count(freed.layers, "layer", "layers"),
        count(freed.leftovers, "leftover", "leftovers"),
        bytes(freed.bytes)
    );
    for image in &freed.images {
        let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
        let name = if names.is_empty() { "<none>".to_owned() } else { names.join(", ") };
        text += &format!("\n  {name} ({})", &image.id.hex()[..12]);
    }
    if freed.in_use > 0 {
        text += &format!("\n{} in use", count(freed.in_use, "image is", "images are"));
    }
    text
}

/// What a check of the store mended.
pub(crate) fn checked(checked: &Checked) -> String {
    let mut text = freed("removed", &checked.freed);
    for name in &checked.names {
        text += &format!("\n  the name {} meant nothing any more", printable(name));
    }
    for id in &checked.images {
        text += &format!("\n  the image {} was not whole", &id.hex()[..12]);
    }
    text
}

/// A number of bytes for people: three digits at most, units of 1,000.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, so that no float is needed.
    let mut tenths = bytes / 100;
    for unit in UNITS {
        if tenths < 1000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        if tenths < 10_000 {
            return format!("{} {unit}", tenths / 10);
        }
        tenths /= 1000;
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_short() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_550, "1.5 kB"),
            (123_456, "123 kB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (2_345_678_901, "2.3 GB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}
