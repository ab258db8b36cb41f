//! The command line `container`: where it is, and one call of it with an answer.
//!
//! It is always given a vector of arguments, never a shell's line, and an environment that is made for it.

use agentkernel_backend::Surroundings;
use agentkernel_model::{Error, Kind, Result, text::printable};
use rustix::fs::{Access, access};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

const NAME: &str = "container";
/// Where its installer puts it.
const USUAL: &str = "/usr/local/bin/container";
/// What it finds its own helpers with. The caller's PATH is for the caller.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
/// How long a question may take.
pub(crate) const QUICK: Duration = Duration::from_secs(30);
/// How long a virtual machine may take to start or to stop.
pub(crate) const SLOW: Duration = Duration::from_secs(120);
/// The most bytes of an answer: the list of every container, at a few thousand bytes each.
const MAX_ANSWER: usize = 16 << 20;
/// The most bytes of an explanation that are kept.
pub(crate) const MAX_SAID: usize = 2048;
/// What starts its service.
pub(crate) const START: &str = "container system start";

#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    home: Option<PathBuf>,
}

/// What one call came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) out: Vec<u8>,
    /// What it said of itself, fit for a terminal.
    pub(crate) said: String,
    pub(crate) worked: bool,
}

impl Program {
    /// # Errors
    /// [`Kind::NotFound`] when it is not on this machine.
    pub(crate) fn find(surroundings: &Surroundings) -> Result<Self> {
        let named = surroundings.path.iter().filter(|directory| directory.is_absolute());
        let mut places = named.map(|directory| directory.join(NAME)).chain([PathBuf::from(USUAL)]);
        let usable = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
        let path = places.find(usable).ok_or_else(|| {
            Error::new(Kind::NotFound, "there is no program 'container' on this machine")
                .with_hint("install it from https://github.com/apple/container (macOS 26, Apple silicon)")
        })?;
        Ok(Self { path, home: surroundings.home.clone() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A call with `words`, not begun, whose streams are all closed. It is in a process group of its own: what is typed at
    /// our terminal is ours to pass on.
    pub(crate) fn call<I: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.path);
        command.args(words).env_clear().env("PATH", PATH).current_dir("/").process_group(0);
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Calls it with `words` and waits for at most `limit`; then it is killed.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it cannot be started, [`Kind::Timeout`], [`Kind::Exhausted`] for an answer without end.
    pub(crate) async fn ask(&self, words: &[String], limit: Duration) -> Result<Answer> {
        let mut command = self.call(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let what = title(words);
        let mut child = command.spawn().map_err(|e| self.not_started(e))?;
        let (out, said) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let read = tokio::join!(whole(out, MAX_ANSWER), tail(said, MAX_SAID));
            (read, child.wait().await)
        };
        let Ok(((out, said), status)) = tokio::time::timeout(limit, all).await else {
            return Err(late(&what, limit));
        };
        let failed = |e| Error::io(format!("cannot read the answer of '{what}'"), e);
        let out = out.map_err(failed)?.ok_or_else(|| {
            Error::new(Kind::Exhausted, format!("'{what}' answered more than {} MB", MAX_ANSWER >> 20))
        })?;
        let status = status.map_err(failed)?;
        Ok(Answer { out, said: readable(&said), worked: status.success() })
    }

    /// As [`Program::ask`], for what has to work.
    ///
    /// # Errors
    /// Also whatever it says is the matter.
    pub(crate) async fn demand(&self, words: &[String], limit: Duration) -> Result<Vec<u8>> {
        let answer = self.ask(words, limit).await?;
        if answer.worked { Ok(answer.out) } else { Err(self.refused(words, &answer.said).await) }
    }

    /// The error of a call that failed and said `said`. Whether its service runs is asked first: nothing works without.
    pub(crate) async fn refused(&self, words: &[String], said: &str) -> Error {
        if let Err(error) = super::answers::status(self).await {
            return error;
        }
        let what = title(words);
        match said {
            "" => Error::internal(format!("'{what}' failed and did not say why")),
            said => Error::internal(format!("'{what}' failed: {said}")),
        }
    }

    pub(crate) fn not_started(&self, error: std::io::Error) -> Error {
        Error::new(Kind::Unavailable, format!("cannot start {}", self.path.display())).with_source(error)
    }
}

/// The words of a call that may be shown: the names of the command. What follows may be anybody's.
pub(crate) fn title(words: &[String]) -> String {
    let of_two = ["system", "image"];
    let count = if words.first().is_some_and(|word| of_two.contains(&word.as_str())) { 2 } else { 1 };
    let shown: Vec<&str> = words.iter().take(count).map(String::as_str).collect();
    format!("{NAME} {}", shown.join(" "))
}

pub(crate) fn late(what: &str, limit: Duration) -> Error {
    Error::new(Kind::Timeout, format!("'{what}' did not end within {} s", limit.as_secs()))
        .with_hint("container system status")
}

/// What a program said: one line that is fit for a terminal.
pub(crate) fn readable(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    printable(lines.join("; ").trim_start_matches("Error: "))
}

/// Everything; `None` when there is more than `limit`.
async fn whole(source: Option<impl AsyncRead + Unpin>, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        source.take(cap).read_to_end(&mut bytes).await?;
    }
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// The last `keep` bytes. A stream that breaks has ended.
pub(crate) async fn tail(source: Option<impl AsyncRead + Unpin>, keep: usize) -> Vec<u8> {
    let mut last = Vec::new();
    let Some(mut source) = source else { return last };
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        last.extend_from_slice(&buffer[..count]);
        last.drain(..last.len().saturating_sub(keep));
    }
    last
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
