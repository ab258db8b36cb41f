//! Debian packages by apt, as on an empty machine: with their whole closure, from Debian's archives only, verified.
//!
//! apt runs with a state of its own, so that it needs no root, changes nothing on this machine and does not see what is
//! installed here. Archives and proxies are those that this machine's apt knows.

use super::failed;
use agentkernel_model::{Error, Kind, Result, image::Digest, text::printable};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs, io,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Packages of other archives are never taken: they would make other images on other machines.
const PREFERENCES: &str = "Package: *\nPin: release o=Debian\nPin-Priority: 990\n\n\
                           Package: *\nPin: release o=*\nPin-Priority: -1\n";

/// One package in the cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Package {
    /// The name of its file, such as `libc6_2.36-9_amd64.deb`.
    pub(super) file: String,
    /// What the signed index says of its content.
    pub(super) digest: Digest,
}

#[derive(Debug)]
pub(super) struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// apt with its state in `directory`. The index of packages is fetched when there is none yet.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] without apt or without an archive.
    pub(super) fn open(directory: PathBuf) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "none/partial"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(|e| failed("make", &path, e))?;
        }
        for (name, text) in [("status", ""), ("preferences", PREFERENCES)] {
            let path = directory.join(name);
            fs::write(&path, text).map_err(|e| failed("write", &path, e))?;
        }
        let apt = Self { directory };
        if !apt.generation()?.contains("_Packages") {
            apt.update()?;
        }
        Ok(apt)
    }

    /// Other text when the index of packages is another one.
    ///
    /// # Errors
    /// When its directory cannot be read.
    pub(super) fn generation(&self) -> Result<String> {
        let lists = self.directory.join("lists");
        let read = || -> io::Result<Vec<String>> {
            let mut files = Vec::new();
            for entry in fs::read_dir(&lists)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                if meta.is_file() {
                    files.push(format!("{:?} {} {:?}", entry.file_name(), meta.len(), meta.modified()?));
                }
            }
            files.sort();
            Ok(files)
        };
        read().map(|files| files.join("\n")).map_err(|e| failed("read", &lists, e))
    }

    /// Fetches the index of packages anew.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when no archive answers.
    pub(super) fn update(&self) -> Result<()> {
        // A foreign archive that fails is of no interest: whether Debian's are there shows when packages are asked for.
        self.run(&[], &["update"]).map(|_| ())
    }

    /// `names` and all that they depend on, sorted.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a package that Debian does not have.
    pub(super) fn closure(&self, names: &[&str]) -> Result<Vec<Package>> {
        // From an empty cache, because files that are there already would not be listed.
        let none = self.option("Dir::Cache::archives", "none");
        let listed = self.run(&[none], &[&["--print-uris", "install"], names].concat())?;
        let mut packages = Vec::new();
        for line in listed.lines().filter(|line| line.starts_with('\'')) {
            packages.push(parse_line(line).ok_or_else(|| {
                Error::internal(format!("apt says what is not understood: {}", printable(line)))
            })?);
        }
        packages.sort();
        Ok(packages)
    }

    /// Downloads `names` and all that they depend on, as far as they are not in the cache.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the archive does not answer or what it sends is not what its index says.
    pub(super) fn download(&self, names: &[&str]) -> Result<()> {
        self.run(&[], &[&["--download-only", "install"], names].concat()).map(|_| ())
    }

    /// Where the file of a package is.
    pub(super) fn path(&self, package: &Package) -> PathBuf {
        self.directory.join("cache/archives").join(&package.file)
    }

    fn option(&self, key: &str, name: &str) -> OsString {
        let mut option = OsString::from(format!("{key}="));
        option.push(self.directory.join(name));
        option
    }

    fn run(&self, more: &[OsString], words: &[&str]) -> Result<String> {
        let mut command = Command::new("apt-get");
        command.arg("--quiet").arg("--yes").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        let places = [
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::State::extended_states", "extended_states"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::preferences", "preferences"),
            ("Dir::Etc::preferencesparts", "none"),
        ];
        for (key, name) in places {
            command.arg("-o").arg(self.option(key, name));
        }
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        for option in more {
            command.arg("-o").arg(option);
        }
        let output = command.args(words).output().map_err(|e| {
            Error::new(Kind::Unavailable, "cannot start apt-get")
                .with_source(e)
                .with_hint("fixtures need Debian's apt")
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(refused(words, &String::from_utf8_lossy(&output.stderr)))
    }
}

const OPTIONS: [&str; 11] = [
    "APT::Install-Recommends=false",
    "APT::Install-Suggests=false",
    "APT::Get::AllowUnauthenticated=false",
    "Acquire::AllowInsecureRepositories=false",
    "Acquire::ForceHash=SHA256",
    "Acquire::Retries=5",
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
    // Debian's images for containers switch these off; here apt is asked often.
    "Dir::Cache::pkgcache=pkgcache.bin",
    "Dir::Cache::srcpkgcache=srcpkgcache.bin",
];

fn refused(words: &[&str], said: &str) -> Error {
    let errors: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    let message = format!("apt-get {} failed: {}", words.join(" "), printable(&errors.join("; ")));
    let unknown = errors
        .iter()
        .any(|e| e.contains("Unable to locate package") || e.contains("no installation candidate"));
    if unknown {
        return Error::new(Kind::NotFound, message).with_hint(
            "fixtures are made from Debian's own archives: apt must know one (see sources.list(5))",
        );
    }
    Error::new(Kind::Unavailable, message).retry_later()
}

/// `'URI' FILE SIZE SHA256:HEX`.
fn parse_line(line: &str) -> Option<Package> {
    let mut fields = line.rsplit(' ');
    let digest = fields.next()?.strip_prefix("SHA256:")?;
    let (_size, file) = (fields.next()?, fields.next()?);
    let plain = !file.is_empty() && !file.contains('/') && file.ends_with(".deb");
    plain.then_some(())?;
    Some(Package { file: file.to_owned(), digest: format!("sha256:{digest}").parse().ok()? })
}

#[cfg(test)]
#[path = "apt_tests.rs"]
mod tests;
