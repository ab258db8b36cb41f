//! `${…}` in texts of a devcontainer.json.

use super::Project;
use agentkernel_model::mount::Workspace;

/// Where a text is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Inside, where paths of this machine mean nothing.
    Inside,
    /// A path of this machine.
    Host,
}

/// A text with its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expanded {
    Text(String),
    /// The variable that only the host or the finished container could tell. Environment of the host is never read for
    /// a file.
    Needs(String),
}

/// Replaces what this crate can know. A variable of another name stays as it is: it may be the shell's.
pub(super) fn expand(text: &str, side: Side, project: Project<'_>) -> Expanded {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, variable) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = variable.find('}') else {
            rest = variable;
            break;
        };
        let (whole, after) = variable.split_at(end + 1);
        let name = &whole[2..end];
        match (name.split(':').next().unwrap_or(name), side) {
            ("containerWorkspaceFolder", _) => out.push_str(Workspace::TARGET),
            ("containerWorkspaceFolderBasename", _) => out.push_str(&Workspace::TARGET[1..]),
            ("localWorkspaceFolderBasename", _) => out.push_str(project.name),
            ("localWorkspaceFolder", Side::Host) => out.push('.'),
            ("localWorkspaceFolder" | "localEnv" | "env" | "containerEnv" | "devcontainerId", _) => {
                return Expanded::Needs(whole.to_owned());
            }
            _ => out.push_str(whole),
        }
        rest = after;
    }
    out.push_str(rest);
    Expanded::Text(out)
}
