//! `agentkernel man`: the manual, made from the same text as `--help`.

use crate::{cli, context::Context};
use agentkernel_model::{Error, Result, suggest, text::printable};
use clap::{Args, Command};
use clap_mangen::{
    Man as Page,
    roff::{Roff, roman},
};
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  agentkernel man | man -l -
  agentkernel man sandbox create | man -l -
  agentkernel man --output /usr/local/share/man/man1";

/// How the examples of a verb begin.
const EXAMPLES_HEAD: &str = "Examples:\n";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Man {
    /// Write the pages of all verbs into this directory
    #[arg(short, long, value_name = "DIR", conflicts_with = "verb")]
    output: Option<PathBuf>,

    /// The verb whose page to print; without one, that of agentkernel
    verb: Vec<String>,
}

impl Man {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let mut tree = cli::tree().disable_help_subcommand(true);
        tree.build();
        if let Some(directory) = &self.output {
            let count = write_all(&tree, directory)?;
            context
                .printer
                .text(format_args!("wrote {count} pages to {}", printable(&directory.to_string_lossy())))?;
            return Ok(0);
        }
        let mut command = &tree;
        for word in &self.verb {
            command = command.find_subcommand(word).ok_or_else(|| {
                let known: Vec<&str> = shown(command).map(Command::get_name).collect();
                Error::invalid(format!("there is no verb '{}'", printable(word)))
                    .with_hint(suggest::hint(word, &known))
            })?;
        }
        let page = render(command)?;
        context.printer.text(String::from_utf8_lossy(&page).trim_end())?;
        Ok(0)
    }
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set())
}

/// Writes the page of `command` and of every verb below it; the result is how many there are.
fn write_all(command: &Command, directory: &Path) -> Result<usize> {
    let fail = |path: &Path, e: io::Error| {
        Error::io(format!("cannot write '{}'", printable(&path.to_string_lossy())), e)
            .with_hint("name a directory that you may write to with --output")
    };
    fs::create_dir_all(directory).map_err(|e| fail(directory, e))?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, render(command)?).map_err(|e| fail(&path, e))?;
    shown(command).try_fold(1, |count, verb| Ok(count + write_all(verb, directory)?))
}

fn render(command: &Command) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let written = sections(command, &mut out);
    written.map_err(|e| Error::internal("cannot make a page of the manual").with_source(e))?;
    Ok(out)
}

/// A page whose examples keep their lines, which those of clap_mangen do not.
fn sections(command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let page = Page::new(command.clone());
    // Written here: clap_mangen loses an empty date, and what follows it gets into its place.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, ".TH \"{name}\" 1 \"\" \"agentkernel {version}\" \"agentkernel manual\"")?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        page.render_options_section(out)?;
    }
    if shown(command).next().is_some() {
        page.render_subcommands_section(out)?;
    }
    if let Some(text) = command.get_after_help() {
        closing(&text.to_string()).to_writer(out)?;
    }
    Ok(())
}

/// What stands below the flags in `--help`: examples, and paragraphs about the verb.
fn closing(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut notes = false;
    for block in text.split("\n\n") {
        if let Some(examples) = block.strip_prefix(EXAMPLES_HEAD) {
            roff.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in examples.lines() {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            roff.control("fi", []);
            continue;
        }
        if !notes {
            roff.control("SH", ["NOTES"]);
            notes = true;
        } else {
            roff.control("PP", []);
        }
        for line in block.lines() {
            roff.text([roman(line)]);
        }
    }
    roff
}

#[cfg(test)]
#[path = "man_tests.rs"]
mod tests;
