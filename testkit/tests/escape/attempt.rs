//! What an attempt is, and how it is judged.

use super::arena::Arena;
use std::fmt;

/// What was observed, in a word or two; or why the attempt could not even be made, which is a failure.
pub(crate) type Observation = Result<String, String>;

/// Who can make an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Anyone,
    /// It is about what only root's sandboxes have.
    Root,
}

pub(crate) struct Attempt {
    pub(crate) name: String,
    /// What is observed when the one defence stands.
    pub(crate) stopped: &'static str,
    /// What is observed when it is taken away.
    pub(crate) through: &'static [&'static str],
    pub(crate) who: Who,
    /// Why this machine's kernel cannot be attacked like this at all; `None` when it can.
    pub(crate) impossible: fn() -> Option<String>,
    pub(crate) make: Box<dyn Fn(&Arena) -> Observation + Send + Sync>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Attempt {
    pub(crate) fn new(
        name: impl Into<String>,
        stopped: &'static str,
        through: &'static [&'static str],
        make: impl Fn(&Arena) -> Observation + Send + Sync + 'static,
    ) -> Self {
        let who = Who::Anyone;
        Self { name: name.into(), stopped, through, who, impossible: || None, make: Box::new(make) }
    }

    pub(crate) fn for_root(mut self) -> Self {
        self.who = Who::Root;
        self
    }

    pub(crate) fn unless(mut self, impossible: fn() -> Option<String>) -> Self {
        self.impossible = impossible;
        self
    }
}
