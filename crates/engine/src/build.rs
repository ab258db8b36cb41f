//! Images from Dockerfiles: built by an engine of this machine, kept in our own store, and built again only when something
//! of what they are made from has changed.

use crate::{directories, engine::Engine, images};
use agentkernel_image::{Names, Progress};
use agentkernel_model::{Error, Kind, Result, image::Reference, text::printable};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// What the image is named after: `agentkernel-NAME`.
    pub project: String,
    /// The directory that the Dockerfile sees.
    pub context: PathBuf,
    pub dockerfile: PathBuf,
    /// The stage to build; `None` is the last.
    pub target: Option<String>,
    pub args: Vec<(String, String)>,
    pub cache: Cache,
}

/// Whether an image of an earlier build may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    Use,
    Ignore,
}

/// An image that was built, now or before.
#[derive(Debug, Clone)]
pub struct Built {
    pub reference: Reference,
    /// The program that built it; `None` when nothing had changed.
    pub by: Option<String>,
}

/// Builds the image of `request`, unless it is there. What the builder says goes to `output`. Blocks.
///
/// # Errors
/// [`Kind::Unavailable`] without a builder; [`Kind::Conflict`] when the build fails.
pub(crate) fn build(
    engine: &Engine,
    request: &BuildRequest,
    builders: &[Builder],
    output: impl Fn() -> io::Result<Stdio>,
    progress: &dyn Progress,
) -> Result<Built> {
    let reference = reference(request)?;
    if request.cache == Cache::Use && engine.images().find(&reference)?.is_some() {
        return Ok(Built { reference, by: None });
    }
    let builder = Ready::find(builders, &engine.facts.path)?;
    builder.build(request, &reference, &output)?;
    directories::ensure(&engine.host)?;
    let archive = tempfile::Builder::new().prefix("build-").suffix(".tar").tempfile_in(&engine.host.data);
    let archive = archive.map_err(|e| Error::io("cannot make a file for the image", e))?;
    builder.save(&reference, archive.path(), &output)?;
    engine.images().import(archive.path(), Some(&reference), Names::Replace, progress)?;
    Ok(Built { reference, by: Some(builder.builder.program.to_owned()) })
}

/// `agentkernel-PROJECT:HASH`, where the hash is over everything that the build could depend on.
pub(crate) fn reference(request: &BuildRequest) -> Result<Reference> {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(&fs::read(&request.dockerfile).map_err(|e| unreadable(&request.dockerfile, e))?);
    field(request.target.as_deref().unwrap_or_default().as_bytes());
    for (key, value) in &request.args {
        field(key.as_bytes());
        field(value.as_bytes());
    }
    hash_tree(&mut hash, &request.context)?;
    let digest = agentkernel_model::image::Digest::of_sha256(&hash.finalize().into());
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = request.project.chars().map(word).collect();
    let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    let name = if parts.is_empty() { "project".to_owned() } else { parts.join("-") };
    let name: String = name.chars().take(100).collect();
    format!("{}{}:{}", images::BUILT, name.trim_end_matches('-'), &digest.hex()[..12]).parse()
}

/// Names, kinds, modes and contents of everything below `root`, in one order. Links are told by what they say.
fn hash_tree(hash: &mut Sha256, root: &Path) -> Result<()> {
    let mut rest = vec![root.to_owned()];
    while let Some(directory) = rest.pop() {
        let entries = fs::read_dir(&directory).map_err(|e| unreadable(&directory, e))?;
        let entries: io::Result<Vec<fs::DirEntry>> = entries.collect();
        let mut paths: Vec<PathBuf> =
            entries.map_err(|e| unreadable(&directory, e))?.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        for path in paths {
            let fail = |e| unreadable(&path, e);
            let meta = path.symlink_metadata().map_err(fail)?;
            let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(meta.mode().to_le_bytes());
            if meta.is_dir() {
                rest.push(path);
            } else if meta.is_symlink() {
                let says = fs::read_link(&path).map_err(fail)?;
                hash.update((says.as_os_str().len() as u64).to_le_bytes());
                hash.update(says.as_os_str().as_bytes());
            } else if meta.is_file() {
                hash.update(meta.len().to_le_bytes());
                io::copy(&mut File::open(&path).map_err(fail)?, &mut Sink(hash)).map_err(fail)?;
            }
        }
    }
    Ok(())
}

/// A hash to write to.
struct Sink<'a>(&'a mut Sha256);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unreadable(path: &Path, e: io::Error) -> Error {
    let kind = if e.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Denied };
    Error::new(kind, format!("cannot read '{}' for the build", printable(&path.to_string_lossy())))
        .with_source(e)
}

/// An engine that can build, by its command line: it brings the user's own builder, context and credentials with it, which
/// an engine's API does not.
#[derive(Debug, Clone, Copy)]
pub struct Builder {
    /// What it is called on the PATH.
    pub program: &'static str,
    /// What it puts before the name of an image that is of no registry.
    pub local_prefix: &'static str,
}

/// A builder that answered.
struct Ready {
    builder: Builder,
    path: PathBuf,
}

impl Ready {
    /// The first of `builders` that is on the caller's PATH and answers.
    fn find(builders: &[Builder], path: &[PathBuf]) -> Result<Self> {
        let mut silent = Vec::new();
        for builder in builders {
            let found = path.iter().map(|dir| dir.join(builder.program)).find(|file| file.is_file());
            let Some(program) = found else { continue };
            let answers = Command::new(&program)
                .arg("info")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if answers.is_ok_and(|status| status.success()) {
                return Ok(Self { builder: *builder, path: program });
            }
            silent.push(builder.program);
        }
        let all: Vec<&str> = builders.iter().map(|builder| builder.program).collect();
        let why = match silent.as_slice() {
            [] => format!("none of {} is on the PATH", all.join(", ")),
            names => format!("{} does not answer", names.join(" and ")),
        };
        Err(Error::new(Kind::Unavailable, format!("a Dockerfile needs an engine to be built: {why}"))
            .with_hint("install or start one, or name an image with --image"))
    }

    fn build(
        &self,
        request: &BuildRequest,
        reference: &Reference,
        output: &impl Fn() -> io::Result<Stdio>,
    ) -> Result<()> {
        let mut command = Command::new(&self.path);
        command.arg("build").arg("--tag").arg(reference.to_string()).arg("--file").arg(&request.dockerfile);
        if let Some(target) = &request.target {
            command.arg("--target").arg(target);
        }
        if request.cache == Cache::Ignore {
            command.arg("--no-cache");
        }
        for (key, value) in &request.args {
            // Never through the environment: a file of a repository must not set variables of a program of this machine.
            command.arg("--build-arg").arg(format!("{key}={value}"));
        }
        command.arg("--").arg(&request.context);
        self.run(command, "build the image", output)
    }

    fn save(&self, reference: &Reference, to: &Path, output: &impl Fn() -> io::Result<Stdio>) -> Result<()> {
        let mut command = Command::new(&self.path);
        let name = format!("{}{reference}", self.builder.local_prefix);
        command.arg("save").arg("--output").arg(to).arg(name);
        self.run(command, "save the image", output)
    }

    fn run(&self, mut command: Command, what: &str, output: &impl Fn() -> io::Result<Stdio>) -> Result<()> {
        let fail = |e| Error::io(format!("cannot start '{}'", self.path.display()), e);
        command.stdin(Stdio::null()).stdout(output().map_err(fail)?).stderr(output().map_err(fail)?);
        let status = command.status().map_err(fail)?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(Kind::Conflict, format!("{} could not {what} ({status})", self.builder.program))
            .with_hint("its own messages stand above"))
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
