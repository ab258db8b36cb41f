//! `agentkernel sandbox cp`.

use crate::{context::Context, render};
use agentkernel_engine::request::{Copied, CopySource};
use agentkernel_model::{Error, Result, name::SandboxName, path::GuestPath, text::printable};
use clap::Args;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox cp ./data my-project:/data      a directory with everything in it
  agentkernel sandbox cp my-project:/root/report.txt .
  agentkernel sandbox cp ./site/. my-project:/srv     what is in the directory, not the directory itself

One side is NAME:/PATH, the other a path of this machine. Links are copied as links. A sandbox that is
stopped is started for the copy, and stopped again.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cp {
    /// What to copy: PATH, or NAME:/PATH
    #[arg(value_name = "SOURCE")]
    from: String,

    /// Where to: NAME:/PATH, or PATH
    #[arg(value_name = "TARGET")]
    to: String,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Cp {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let copied = match (Side::parse(&self.from)?, Side::parse(&self.to)?) {
            (Side::Host(from), Side::Inside(name, to)) => {
                let from = CopySource { path: from.path, contents: from.contents };
                context.block_on(engine.copy_in(&name, &from, &to.path))?
            }
            (Side::Inside(name, from), Side::Host(to)) => {
                context.block_on(engine.copy_out(&name, &from, &to.path))?
            }
            _ => {
                return Err(Error::invalid("exactly one side of a copy is in a sandbox")
                    .with_hint("agentkernel sandbox cp ./file NAME:/path, or cp NAME:/path ./file"));
            }
        };
        self.tell(context, copied)
    }

    fn tell(&self, context: &Context, copied: Copied) -> Result<()> {
        if self.json {
            return context.printer.json(&copied);
        }
        if copied.skipped > 0 {
            context.printer.note(format_args!("{} sockets and devices were not copied", copied.skipped));
        }
        let entries = if copied.entries == 1 { "entry" } else { "entries" };
        context.printer.text(format_args!(
            "copied {} {entries}, {}",
            copied.entries,
            render::bytes(copied.bytes)
        ))
    }
}

enum Side {
    Host(CopySource<PathBuf>),
    Inside(SandboxName, CopySource<GuestPath>),
}

impl Side {
    /// `NAME:/PATH` is inside. A path of this machine that looks like one is written with `./` before it.
    fn parse(text: &str) -> Result<Self> {
        let inside = text.split_once(':').filter(|(name, _)| !name.contains('/') && !name.starts_with('.'));
        let Some((name, path)) = inside else {
            if text.is_empty() {
                return Err(Error::invalid("a side of the copy is empty"));
            }
            return Ok(Self::Host(CopySource {
                path: Path::new(text).to_owned(),
                contents: ends_in_dot(text),
            }));
        };
        if !path.starts_with('/') {
            return Err(Error::invalid(format!("'{}' is no absolute path", printable(path)))
                .with_hint(format!("write {}:/{}", printable(name), printable(path))));
        }
        let contents = ends_in_dot(path);
        let path = path.strip_suffix("/.").unwrap_or(path).trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self::Inside(name.parse()?, CopySource { path: path.parse()?, contents }))
    }
}

fn ends_in_dot(text: &str) -> bool {
    text == "." || text.ends_with("/.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_inside_when_a_name_and_a_colon_begin_it() {
        for text in ["./a:b", "a", "/a:/b", "../x:y", "."] {
            assert!(matches!(Side::parse(text).unwrap(), Side::Host(_)), "{text}");
        }
        let Side::Inside(name, source) = Side::parse("box:/srv/.").unwrap() else { panic!("host") };
        assert_eq!((name.as_str(), source.path.as_str(), source.contents), ("box", "/srv", true));
        let Side::Inside(_, root) = Side::parse("box:/").unwrap() else { panic!("host") };
        assert_eq!((root.path.as_str(), root.contents), ("/", false));
        for text in ["box:", "box:rel", "-b:/x", "box:/a/../b", ""] {
            assert!(Side::parse(text).is_err(), "{text}");
        }
    }
}
