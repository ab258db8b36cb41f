//! What becomes of each property of a devcontainer.json, and of arguments of the engine.

/// What is done with a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Read,
    /// For editors, or true anyway.
    Silent,
    /// Left out, with a note that says why.
    Reported(&'static str),
    /// Without it the sandbox would be another one.
    Refused(&'static str),
    Unknown,
}

const NEVER_GIVEN: &str = "is left out: a sandbox never gets it from a file";

pub(super) fn fate(name: &str) -> Fate {
    match name {
        "name"
        | "image"
        | "build"
        | "dockerFile"
        | "context"
        | "containerEnv"
        | "remoteEnv"
        | "remoteUser"
        | "containerUser"
        | "mounts"
        | "forwardPorts"
        | "appPort"
        | "workspaceFolder"
        | "runArgs"
        | "securityOpt"
        | "onCreateCommand"
        | "updateContentCommand"
        | "postCreateCommand" => Fate::Read,
        "$schema"
        | "customizations"
        | "extensions"
        | "settings"
        | "devPort"
        | "portsAttributes"
        | "otherPortsAttributes"
        | "shutdownAction"
        | "overrideCommand"
        | "updateRemoteUserUID"
        | "userEnvProbe"
        | "init"
        | "waitFor" => Fate::Silent,
        "initializeCommand" => Fate::Reported("is never run: it is a command for this machine"),
        "postStartCommand" | "postAttachCommand" => {
            Fate::Reported("is not run: run it with 'agentkernel exec', or move it to postCreateCommand")
        }
        "features" | "overrideFeatureInstallOrder" => Fate::Reported(
            "are not installed: take an image that has them, or install them in postCreateCommand",
        ),
        "privileged" | "capAdd" => Fate::Reported(NEVER_GIVEN),
        "hostRequirements" => Fate::Reported("is not checked: write [resources] in an agentkernel.toml"),
        "workspaceMount" => Fate::Reported("is left out: the project is at /workspace"),
        "secrets" => Fate::Reported("is left out: name the secrets that it may use with --secret"),
        "dockerComposeFile" | "service" | "runServices" => {
            Fate::Refused("names several containers, and a sandbox is one")
        }
        _ => Fate::Unknown,
    }
}

/// What an argument of the engine would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunArg {
    NoNetwork,
    LeftOut,
    /// It takes something away that the sandbox would else have.
    Narrower,
}

/// Flags of `docker run` that take something away.
const NARROWER: [&str; 3] = ["--read-only", "--cap-drop", "--security-opt"];

/// Values of `--security-opt` that hold anyway, or take a wall away.
const HARMLESS: [&str; 7] = [
    "no-new-privileges",
    "no-new-privileges:true",
    "no-new-privileges=true",
    "seccomp=unconfined",
    "apparmor=unconfined",
    "label=disable",
    "label:disable",
];

/// Whether a value of `securityOpt` can be left out without a wider sandbox.
pub(super) fn is_harmless(security_opt: &str) -> bool {
    HARMLESS.contains(&security_opt)
}

/// What is to be done about which of `words`; an argument's value in a word of its own goes with its flag.
pub(super) fn run_args(words: &[&str]) -> Vec<(usize, RunArg)> {
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(word) = words.get(index) {
        let (flag, own) = word.split_once('=').map_or((*word, None), |(flag, value)| (flag, Some(value)));
        let next = words.get(index + 1).copied().filter(|next| !next.starts_with('-'));
        let value = own.or(next);
        let arg = match (flag, value) {
            ("--network" | "--net", Some("none")) => RunArg::NoNetwork,
            ("--read-only", Some("false")) if own.is_some() => RunArg::LeftOut,
            ("--security-opt", Some(value)) if is_harmless(value) => RunArg::LeftOut,
            (flag, _) if NARROWER.contains(&flag) => RunArg::Narrower,
            _ => RunArg::LeftOut,
        };
        found.push((index, arg));
        index += if own.is_none() && next.is_some() { 2 } else { 1 };
    }
    found
}
