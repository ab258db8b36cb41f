//! How often and after which waits something is tried again: bounded, whatever the other side says.

use super::failure::{Failure, Remedy};
use crate::halt::Halt;
use httpdate::parse_http_date;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// Tries after the first.
const TRIES: u32 = 6;
/// Waits of one task together.
const ALL_WAITS: Duration = Duration::from_secs(180);
/// What a registry may ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// Our own waits double up to here.
const OUR_LONGEST: Duration = Duration::from_secs(10);

/// What is left of the tries for one thing.
#[derive(Debug)]
pub(crate) struct Retries {
    first: Duration,
    next: Duration,
    left: u32,
    waited: Duration,
    when_unreachable: WhenUnreachable,
}

/// What to do about a registry that cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenUnreachable {
    /// Somebody waits to hear that it is so.
    GiveUp,
    /// It was there a moment ago.
    Wait,
}

impl Retries {
    pub(crate) const fn new(first: Duration, when_unreachable: WhenUnreachable) -> Self {
        Self { first, next: first, left: TRIES, waited: Duration::ZERO, when_unreachable }
    }

    /// Something came of the last try: the next ones are counted anew. What was waited is not forgotten.
    pub(crate) const fn progress(&mut self) {
        self.left = TRIES;
        self.next = self.first;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// `failure`, when there is none; [`Halt::error`] when told to stop.
    pub(crate) async fn wait(&mut self, failure: Failure, halt: &Halt) -> Result<(), Failure> {
        let asked = match failure.remedy {
            Remedy::Again(asked) => asked,
            Remedy::Unreachable if self.when_unreachable == WhenUnreachable::Wait => None,
            _ => return Err(failure),
        };
        let wait = asked.unwrap_or(self.next).min(LONGEST);
        if self.left == 0 || self.waited + wait > ALL_WAITS {
            return Err(Failure { remedy: Remedy::Elsewhere, ..failure });
        }
        self.left -= 1;
        self.waited += wait;
        self.next = (self.next * 2).min(OUR_LONGEST);
        match tokio::time::timeout(wait, halt.called()).await {
            Ok(()) => Err(Failure::last(Halt::error())),
            Err(_) => Ok(()),
        }
    }
}

/// What `Retry-After` says.
///
/// # Errors
/// The failure that says when to come back, if that is too long to wait for.
pub(crate) fn asked(registry: &str, headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(text) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else { return Ok(None) };
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => match parse_http_date(text) {
            Ok(at) => at.duration_since(SystemTime::now()).unwrap_or_default(),
            Err(_) => return Ok(None),
        },
    };
    if wait > LONGEST { Err(Failure::patience(registry, wait)) } else { Ok(Some(wait)) }
}
