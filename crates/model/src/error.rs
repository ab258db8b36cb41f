//! The one error of the seam: a kind that callers act on, a message for people, and a hint with the next step.

use std::fmt;

/// What went wrong, as far as a caller can act on it. [`Kind::exit_code`] and [`Kind::http_status`] are the one
/// table that maps it to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What the caller wrote cannot be parsed or is not allowed in that place.
    Invalid,
    /// A file that the caller or a repository supplied is malformed.
    Config,
    /// The named sandbox, image, file or other object does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The object is in a state in which this cannot be done.
    Conflict,
    /// A policy, limit or option cannot be enforced by this backend: refused before anything starts.
    Unsupported,
    /// The backend is not on this machine, or is not healthy.
    Unavailable,
    /// The caller may not do this.
    Denied,
    /// The program inside exists but cannot be executed.
    NotRunnable,
    /// The program inside does not exist.
    CommandNotFound,
    /// A deadline passed.
    Timeout,
    /// Disk, memory, processes or descriptors are exhausted.
    Exhausted,
    /// The caller asked to stop.
    Cancelled,
    /// A fault of agentkernel or of the system under it.
    Internal,
}

impl Kind {
    /// The exit code of the command line for this kind (`docker run` uses the same 125, 126 and 127; 124 is
    /// `timeout(1)`'s).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Timeout => 124,
            Self::NotRunnable => 126,
            Self::CommandNotFound => 127,
            Self::Cancelled => 130,
            _ => 125,
        }
    }

    /// The HTTP status for this kind.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid | Self::Config | Self::NotRunnable | Self::CommandNotFound => 400,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Unsupported | Self::Unavailable => 422,
            Self::Cancelled => 499,
            Self::Internal => 500,
            Self::Timeout => 504,
            Self::Exhausted => 507,
        }
    }

    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Invalid,
        Self::Config,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Unsupported,
        Self::Unavailable,
        Self::Denied,
        Self::NotRunnable,
        Self::CommandNotFound,
        Self::Timeout,
        Self::Exhausted,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The kind that [`Kind::as_str`] spells `text`.
    #[must_use]
    pub fn from_spelling(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The stable spelling used in `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Config => "config",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::NotRunnable => "not_runnable",
            Self::CommandNotFound => "command_not_found",
            Self::Timeout => "timeout",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// Whether trying the same thing again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    Later,
}

/// `message` says what failed and on what, in lower case without a full stop; `hint` is the next thing to type.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    retry: Retry,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None, retry: Retry::Never }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A failed system call. Running out of disk, memory, processes or descriptors keeps its own kind.
    pub fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
        let kind = source.kind();
        let error = match kind {
            StorageFull | OutOfMemory | QuotaExceeded => Self::new(Kind::Exhausted, message),
            _ => Self::new(Kind::Internal, message),
        };
        let error = error.with_source(source);
        match kind {
            StorageFull | QuotaExceeded => {
                error.with_hint("free some space; 'agentkernel gc' and 'agentkernel images prune' do")
            }
            _ => error,
        }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.retry = Retry::Later;
        self
    }

    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.retry
    }
}

/// The message and, after a colon, its causes: one line.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.source.as_deref().map(|s| s as &dyn std::error::Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
