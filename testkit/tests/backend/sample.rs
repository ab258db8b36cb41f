//! Images written by hand, of programs of this machine.

use super::bench::Bench;
use agentkernel_testkit::oci::{Image, ImageConfig, LayerWriter};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// An image under construction: busybox and its applets in /bin, and an account besides root.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) layer: LayerWriter,
    pub(crate) config: ImageConfig,
    libraries: BTreeSet<PathBuf>,
}

impl Sample {
    pub(crate) fn new(bench: &Bench, name: &str) -> Result<Self, String> {
        let layer =
            LayerWriter::create(bench.env.directory("layers").join(name)).map_err(|e| e.to_string())?;
        let env = [("PATH".to_owned(), "/bin".to_owned())].to_vec();
        let config = ImageConfig { env, ..ImageConfig::default() };
        let mut sample = Self { layer, config, libraries: BTreeSet::new() };
        sample.layer.busybox().map_err(|e| e.to_string())?;
        let passwd = b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n";
        sample.file("etc/passwd", 0o644, passwd)?;
        Ok(sample)
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), String> {
        self.layer.file(path, mode, content).map_err(|e| e.to_string())
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), String> {
        self.layer.symlink(path, target).map_err(|e| e.to_string())
    }

    /// A program of this machine with the C library that it wants.
    pub(crate) fn program(&mut self, path: &str, mode: u32, program: &str) -> Result<(), String> {
        self.file(path, mode, &read(program)?)?;
        for library in libraries(program)? {
            if self.libraries.insert(library.clone()) {
                let inside = library.display().to_string();
                self.file(inside.trim_start_matches('/'), 0o755, &read(&library)?)?;
            }
        }
        Ok(())
    }

    /// Ends the image and puts it into the store.
    pub(crate) fn import(self, bench: &Bench, reference: &str) -> Result<(), String> {
        let layer = self.layer.finish().map_err(|e| e.to_string())?;
        let reference = reference.parse().map_err(|e| format!("{reference}: {e}"))?;
        bench.import(&Image::new(reference, &self.config, &[layer]))
    }
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    let path = path.as_ref();
    fs::read(path).map_err(|e| format!("set-up: {}: {e}", path.display()))
}

/// A shared library that nothing here needs.
pub(crate) fn library() -> Result<Vec<u8>, String> {
    let needed = libraries("/usr/bin/id")?;
    let beside = needed.iter().find(|path| path.to_string_lossy().contains("/libc.so"));
    let beside = beside.and_then(|path| path.parent()).ok_or("set-up: there is no C library of GNU")?;
    read(beside.join("libm.so.6"))
}

/// The interpreter of `program` and its libraries, as ldd(1) finds them: the last word before the address.
fn libraries(program: &str) -> Result<Vec<PathBuf>, String> {
    let said = Command::new("ldd").arg(program).output().map_err(|e| format!("set-up: ldd: {e}"))?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let path = |line: &str| {
        let path = line.rsplit_once(" (")?.0.rsplit(' ').next()?.trim().to_owned();
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    Ok(text.lines().filter_map(path).collect())
}
