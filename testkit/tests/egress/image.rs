//! The image of sandboxes of engines: busybox, and what hostile programs are made of.

use crate::{bench::Bench, sample::Sample};
use std::{fs, path::Path};

pub(crate) const NAME: &str = "clients:1";

const PROGRAMS: [&str; 2] = ["/usr/bin/curl", "/usr/bin/python3"];

/// Puts it into the store.
pub(crate) fn import(bench: &Bench) -> Result<(), String> {
    let mut sample = Sample::new(bench, "clients")?;
    for program in PROGRAMS {
        sample.program(program.trim_start_matches('/'), 0o755, program)?;
    }
    let library = python_library()?;
    tree(&mut sample, Path::new(&library), &|name| !matches!(name, "test" | "__pycache__" | "idlelib"))?;
    let roots = "/etc/ssl/certs/ca-certificates.crt";
    let bytes = fs::read(roots).map_err(|e| format!("set-up: {roots}: {e}"))?;
    sample.file(roots.trim_start_matches('/'), 0o644, &bytes)?;
    sample.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    sample.config.env = vec![("PATH".to_owned(), "/bin:/usr/bin".to_owned())];
    sample.import(bench, NAME)
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
