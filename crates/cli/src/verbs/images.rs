//! `agentkernel images VERB`.

use crate::{context::Context, render, settings, transfer::Bars};
use agentkernel_engine::{
    images::{ImageRow, Names, Prune},
    request::Effect,
};
use agentkernel_image::Change;
use agentkernel_model::{
    Error, Result,
    image::{Digest, Reference},
    text::printable,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  agentkernel images pull python:3.12-alpine
  agentkernel images list --all
  agentkernel images import image.tar --name tools:1
  agentkernel images prune

Images are kept once, by content, for all sandboxes. A sandbox goes on with the very image that it was
made from, whatever its name means later.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Show the images on this machine
    #[command(visible_alias = "ls", alias = "local-list")]
    List(List),
    /// Fetch an image from its registry, anew if it is here
    Pull(Pull),
    /// Take in an image from a file: a docker-archive or an OCI layout
    Import(Import),
    /// Remove images that no sandbox was made from, and what broken downloads left
    Prune(PruneArgs),
    /// Remove one image by its name
    #[command(name = "local-delete", visible_aliases = ["delete", "rm"])]
    Delete(Delete),
    /// Look through the store: drop names whose content is missing, and content that nothing names
    #[command(name = "local-sync")]
    Sync(Sync),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel images list\n  agentkernel images list --all --json")]
pub(crate) struct List {
    /// Also images that have no name any more
    #[arg(short, long)]
    all: bool,

    /// Answer with one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentkernel images pull python:3.12-alpine\n  agentkernel images pull ghcr.io/owner/image@sha256:..."
)]
pub(crate) struct Pull {
    /// The image, such as python:3.12-alpine
    reference: Reference,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentkernel images import ./oci-layout --name tools:1\n  docker save my-image:1 -o image.tar && agentkernel images import image.tar"
)]
pub(crate) struct Import {
    /// A tar archive of 'docker save' or 'skopeo copy', or the directory of an OCI layout
    file: PathBuf,

    /// Name it so, whatever the file says
    #[arg(short, long, value_name = "REF")]
    name: Option<Reference>,

    /// Let the file's names mean its images, where they mean others now
    #[arg(short, long)]
    force: bool,

    /// Answer with one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel images prune --dry-run\n  agentkernel images prune")]
pub(crate) struct PruneArgs {
    /// Only images that agentkernel built from a Dockerfile
    #[arg(long)]
    agentkernel_only: bool,

    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel images local-delete python:3.12-alpine")]
pub(crate) struct Delete {
    /// The image
    reference: Reference,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel images local-sync")]
pub(crate) struct Sync {
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct PulledJson<'a> {
    reference: &'a Reference,
    /// The digest of the image's configuration.
    id: &'a Digest,
    /// What the name leads to at the registry.
    digest: &'a Digest,
    /// The registry, or the mirror that had it.
    source: &'a str,
    change: &'static str,
}

#[derive(Debug, Serialize)]
struct Deleted<'a> {
    deleted: &'a Reference,
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::List(verb) => verb.json,
            Self::Pull(verb) => verb.json,
            Self::Import(verb) => verb.json,
            Self::Prune(verb) => verb.json,
            Self::Delete(verb) => verb.json,
            Self::Sync(verb) => verb.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::List(verb) => verb.execute(context),
            Self::Pull(verb) => verb.execute(context),
            Self::Import(verb) => verb.execute(context),
            Self::Prune(verb) => verb.execute(context),
            Self::Delete(verb) => verb.execute(context),
            Self::Sync(verb) => verb.execute(context),
        }
        .map(|()| 0)
    }
}

impl List {
    fn execute(self, context: &Context) -> Result<()> {
        let mut images = context.engine().list_images()?;
        images.retain(|row| self.all || !row.names.is_empty());
        if self.json {
            return context.printer.json(&images);
        }
        if images.is_empty() {
            context.printer.note("no images found; fetch one with 'agentkernel images pull REF'");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = images.iter().flat_map(lines).collect();
        context.printer.table(&["REPOSITORY:TAG", "IMAGE ID", "USED BY", "SIZE"], &rows)?;
        let total: u64 = images.iter().map(|row| row.size_bytes).sum();
        let word = if images.len() == 1 { "image" } else { "images" };
        context.printer.text(format_args!(
            "{} {word}, {} before what they share",
            images.len(),
            render::bytes(total)
        ))
    }
}

/// One line for each name of an image.
fn lines(row: &ImageRow) -> Vec<Vec<String>> {
    let line = |name: String| {
        let users = match row.used_by.len() {
            0 => "-".to_owned(),
            _ => row.used_by.join(","),
        };
        vec![name, row.id.hex()[..12].to_owned(), printable(&users), render::bytes(row.size_bytes)]
    };
    if row.names.is_empty() {
        return vec![line("<none>".to_owned())];
    }
    row.names.iter().map(|name| line(name.to_string())).collect()
}

impl Pull {
    fn execute(self, context: &Context) -> Result<()> {
        let bars = Bars::pulling(&self.reference, context.printer, self.json);
        let pulled = context.engine().pull_image(&self.reference, &bars)?;
        let news = match pulled.change {
            Change::New => "new",
            Change::Moved => "changed",
            Change::UpToDate => "up to date",
        };
        if self.json {
            return context.printer.json(&PulledJson {
                reference: &self.reference,
                id: pulled.image.id(),
                digest: &pulled.digest,
                source: &pulled.source,
                change: news,
            });
        }
        context.printer.text(format_args!("{}: {} ({news})", self.reference, pulled.image.id()))
    }
}

impl Import {
    fn execute(self, context: &Context) -> Result<()> {
        let file = settings::current_dir()?.join(&self.file);
        let shown = printable(&self.file.to_string_lossy());
        let bars = Bars::new(format!("importing {shown}"), context.printer, self.json);
        let names = if self.force { Names::Replace } else { Names::Keep };
        let images = context.engine().import_images(&file, self.name.as_ref(), names, &bars)?;
        if self.json {
            return context.printer.json(&images);
        }
        if images.is_empty() {
            return Err(Error::invalid(format!("'{shown}' holds no image for this machine")));
        }
        for image in &images {
            let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
            let name = if names.is_empty() { "<none>".to_owned() } else { names.join(", ") };
            context.printer.text(format_args!("{name}: {}", image.id))?;
        }
        Ok(())
    }
}

impl PruneArgs {
    fn execute(self, context: &Context) -> Result<()> {
        let which = if self.agentkernel_only { Prune::Built } else { Prune::Unused };
        let effect = if self.dry_run { Effect::DryRun } else { Effect::Apply };
        let report = context.engine().prune_images(which, effect)?;
        if self.json {
            return context.printer.json(&report);
        }
        let verb = if self.dry_run { "would remove" } else { "removed" };
        context.printer.text(render::freed(verb, &report))
    }
}

impl Delete {
    fn execute(self, context: &Context) -> Result<()> {
        context.engine().remove_image(&self.reference)?;
        if self.json {
            return context.printer.json(&Deleted { deleted: &self.reference });
        }
        context.printer.text(format_args!(
            "deleted {}; 'agentkernel images prune' frees what nothing uses",
            self.reference
        ))
    }
}

impl Sync {
    fn execute(self, context: &Context) -> Result<()> {
        let report = context.engine().check_images()?;
        if self.json {
            return context.printer.json(&report);
        }
        context.printer.text(render::checked(&report))
    }
}
