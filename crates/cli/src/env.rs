//! The environment variables that agentkernel reads. This is the only place that reads any.
//!
//! | variable | decides |
//! |---|---|
//! | `HOME` | where the home is: never a workspace; read-only inside with the permissive profile |
//! | `XDG_DATA_HOME` | where sandboxes are kept: `$XDG_DATA_HOME/agentkernel`, else `~/.local/share/agentkernel` |
//! | `XDG_CONFIG_HOME` | where `agentkernel/registries.toml` and `agentkernel/gateway.toml` are, else `~/.config` |
//! | `DOCKER_CONFIG` | the directory of Docker's `config.json`, else `~/.docker`: credentials of registries |
//! | `REGISTRY_AUTH_FILE` | Podman's file of credentials, else `$XDG_RUNTIME_DIR/containers/auth.json` |
//! | `HTTPS_PROXY`, else `ALL_PROXY` | the proxy that leads to registries; in small letters too, which are looked at first |
//! | `NO_PROXY` | which hosts are reached without it; in small letters too |
//! | `SSL_CERT_FILE`, `SSL_CERT_DIR` | which authorities are believed instead of this machine's (read by rustls-native-certs) |
//! | `AGENTKERNEL_AUDIT` | `0` or `false`: nothing is written to the audit log |
//! | `AGENTKERNEL_API_KEY` | a key of `serve`'s callers |
//! | `DOCKER_HOST`, `DOCKER_CONTEXT` | which Docker engine the backend `docker` uses |
//! | `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH` | by which certificates an engine of another machine is known |
//! | `CONTAINER_HOST`, `CONTAINER_SSHKEY` | which Podman service the backend `podman` uses, and with which key of ssh |
//! | `SSH_AUTH_SOCK` | the agent with the keys of ssh, for an engine that is reached over it; no sandbox is told of it |
//! | `DBUS_SESSION_BUS_ADDRESS` | the message bus on which the keychain is |
//! | those named by `--vault env`, and keys of the agent of `--agent` | secrets, read one by one |
//! | `SHELL` | which shell `completions` without an argument is for |
//! | `PATH` | which tool installations of the home the `host` image shows |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_EXPORTER` and others of `OTEL_` | where traces go, and which |
//! | `TRACEPARENT` | the trace that a command is part of, where there are traces |
//! | `NO_COLOR` | no colour when it is set and not empty |
//! | `TERM` | no colour when it is `dumb`; reaches a command that has a terminal |
//! | `LANG`, `LC_ALL`, `TERM`, `TZ` | reach the command with the permissive profile |

use agentkernel_engine::images::Proxies;
use agentkernel_model::{
    Result,
    command::EnvVar,
    policy::EnvPassthrough,
    secret::{Secret, SecretName},
};
use agentkernel_trace::VARIABLE;
use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// The variables that are handed to drivers as they are.
const OF_DRIVERS: [&str; 8] = [
    "CONTAINER_HOST",
    "CONTAINER_SSHKEY",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "SSH_AUTH_SOCK",
];

/// What names a proxy for https, in the order of curl.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// What was read, still as it was written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    /// Absolute, as all paths here; a relative one is as good as none.
    pub(crate) home: Option<PathBuf>,
    pub(crate) data_home: Option<PathBuf>,
    pub(crate) config_home: Option<PathBuf>,
    pub(crate) docker_config: Option<PathBuf>,
    pub(crate) registry_auth: Option<PathBuf>,
    pub(crate) runtime_dir: Option<PathBuf>,
    pub(crate) proxies: Proxies,
    pub(crate) session_bus: Option<String>,
    pub(crate) path: Vec<PathBuf>,
    pub(crate) no_color: bool,
    pub(crate) no_audit: bool,
    pub(crate) shell: Option<String>,
    pub(crate) term: Option<String>,
    /// Those of [`EnvPassthrough::LOCALE_KEYS`] that are set and are text.
    pub(crate) locale: Vec<EnvVar>,
    /// Those of [`OF_DRIVERS`] that are set and are text.
    pub(crate) of_drivers: BTreeMap<String, String>,
}

impl Env {
    pub(crate) fn read() -> Self {
        let absolute = |key| env::var_os(key).map(PathBuf::from).filter(|p| p.is_absolute());
        let path = env::var_os("PATH").unwrap_or_default();
        let locale = EnvPassthrough::LOCALE_KEYS
            .iter()
            .filter_map(|key| EnvVar::new(key, &env::var(key).ok()?).ok())
            .collect();
        Self {
            home: absolute("HOME"),
            data_home: absolute("XDG_DATA_HOME"),
            config_home: absolute("XDG_CONFIG_HOME"),
            docker_config: absolute("DOCKER_CONFIG"),
            registry_auth: absolute("REGISTRY_AUTH_FILE"),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
            proxies: proxies(),
            session_bus: env::var("DBUS_SESSION_BUS_ADDRESS").ok(),
            path: env::split_paths(&path).filter(|p| Path::is_absolute(p)).collect(),
            no_color: env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
            no_audit: env::var("AGENTKERNEL_AUDIT")
                .is_ok_and(|v| v == "0" || v.eq_ignore_ascii_case("false")),
            shell: env::var("SHELL").ok(),
            term: env::var("TERM").ok(),
            locale,
            of_drivers: OF_DRIVERS
                .iter()
                .filter_map(|key| Some(((*key).to_owned(), env::var(key).ok()?)))
                .collect(),
        }
    }
}

/// Empty variables are as good as none. What is no text is no proxy, and is told so where one is needed.
fn proxies() -> Proxies {
    let first = |names: &[&'static str]| {
        let set = names.iter().filter_map(|name| Some((*name, env::var_os(name).filter(|v| !v.is_empty())?)));
        set.map(|(name, value)| (name, value.to_string_lossy().into_owned())).next()
    };
    let exempt = first(&NO_PROXY).map(|(_, value)| value).unwrap_or_default();
    first(&PROXIES).map_or_else(Proxies::default, |(name, value)| Proxies::new(name, value, &exempt))
}

/// The key of a server's callers.
///
/// # Errors
/// When it is too long.
pub(crate) fn api_key() -> Result<Option<Secret>> {
    let key = env::var_os("AGENTKERNEL_API_KEY").filter(|key| !key.is_empty());
    key.map(|key| Secret::new(key.into_vec())).transpose()
}

/// A variable that a person named as a secret.
pub(crate) fn secret(name: &SecretName) -> Option<OsString> {
    env::var_os(name.as_str())
}

/// A variable of the OpenTelemetry specification.
pub(crate) fn telemetry(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Whether a variable of the OpenTelemetry specification says anything.
pub(crate) fn has_telemetry(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// What this process is part of.
pub(crate) fn traced() -> Option<String> {
    env::var(VARIABLE).ok()
}
