//! `agentkernel sandbox export`.

use crate::{context::Context, settings};
use agentkernel_model::{Error, Kind, Result, name::SandboxName, text::printable};
use clap::Args;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox export my-sandbox -o backup.tar
  agentkernel sandbox export my-sandbox -o - | zstd > backup.tar.zst

Holds the sandbox's own files. What is mounted is not in it: /workspace, volumes, and with image host the
machine's /usr. A sandbox that is stopped is started for it, and stopped again.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// The sandbox
    name: SandboxName,

    /// The tar archive to write; - is stdout. Without it NAME.tar
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let name = self.name;
        let path = self.output.unwrap_or_else(|| format!("{name}.tar").into());
        if path.as_os_str() == "-" {
            if io::stdout().is_terminal() {
                return Err(Error::invalid("an archive is nothing for a terminal")
                    .with_hint(format!("agentkernel sandbox export {name} -o {name}.tar")));
            }
            let to = io::stdout().as_fd().try_clone_to_owned();
            let to = to.map_err(|e| Error::io("cannot write to stdout", e))?;
            return context.block_on(engine.export(&name, to));
        }
        let path = settings::current_dir()?.join(path);
        let part = Part::create(&path)?;
        let to = part.file.try_clone().map_err(|e| Error::io("cannot write the archive", e))?;
        context.block_on(engine.export(&name, to.into()))?;
        let bytes = part.finish(&path)?;
        let shown = printable(&path.to_string_lossy());
        context.printer.text(format_args!("exported '{name}' to {shown} ({})", crate::render::bytes(bytes)))
    }
}

/// An archive that is not whole yet: beside its place, and gone when it is dropped.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(target: &Path) -> Result<Self> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| {
            let shown = printable(&target.to_string_lossy());
            match e.kind() {
                io::ErrorKind::NotFound => {
                    Error::new(Kind::NotFound, format!("there is no directory for '{shown}'")).with_source(e)
                }
                _ => Error::io(format!("cannot write '{shown}'"), e),
            }
        })?;
        Ok(Self { path, file })
    }

    fn finish(self, target: &Path) -> Result<u64> {
        let fail = |e| Error::io(format!("cannot write '{}'", printable(&target.to_string_lossy())), e);
        let bytes = self.file.metadata().map_err(fail)?.len();
        fs::rename(&self.path, target).map_err(fail)?;
        Ok(bytes)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed away when it was finished.
        let _ = fs::remove_file(&self.path);
    }
}
