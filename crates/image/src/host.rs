//! The built-in `host` image: an allow-list of this machine's own files.
//!
//! Shown are /usr with its companions, named files of /etc, and known tool installations of the caller's PATH. Never
//! shown: /run, /var, homes, and whatever holds keys or accounts (/etc/shadow, /etc/ssl/private, kube configuration).

use crate::toolchains;
use agentkernel_backend::{
    GeneratedFile, Graft, ImageDefaults, Lease, Owners, Rootfs, gateway, rootfs::Layer,
};
use agentkernel_model::{Error, Kind, Result, command::User, path::GuestPath, text::printable};
use std::path::{Path, PathBuf};

/// Facts about the caller that this crate does not read from the environment itself.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// The caller's PATH, split.
    pub path: Vec<PathBuf>,
    pub home: Option<PathBuf>,
}

/// Directories at the root that hold programs and libraries; symbolic links into /usr on merged systems.
const PROGRAMS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What programs need of /etc: the linker's cache, public certificates, names of services and time zones.
const ETC: [&str; 12] = [
    "alternatives",
    "crypto-policies",
    "ld.so.cache",
    "localtime",
    "mime.types",
    "os-release",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];

/// PATH of a sandbox, after the caller's own tool installations.
const BASE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost agentkernel\n::1 localhost agentkernel\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n";

/// The built-in `host` image.
///
/// # Errors
/// [`Kind::Unavailable`] when the machine has no `/usr`.
pub fn host_rootfs(facts: &HostFacts) -> Result<Lease> {
    if !Path::new("/usr").is_dir() {
        return Err(Error::new(
            Kind::Unavailable,
            "the host image needs /usr, which this machine does not have",
        )
        .with_hint("name an image: agentkernel run --image REF -- COMMAND"));
    }
    let mut rootfs = Rootfs {
        identity: "host".to_owned(),
        layers: Vec::new(),
        grafts: Vec::new(),
        links: Vec::new(),
        directories: directories()?,
        files: files()?,
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    };
    for path in PROGRAMS {
        show(&mut rootfs, Path::new(path), path, Layer::CopyOnWrite)?;
    }
    for name in ETC {
        let path = format!("/etc/{name}");
        show(&mut rootfs, Path::new(&path), &path, Layer::ReadOnly)?;
    }
    for name in runtime_configuration() {
        let path = format!("/etc/{name}");
        show(&mut rootfs, Path::new(&path), &path, Layer::ReadOnly)?;
    }
    let tools = toolchains::find(facts);
    let mut path: Vec<String> = Vec::new();
    for directory in &tools.path {
        path.push(directory.as_str().to_owned());
    }
    path.push(BASE_PATH.to_owned());
    rootfs.env.push(("PATH".to_owned(), path.join(":")));
    rootfs.env.push(("HOME".to_owned(), "/root".to_owned()));
    rootfs.env.extend(tools.env);
    rootfs.grafts.extend(tools.grafts);
    Ok(Lease::unguarded(rootfs))
}

/// The number of a user of the `host` image, whose table is made up here.
///
/// # Errors
/// [`Kind::Invalid`] when it has none of that name.
pub fn host_user(name: &str) -> Result<User> {
    let (user, group) = name.split_once(':').unwrap_or((name, ""));
    let find = |table: &str, name: &str, field: usize| {
        let line =
            table.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line[0] == name)?;
        line.get(field)?.parse::<u32>().ok()
    };
    let found = find(PASSWD, user, 2).and_then(|uid| {
        let own = find(PASSWD, user, 3)?;
        let gid =
            if group.is_empty() { own } else { find(GROUP, group, 2).or_else(|| group.parse().ok())? };
        Some(User { uid, gid })
    });
    found.ok_or_else(|| {
        Error::invalid(format!("the image 'host' has no user '{}'", printable(name)))
            .with_hint("it has root, user (1000) and nobody; or write UID:GID")
    })
}

/// Adds `source` to the image as what it is: a link stays a link, a directory or file becomes a graft, anything else
/// (a socket, a device) and what does not exist is left out.
fn show(rootfs: &mut Rootfs, source: &Path, target: &str, layer: Layer) -> Result<()> {
    let Ok(meta) = source.symlink_metadata() else { return Ok(()) };
    let target: GuestPath = target.parse()?;
    if meta.is_symlink() {
        if let Some(says) =
            std::fs::read_link(source).ok().and_then(|l| l.into_os_string().into_string().ok())
        {
            rootfs.links.push((target, says));
        }
    } else if meta.is_dir() {
        rootfs.grafts.push(Graft { source: source.to_owned(), target, layer });
    } else if meta.is_file() {
        rootfs.grafts.push(Graft { source: source.to_owned(), target, layer: Layer::ReadOnly });
    }
    Ok(())
}

/// Java is the one runtime that does not start without its directory of /etc, such as `java-17-openjdk`, which Debian
/// names after the one of /usr/lib/jvm.
fn runtime_configuration() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/usr/lib/jvm") else { return Vec::new() };
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let configured = names.filter_map(|name| Some(name.rsplit_once("-openjdk")?.0.to_owned() + "-openjdk"));
    let mut found: Vec<String> = configured.filter(|name| !name.starts_with('.')).collect();
    found.sort();
    found.dedup();
    found
}

fn directories() -> Result<Vec<(GuestPath, u32)>> {
    let list = [
        ("/etc", 0o755),
        ("/home", 0o755),
        ("/home/user", 0o755),
        ("/mnt", 0o755),
        ("/opt", 0o755),
        ("/root", 0o700),
        ("/run", 0o755),
        ("/srv", 0o755),
        ("/var", 0o755),
        ("/var/tmp", 0o1777),
    ];
    list.into_iter().map(|(path, mode)| Ok((path.parse()?, mode))).collect()
}

fn files() -> Result<Vec<GeneratedFile>> {
    let mut files = network_files()?;
    for (target, content) in
        [("/etc/passwd", PASSWD), ("/etc/group", GROUP), ("/etc/nsswitch.conf", NSSWITCH)]
    {
        files.push(file(target, content)?);
    }
    Ok(files)
}

/// What every sandbox knows of its network, whatever image it runs.
pub(crate) fn network_files() -> Result<Vec<GeneratedFile>> {
    let resolv = format!("nameserver {}\noptions timeout:5 attempts:2\n", gateway::RESOLVER);
    let list =
        [("/etc/hosts", HOSTS), ("/etc/hostname", "agentkernel\n"), ("/etc/resolv.conf", resolv.as_str())];
    list.into_iter().map(|(target, content)| file(target, content)).collect()
}

fn file(target: &str, content: &str) -> Result<GeneratedFile> {
    Ok(GeneratedFile { target: target.parse()?, mode: 0o644, content: content.as_bytes().to_vec() })
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
