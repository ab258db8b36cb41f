//! The images of sandboxes of engines.

use crate::{bench::Bench, sample::Sample};
use agentkernel_testkit::oci::{self, ImageConfig, LayerWriter};
use std::{fs, path::Path};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Image {
    /// Busybox, and what hostile programs are made of.
    Small,
    /// The programs that people have here, as the image `host` shows them: no small image has them all.
    OfThisMachine,
}

const PROGRAMS: [&str; 2] = ["/usr/bin/curl", "/usr/bin/python3"];
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const NAMES: (&str, &[u8]) = ("etc/nsswitch.conf", b"hosts: files dns\n");
/// Beside `/usr`: the links and the settings that Debian's Java is in two pieces without.
const SETTINGS: [&str; 2] =
    ["/etc/alternatives:/etc/alternatives:ro", "/etc/java-17-openjdk:/etc/java-17-openjdk:ro"];

impl Image {
    /// Puts it into the store. The flags with which a sandbox is of it.
    pub(crate) fn import(self, bench: &Bench) -> Result<Vec<&'static str>, String> {
        match self {
            Self::Small => small(bench).map(|()| vec!["--image", "clients:1"]),
            Self::OfThisMachine => {
                bare(bench)?;
                // A rootless engine shows nothing read-only that has mounts below it, as the suite's own network has.
                let usr = if rustix::process::geteuid().is_root() { "/usr:/usr:ro" } else { "/usr:/usr" };
                let flags = [usr].into_iter().chain(SETTINGS).flat_map(|mount| ["--volume", mount]);
                Ok(["--image", "bare:1"].into_iter().chain(flags).collect())
            }
        }
    }
}

fn small(bench: &Bench) -> Result<(), String> {
    let mut sample = Sample::new(bench, "clients")?;
    for program in PROGRAMS {
        sample.program(program.trim_start_matches('/'), 0o755, program)?;
    }
    let library = python_library()?;
    tree(&mut sample, Path::new(&library), &|name| !matches!(name, "test" | "__pycache__" | "idlelib"))?;
    sample.file(ROOTS.trim_start_matches('/'), 0o644, &roots()?)?;
    sample.file(NAMES.0, 0o644, NAMES.1)?;
    sample.config.env = vec![("PATH".to_owned(), "/bin:/usr/bin".to_owned())];
    sample.import(bench, "clients:1")
}

/// Nothing but where programs look for what is in `/usr`.
fn bare(bench: &Bench) -> Result<(), String> {
    let roots = roots()?;
    let layer = || {
        let mut layer = LayerWriter::create(bench.env.directory("layers").join("bare"))?;
        for name in ["bin", "sbin", "lib", "lib64"] {
            layer.symlink(name, &format!("usr/{name}"))?;
        }
        layer.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n")?;
        layer.file(ROOTS.trim_start_matches('/'), 0o644, &roots)?;
        layer.file(NAMES.0, 0o644, NAMES.1)?;
        layer.finish()
    };
    let layer = layer().map_err(|e| e.to_string())?;
    let env = vec![("PATH".to_owned(), "/usr/bin".to_owned())];
    let name = "bare:1".parse().map_err(|e| format!("bare:1: {e}"))?;
    bench.import(&oci::Image::new(name, &ImageConfig { env, ..ImageConfig::default() }, &[layer]))
}

fn roots() -> Result<Vec<u8>, String> {
    fs::read(ROOTS).map_err(|e| format!("set-up: {ROOTS}: {e}"))
}

/// Such as `/usr/lib/python3.11`: where Debian's python3 has its library.
fn python_library() -> Result<String, String> {
    let program = fs::canonicalize("/usr/bin/python3").map_err(|e| format!("set-up: python3: {e}"))?;
    let version = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(format!("/usr/lib/{version}"))
}

fn tree(sample: &mut Sample, directory: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|e| format!("set-up: {}: {e}", directory.display()))?;
    let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // Links of Debian lead out of the directory.
        let meta = fs::metadata(&path).map_err(|e| format!("set-up: {}: {e}", path.display()))?;
        if meta.is_dir() && wanted(&name) {
            tree(sample, &path, wanted)?;
        } else if meta.is_file() {
            let inside = path.display().to_string();
            let inside = inside.trim_start_matches('/');
            if name.contains(".so") {
                sample.program(inside, 0o755, &path.display().to_string())?;
            } else {
                let bytes = fs::read(&path).map_err(|e| format!("set-up: {inside}: {e}"))?;
                sample.file(inside, 0o644, &bytes)?;
            }
        }
    }
    Ok(())
}
