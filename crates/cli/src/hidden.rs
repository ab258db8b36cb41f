//! What must not be seen: values that are typed or piped in, and the memory of a process that has them.

use crate::terminal;
use agentkernel_model::{Error, Kind, Result, secret::Secret, text::printable};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    convert::Infallible,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::Path,
    str::FromStr,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use zeroize::Zeroizing;

/// A word of the command line that may be a value: no `Debug` of the arguments shows it.
#[derive(Clone)]
pub(crate) struct Word(Zeroizing<String>);

impl Word {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl FromStr for Word {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

/// From now on this process leaves no core file, and on Linux nobody but root can look into its memory.
///
/// # Errors
/// When the system refuses: then no secret should come in.
pub(crate) fn keep_memory_private() -> Result<()> {
    let fail =
        |e: rustix::io::Errno| Error::io("cannot keep this process's memory out of core files", e.into());
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(fail)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(fail)?;
    Ok(())
}

/// A line that is typed on the terminal, and is not shown there.
///
/// # Errors
/// [`Kind::Cancelled`] for ctrl-c and ctrl-d; `Unavailable` when this process has no terminal.
pub(crate) fn ask(question: &str) -> Result<Secret> {
    // The library raises SIGINT for ctrl-c before it gives the terminal back: with a handler this process lives to do so.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("cannot start the event loop", e))?;
    let entered = runtime.enter();
    let _interrupts =
        signal(SignalKind::interrupt()).map_err(|e| Error::io("cannot listen for ctrl-c", e))?;
    drop(entered);
    let typed = rpassword::prompt_password(format!("{question}: ")).map_err(|e| match e.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => {
            Error::new(Kind::Cancelled, "nothing was typed").with_hint("try again, or pipe it in on stdin")
        }
        _ => Error::new(Kind::Unavailable, "there is no terminal to ask on").with_source(e),
    })?;
    Secret::new(typed.into_bytes())
}

/// All of stdin, but for the line end at its end.
///
/// # Errors
/// [`Kind::Invalid`] when it is empty or too long.
pub(crate) fn piped() -> Result<Secret> {
    let value = bounded(io::stdin().lock()).map_err(|e| Error::io("cannot read the value from stdin", e))?;
    Secret::wiped(value)
}

/// What is in a file, but for the line end at its end. A file that others can read is refused.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Denied`], and as [`piped`].
pub(crate) fn in_file(path: &Path) -> Result<Secret> {
    let shown = printable(&path.to_string_lossy());
    let file = File::open(path).map_err(|e| {
        Error::new(Kind::NotFound, format!("cannot open '{shown}'"))
            .with_source(e)
            .with_hint("look at its path")
    })?;
    let meta = file.metadata().map_err(|e| Error::io(format!("cannot look at '{shown}'"), e))?;
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        return Err(Error::new(Kind::Denied, format!("'{shown}' can be read or changed by others"))
            .with_hint(format!("chmod 600 '{shown}'")));
    }
    Secret::wiped(bounded(file).map_err(|e| Error::io(format!("cannot read '{shown}'"), e))?)
}

/// Whether stdin is what somebody types on.
pub(crate) fn typed_on() -> bool {
    terminal::stdin_is_terminal()
}

/// One byte more than may be, and a line end: so that too much is seen as such. In memory that does not grow.
fn bounded(mut from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    const MOST: usize = Secret::MAX + 3;
    let mut value = Zeroizing::new(vec![0; MOST]);
    let mut length = 0;
    while length < MOST {
        match from.read(&mut value[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    value.truncate(length);
    let ends = |end: &[u8]| value.ends_with(end).then_some(end.len());
    let end = ends(b"\r\n").or_else(|| ends(b"\n")).unwrap_or(0);
    value.truncate(length - end);
    Ok(value)
}

#[cfg(test)]
#[path = "hidden_tests.rs"]
mod tests;
