//! Who calls, and where: the process, the environment and the machine's user table become one value.

use crate::{env::Env, vaults};
use agentkernel_backend::{Host, Surroundings};
use agentkernel_engine::images::ImagePlaces;
use agentkernel_image::HostFacts;
use agentkernel_model::{Error, Kind, Result, command::EnvVar};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Facts about the caller that no argument says.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) host: Host,
    pub(crate) facts: HostFacts,
    /// Where settings and credentials of registries are.
    pub(crate) image_places: ImagePlaces,
    /// `gateway.toml`, where this user has one.
    pub(crate) gateway_file: Option<PathBuf>,
    pub(crate) home: Option<PathBuf>,
    /// The message bus of the session, where the keychain is.
    pub(crate) session_bus: Option<String>,
    /// For the permissive profile.
    pub(crate) locale: Vec<EnvVar>,
    /// The caller's kind of terminal, for a command that gets one of its own.
    pub(crate) term: Option<EnvVar>,
    /// The path of the caller's shell.
    pub(crate) shell: Option<String>,
}

impl Settings {
    /// # Errors
    /// When there is no place for data, or the running binary cannot be named.
    pub(crate) fn gather(env: Env) -> Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let account = Account::find(&table, uid);
        let home = env.home.clone().or_else(|| account.as_ref().map(|a| a.home.clone()));
        let data = data_dir(env.data_home.as_deref(), home.as_deref())?;
        let exe =
            std::env::current_exe().map_err(|e| Error::io("cannot tell where this program's file is", e))?;
        Ok(Self {
            host: Host {
                data,
                exe,
                uid,
                gid: rustix::process::getegid().as_raw(),
                // subuid(5) accepts a number where the account has no name.
                login: account.map_or_else(|| uid.to_string(), |a| a.name),
                surroundings: Surroundings {
                    home: home.clone(),
                    runtime_dir: env.runtime_dir.clone(),
                    path: env.path.clone(),
                    variables: env.of_drivers.clone(),
                    open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
                },
            },
            image_places: image_places(&env, home.as_deref()),
            gateway_file: of_config(&env, home.as_deref(), "gateway.toml"),
            session_bus: vaults::session_bus(env.session_bus, env.runtime_dir.as_deref()),
            facts: HostFacts { path: env.path, home: home.clone() },
            home,
            locale: env.locale,
            term: env.term.as_deref().and_then(terminal_type),
            shell: env.shell,
        })
    }
}

/// The current directory.
///
/// # Errors
/// [`Kind::NotFound`] when it was removed, or cannot be reached.
pub(crate) fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| {
        Error::new(Kind::NotFound, "the current directory cannot be found")
            .with_source(e)
            .with_hint("change to a directory that exists")
    })
}

/// A file of this user's settings; it need not be there.
fn of_config(env: &Env, home: Option<&Path>, name: &str) -> Option<PathBuf> {
    let dir = env.config_home.clone().or_else(|| home.map(|home| home.join(".config")))?;
    Some(dir.join("agentkernel").join(name))
}

fn image_places(env: &Env, home: Option<&Path>) -> ImagePlaces {
    let below =
        |dir: &Option<PathBuf>, default: &str| dir.clone().or_else(|| home.map(|home| home.join(default)));
    let runtime_auth = || env.runtime_dir.as_ref().map(|dir| dir.join("containers/auth.json"));
    ImagePlaces {
        registries: of_config(env, home, "registries.toml"),
        docker_config: below(&env.docker_config, ".docker").map(|dir| dir.join("config.json")),
        containers_auth: env.registry_auth.clone().or_else(runtime_auth),
        proxies: env.proxies.clone(),
    }
}

fn data_dir(data_home: Option<&Path>, home: Option<&Path>) -> Result<PathBuf> {
    let base = match (data_home, home) {
        (Some(dir), _) => dir.to_owned(),
        (None, Some(home)) => home.join(".local/share"),
        (None, None) => {
            return Err(Error::new(
                Kind::Unavailable,
                "there is no place for sandboxes: this user has no home",
            )
            .with_hint("set XDG_DATA_HOME to an absolute path"));
        }
    };
    Ok(base.join("agentkernel"))
}

/// `TERM=…` where its value is a plain word: it names a file of the terminal database inside.
fn terminal_type(term: &str) -> Option<EnvVar> {
    let byte_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-');
    let valid = (1..=64).contains(&term.len()) && term.bytes().all(byte_ok);
    valid.then(|| EnvVar::new("TERM", term).ok()).flatten()
}

/// One line of passwd(5).
#[derive(Debug, PartialEq, Eq)]
struct Account {
    name: String,
    home: PathBuf,
}

impl Account {
    fn find(table: &str, uid: u32) -> Option<Self> {
        table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let found = fields.get(2)?.parse() == Ok(uid) && !fields[0].is_empty();
            let home = PathBuf::from(fields.get(5)?);
            (found && home.is_absolute()).then(|| Self { name: fields[0].to_owned(), home })
        })
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
