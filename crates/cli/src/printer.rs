//! Everything that agentkernel itself says. Nothing else writes to the terminal but the pump, which passes on what a
//! command wrote.

use agentkernel_model::{Error, Result, text::printable};
use serde::Serialize;
use std::{
    fmt,
    io::{self, BufRead as _, IsTerminal, Read as _, Write},
};

/// Whether a verb answers people or programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    #[default]
    Text,
    Json,
}

impl Form {
    pub(crate) const fn from_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    color: bool,
}

/// An error as programs see it.
#[derive(Serialize)]
struct ErrorJson<'a> {
    error: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    exit_code: u8,
}

impl Printer {
    /// Colour is for terminals, unless `NO_COLOR` (no-color.org) or a dumb terminal says otherwise.
    pub(crate) fn new(no_color: bool, term: Option<&str>) -> Self {
        Self { color: !no_color && term.is_some_and(|t| t != "dumb") && io::stderr().is_terminal() }
    }

    /// Bytes as they are, and a line end: only what somebody asked to see.
    pub(crate) fn line(&self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        match written {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("cannot write to stdout", e)),
            _ => Ok(()),
        }
    }

    /// Lines on stdout. A reader that went away is no error: it has read what it wanted.
    pub(crate) fn text(&self, text: impl fmt::Display) -> Result<()> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        match written {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("cannot write to stdout", e)),
            _ => Ok(()),
        }
    }

    /// One JSON value on stdout, on one line.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|e| Error::internal("cannot write the answer as JSON").with_source(e))?;
        self.text(text)
    }

    /// One JSON value on stdout, for people as well.
    pub(crate) fn pretty_json(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::internal("cannot write the answer as JSON").with_source(e))?;
        self.text(text)
    }

    /// What comes from `source` as it is: only what somebody asked to see.
    pub(crate) fn copy(&self, mut source: impl io::Read) -> Result<()> {
        let mut out = io::stdout().lock();
        match io::copy(&mut source, &mut out).and_then(|_| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("cannot write to stdout", e)),
            _ => Ok(()),
        }
    }

    /// A table on stdout; the last column is not padded.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<String>]) -> Result<()> {
        self.text(render_table(head, rows))
    }

    /// A line on stderr that is no error.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        self.stderr(&format!("{} {}", self.paint("note:", "36"), printable(&text.to_string())));
    }

    /// Asks on stderr and waits for a line on stdin: whether it is a yes. Nothing, and anything else, is a no.
    pub(crate) fn ask(&self, question: &str) -> Result<bool> {
        let asked = format!("{} [y/N] ", printable(question));
        io::stderr().write_all(asked.as_bytes()).map_err(|e| Error::io("cannot write to stderr", e))?;
        let mut answer = String::new();
        let read = io::stdin().lock().take(64).read_line(&mut answer);
        read.map_err(|e| Error::io("cannot read the answer from stdin", e))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// `error: …` and its hint on stderr, or one JSON object.
    pub(crate) fn error(&self, error: &Error, form: Form) {
        if form == Form::Json {
            let value = ErrorJson {
                error: error.to_string(),
                kind: error.kind().as_str(),
                hint: error.hint(),
                exit_code: error.kind().exit_code(),
            };
            if let Ok(text) = serde_json::to_string(&value) {
                self.stderr(&text);
            }
            return;
        }
        // A message may carry text of a system or a file; it stays one line and drives no terminal.
        let mut text = format!("{} {}", self.paint("error:", "1;31"), printable(&error.to_string()));
        if let Some(hint) = error.hint() {
            text += &format!("\n  {} {}", self.paint("hint:", "36"), printable(hint));
        }
        self.stderr(&text);
    }

    /// What clap says: help and version on stdout, usage errors on stderr. The words of the caller in it must be fit for
    /// a terminal; whatever is not, apart from line ends, is spelled out.
    pub(crate) fn usage(&self, error: &clap::Error) {
        if !error.use_stderr() {
            // Holds nothing that the caller wrote. Nobody is left to tell when this fails.
            let _ = error.print();
            return;
        }
        let plain = error.render().to_string();
        let lines: Vec<String> = plain.trim_end().split('\n').map(printable).collect();
        let text = lines.join("\n");
        match text.strip_prefix("error:") {
            Some(rest) => self.stderr(&format!("{}{rest}", self.paint("error:", "1;31"))),
            None => self.stderr(&text),
        }
    }

    fn stderr(&self, text: &str) {
        // One write, so that lines of several processes do not mix.
        let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
    }

    fn paint(&self, word: &str, code: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

fn render_table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        lines().filter_map(|l| l.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::render_table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["é".into(), "running".into()], vec!["longer".into(), "x".into()]];
        assert_eq!(render_table(&["NAME", "STATUS"], &rows), "NAME    STATUS\né       running\nlonger  x");
    }
}
