//! Addresses of engines that are reached over a network: `tcp://`, with or without TLS, and `ssh://`.

use crate::flavor::Flavor;
use agentkernel_model::text::printable;
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// Where an engine of another machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    /// Without any protection, so on this machine's own loopback only.
    Plain(Place),
    /// Both sides prove who they are, with what lies in the directory `material`.
    Tls {
        place: Place,
        material: PathBuf,
    },
    Ssh(Login),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What `ssh` is told, and whom to ask there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) flavor: Flavor,
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// The engine's socket there, where it is not the usual one.
    pub(crate) socket: Option<String>,
    /// A file with a private key, of `CONTAINER_SSHKEY`.
    pub(crate) key: Option<PathBuf>,
}

/// An address that is not used, why, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) what: String,
    pub(crate) hint: String,
}

impl Refused {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// What else is said of an engine beside its address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    /// Where `ca.pem`, `cert.pem` and `key.pem` are.
    pub(crate) material: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;
/// The longest name that is looked up (RFC 1035), and longer than any path of a socket.
const MAX_WORD: usize = 255;

/// The engine that `address` names.
///
/// # Errors
/// When it is none of the grammar, or one that cannot be trusted.
pub(crate) fn parse(address: &str, flavor: Flavor, beside: Beside) -> Result<Remote, Refused> {
    let shown = shown(address);
    match address.split_once("://") {
        Some(("tcp", rest)) => tcp(rest, &shown, beside.material),
        Some(("ssh", rest)) => Ok(Remote::Ssh(ssh(rest, flavor, beside.key)?)),
        Some(("unix", _)) => Err(Refused::new(
            format!("'{shown}' names a socket without its whole path"),
            "write it as unix:///PATH",
        )),
        _ => Err(Refused::new(
            format!("'{shown}' is no address of an engine that is known here"),
            "write it as unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST",
        )),
    }
}

/// `address` as errors show it: without what stands before an '@', which may be a password.
fn shown(address: &str) -> String {
    let Some((_, place)) = address.rsplit_once('@') else { return printable(address) };
    match address.split_once("://") {
        Some((scheme, _)) if is_word(scheme, b"") => printable(&format!("{scheme}://{place}")),
        _ => printable(place),
    }
}

fn tcp(rest: &str, shown: &str, material: Option<PathBuf>) -> Result<Remote, Refused> {
    if rest.contains('@') {
        let what = format!("the address of '{shown}' has a name or a password before the host");
        return Err(Refused::new(what, "write it as tcp://HOST:PORT: who asks is told by DOCKER_CERT_PATH"));
    }
    let form = || Refused::new(format!("'{shown}' is no address of a host"), "write it as tcp://HOST:PORT");
    let (host, port) = authority(rest.strip_suffix('/').unwrap_or(rest)).ok_or_else(form)?;
    match material {
        Some(material) => Ok(Remote::Tls { place: Place { host, port: port.unwrap_or(TLS_PORT) }, material }),
        None if is_loopback(&host) => Ok(Remote::Plain(Place { host, port: port.unwrap_or(PLAIN_PORT) })),
        None => Err(Refused::new(
            format!("'{shown}' has no TLS: whoever is on the way could be the engine"),
            "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH=DIRECTORY, or use ssh://USER@HOST",
        )),
    }
}

/// Whether nothing between here and `host` is another machine's.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn ssh(rest: &str, flavor: Flavor, key: Option<PathBuf>) -> Result<Login, Refused> {
    const HINT: &str = "write it as ssh://USER@HOST, ssh://USER@HOST:PORT or ssh://USER@HOST/PATH/OF/SOCKET";
    let refused = |what: &str| Refused::new(format!("the address of the engine has {what}"), HINT);
    let (authority_part, path) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(&rest[at..]).filter(|path| *path != "/")),
        None => (rest, None),
    };
    let (user, place) = match authority_part.rsplit_once('@') {
        // Words of ssh's command line are seen by everybody, and so would it be.
        Some((user, _)) if user.contains(':') => return Err(refused("a password in it, which is not taken")),
        Some((user, place)) => (Some(user), place),
        None => (None, authority_part),
    };
    let (host, port) = authority(place).ok_or_else(|| refused("no name of a host that ssh can be given"))?;
    let is_user = |user: &str| is_word(user, b"._-+@");
    if user.is_some_and(|user| !is_user(user)) {
        return Err(refused("no name of a user that ssh can be given"));
    }
    // The shell there reads it.
    if path.is_some_and(|path| !is_word(path, b"/._-+@:")) {
        return Err(refused("a path with characters that a shell would read otherwise"));
    }
    let socket = path.map(str::to_owned);
    Ok(Login { flavor, user: user.map(str::to_owned), host, port, socket, key })
}

/// `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_address = host.parse::<IpAddr>().is_ok();
    if !is_address && !is_word(host, b"._-") {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some((host.to_owned(), port))
}

/// Whether `text` is one word for every reader, and nobody's option.
fn is_word(text: &str, also: &[u8]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || also.contains(&byte);
    !text.is_empty() && text.len() <= MAX_WORD && !text.starts_with('-') && text.bytes().all(plain)
}

impl Login {
    /// The words after `ssh`: as Docker's own command line has them, and without a question to anybody.
    pub(crate) fn words(&self) -> Vec<String> {
        const OPTIONS: [&str; 6] = [
            "BatchMode=yes",
            "ConnectTimeout=10",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=3",
            "ForwardAgent=no",
            "ClearAllForwardings=yes",
        ];
        let mut words: Vec<String> =
            OPTIONS.iter().flat_map(|option| ["-o", option]).map(str::to_owned).collect();
        words.push("-T".to_owned());
        let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if let Some(user) = &self.user {
            add("-l", user.clone());
        }
        if let Some(port) = self.port {
            add("-p", port.to_string());
        }
        if let Some(key) = &self.key {
            add("-i", key.display().to_string());
        }
        words.extend(["--".to_owned(), self.host.clone()]);
        words.extend(self.there());
        words
    }

    /// What runs there: the engine's own command line, with the socket at its standard streams.
    fn there(&self) -> Vec<String> {
        let mut words = vec![self.flavor.name().to_owned()];
        if let Some(socket) = &self.socket {
            let url = format!("unix://{socket}");
            match self.flavor {
                Flavor::Docker => words.extend(["--host".to_owned(), url]),
                Flavor::Podman => words.extend(["--remote".to_owned(), "--url".to_owned(), url]),
            }
        }
        words.extend(["system", "dial-stdio"].map(str::to_owned));
        words
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(place) | Self::Tls { place, .. } => write!(f, "tcp://{place}"),
            Self::Ssh(Login { user, host, port, socket, .. }) => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{open}{host}{close}")?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(socket.as_deref().unwrap_or_default())
            }
        }
    }
}

/// Where Docker's command line looks for `ca.pem`, `cert.pem` and `key.pem`.
pub(crate) fn material(
    verify: Option<&str>,
    directory: Option<&str>,
    config: Option<&Path>,
) -> Option<PathBuf> {
    // Either word asks for it. That only the encryption is wanted and not the proof cannot be said.
    match (verify.filter(|v| !v.is_empty()), directory.filter(|d| !d.is_empty())) {
        (_, Some(directory)) => Some(directory.into()),
        (Some(_), None) => config.map(Path::to_owned),
        (None, None) => None,
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
