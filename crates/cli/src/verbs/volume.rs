//! `agentkernel volume VERB`.

use crate::{context::Context, render};
use agentkernel_engine::{request::VolumeInfo, volumes::Content};
use agentkernel_model::{Result, name::VolumeName, size::ByteSize};
use clap::{Args, Subcommand};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel volume create cache
  agentkernel run --volume cache:/root/.cache npm install
  agentkernel volume list
  agentkernel volume delete cache --force

A volume outlives the sandboxes that mount it, and several may mount it at once.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Make a volume
    Create(Create),
    /// Show the volumes there are
    #[command(visible_alias = "ls")]
    List(List),
    /// Show one volume: its size, who uses it, where it is
    Info(Info),
    /// Remove a volume; with --force also what is in it
    #[command(visible_alias = "rm")]
    Delete(Delete),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel volume create cache")]
pub(crate) struct Create {
    /// Its name
    name: VolumeName,

    /// The most that it may hold. Refused: a directory has no bound that could be kept
    #[arg(short, long, value_name = "SIZE")]
    size: Option<ByteSize>,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel volume list\n  agentkernel volume list --json")]
pub(crate) struct List {
    /// Answer with one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel volume info cache")]
pub(crate) struct Info {
    /// The volume
    name: VolumeName,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentkernel volume delete cache\n  agentkernel volume delete --force cache"
)]
pub(crate) struct Delete {
    /// The volume
    name: VolumeName,

    /// Also when it is not empty
    #[arg(short, long)]
    force: bool,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Deleted<'a> {
    deleted: &'a VolumeName,
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::Create(verb) => verb.json,
            Self::List(verb) => verb.json,
            Self::Info(verb) => verb.json,
            Self::Delete(verb) => verb.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let engine = context.engine();
        match self {
            Self::Create(Create { name, size, json }) => {
                let info = engine.create_volume(&name, size)?;
                if json {
                    return context.printer.json(&info).map(|()| 0);
                }
                context.printer.text(format_args!(
                    "created volume '{name}'\nmount it with --volume {name}:/some/place"
                ))?;
            }
            Self::List(List { json }) => list(context, &engine.volumes()?, json)?,
            Self::Info(Info { name, json }) => {
                let info = engine.volume(&name)?;
                if json {
                    return context.printer.json(&info).map(|()| 0);
                }
                context.printer.text(render::lines(&rows(&info)))?;
            }
            Self::Delete(Delete { name, force, json }) => {
                engine.delete_volume(&name, if force { Content::Remove } else { Content::Keep })?;
                if json {
                    return context.printer.json(&Deleted { deleted: &name }).map(|()| 0);
                }
                context.printer.text(format_args!("deleted volume '{name}'"))?;
            }
        }
        Ok(0)
    }
}

fn list(context: &Context, volumes: &[VolumeInfo], json: bool) -> Result<()> {
    if json {
        return context.printer.json(&volumes);
    }
    if volumes.is_empty() {
        context.printer.note("no volumes found; make one with 'agentkernel volume create NAME'");
        return Ok(());
    }
    let row = |volume: &VolumeInfo| {
        vec![
            volume.name.to_string(),
            "unbounded".to_owned(),
            render::bytes(volume.used_bytes),
            volume.sandboxes.len().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = volumes.iter().map(row).collect();
    context.printer.table(&["SLUG", "SIZE", "USAGE", "MOUNTS"], &rows)
}

fn rows(info: &VolumeInfo) -> Vec<render::Row> {
    let sandboxes = if info.sandboxes.is_empty() { "none".to_owned() } else { info.sandboxes.join(", ") };
    vec![
        ("Slug", info.name.to_string()),
        ("Size", "unbounded".to_owned()),
        ("Usage", render::bytes(info.used_bytes)),
        ("Created", info.created_at.clone()),
        ("Used by", sandboxes),
        ("Path", info.path.display().to_string()),
    ]
}
