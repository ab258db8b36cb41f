//! `agentkernel trust`.

use crate::{context::Context, project, settings};
use agentkernel_model::{Error, Kind, Result, text::printable};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  agentkernel trust                      trusts ./agentkernel.toml as it is now
  agentkernel trust ./.devcontainer/devcontainer.json
  agentkernel trust --list
  agentkernel trust --revoke

A configuration that was only found, in a cloned repository for instance, may choose the image and tighten the
policy. Read it, then trust it, and all of it takes effect, until it changes by a single byte.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Trust {
    /// The file; without one, the configuration of this directory
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Show what is trusted
    #[arg(long, conflicts_with_all = ["file", "revoke"])]
    list: bool,

    /// Trust the file no more
    #[arg(long)]
    revoke: bool,

    /// Answer with one JSON value
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct Trusted {
    path: PathBuf,
    sha256: String,
}

impl Trust {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let engine = context.engine();
        if self.list {
            return self.show(context, engine.trusted()?);
        }
        let cwd = settings::current_dir()?;
        let file = cwd.join(self.file.as_deref().unwrap_or(project::FOUND.as_ref()));
        let shown = printable(&file.to_string_lossy());
        if self.revoke {
            if !engine.revoke_trust(&file)? {
                return Err(Error::new(Kind::NotFound, format!("'{shown}' was not trusted"))
                    .with_hint("agentkernel trust --list"));
            }
            return context.printer.text(format_args!("'{shown}' is trusted no more")).map(|()| 0);
        }
        // What cannot be read as a configuration is nothing that anybody could have agreed to.
        let content = project::read_named(&file, &shown)?;
        let path = engine.trust(&file, &content)?;
        if self.json {
            let sha256 = agentkernel_engine::trusted::digest(&content).hex().to_owned();
            return context.printer.json(&Trusted { path, sha256 }).map(|()| 0);
        }
        context.printer.text(format_args!("'{shown}' is trusted as it is now")).map(|()| 0)
    }

    fn show(&self, context: &Context, all: Vec<(PathBuf, agentkernel_model::image::Digest)>) -> Result<u8> {
        if self.json {
            let all: Vec<Trusted> = all
                .into_iter()
                .map(|(path, digest)| Trusted { path, sha256: digest.hex().to_owned() })
                .collect();
            return context.printer.json(&all).map(|()| 0);
        }
        if all.is_empty() {
            context.printer.note("nothing is trusted; 'agentkernel trust' trusts ./agentkernel.toml");
            return Ok(0);
        }
        let row = |(path, digest): &(PathBuf, agentkernel_model::image::Digest)| {
            vec![path.display().to_string(), digest.hex()[..12].to_owned()]
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        context.printer.table(&["FILE", "SHA256"], &rows).map(|()| 0)
    }
}
