//! The hold on a running sandbox: its main process reads from a pipe of ours, and ends when nobody holds the other end.
//!
//! So a sandbox ends with its keeper however that ends, as there is no process of ours inside to notice it.

use super::{
    mark::{self, Mark},
    program::{self, MAX_SAID, Program, QUICK, SLOW},
};
use agentkernel_model::{Error, Kind, Result};
use std::{io, os::fd::OwnedFd, process::Stdio};
use tokio::{
    process::{Child, ChildStdin},
    sync::watch,
};

#[derive(Debug)]
pub(crate) struct Lifeline {
    input: ChildStdin,
    ended: watch::Receiver<bool>,
    main: u32,
}

impl Lifeline {
    /// Calls `program` with `words`, which start a container in the foreground, and waits for the word of its main
    /// process.
    ///
    /// # Errors
    /// When it does not come; the container then ends by itself, if there is one.
    pub(crate) async fn begin(program: &Program, words: &[String], nonce: &str) -> Result<Self> {
        let failed = |e: io::Error| Error::io("cannot make a pipe", e);
        let (out, written) = io::pipe().map_err(failed)?;
        let mut command = program.call(words);
        command.stdin(Stdio::piped()).stdout(Stdio::from(written)).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| program.not_started(e))?;
        // It holds the other end of the pipe.
        drop(command);
        let said = tokio::spawn(program::tail(child.stderr.take(), MAX_SAID));
        let what = program::title(words);
        let marked = tokio::time::timeout(SLOW, mark::find(out.into(), nonce)).await;
        let found = match marked {
            Ok(found) => found.map_err(|e| Error::io(format!("cannot read the answer of '{what}'"), e)),
            Err(_) => Err(program::late(&what, SLOW)),
        };
        if found.is_err() {
            // Its end closes the pipe, which ends the container.
            let _ = child.start_kill();
        }
        let (mark, out) = found?;
        match (mark, child.stdin.take()) {
            (Mark::Said(said), Some(input)) => Self::of(child, input, out, &said),
            _ => {
                let _ = child.wait().await;
                let said = program::readable(&said.await.unwrap_or_default());
                Err(program.refused(words, &said).await)
            }
        }
    }

    fn of(mut child: Child, input: ChildStdin, out: OwnedFd, said: &str) -> Result<Self> {
        let main = said.strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        let main = main.ok_or_else(|| Error::new(Kind::Internal, "the sandbox reported nonsense"))?;
        let (tell, ended) = watch::channel(false);
        tokio::spawn(async move {
            let _ = child.wait().await;
            drop(out);
            // Nobody may be left who wants to know.
            let _ = tell.send(true);
        });
        Ok(Self { input, ended, main })
    }

    /// The main process, as numbered inside.
    pub(crate) fn main(&self) -> u32 {
        self.main
    }

    /// Resolves when the container has ended.
    pub(crate) async fn ended(&self) {
        // The other side is gone only when it has told.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Lets go, and waits for a while until the container has ended.
    pub(crate) async fn close(self) {
        let Self { input, mut ended, .. } = self;
        drop(input);
        // Who has to know for certain asks for the container.
        let _ = tokio::time::timeout(QUICK, ended.wait_for(|ended| *ended)).await;
    }
}
