//! How a sandbox is told that something is blocked.

use crate::{
    hello::Hello,
    reason::Reason,
    web::{Denied, Web},
};
use agentkernel_backend::ByteStream;
use agentkernel_model::egress::EgressRule;
use std::fmt;

/// The sentence that says what is blocked, why, and who can change that.
pub(crate) struct Refused<'a> {
    /// A name, or an address.
    pub(crate) host: &'a str,
    pub(crate) rule: Option<&'a EgressRule>,
    pub(crate) reason: Reason,
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, rule, reason } = self;
        write!(f, "{host} is blocked: ")?;
        match (rule, reason) {
            (Some(rule), Reason::Denied) => write!(f, "the rule '{rule}' says so"),
            // The name is let through, and what it leads to is not.
            (_, Reason::Short) => write!(f, "it is {reason}; try again later"),
            (Some(rule), reason) => write!(f, "it is {reason}, which the rule '{rule}' does not let through"),
            (None, reason) => {
                write!(f, "it is {reason}; who runs this sandbox can let it through with --allow")
            }
        }
    }
}

impl From<Refused<'_>> for Denied {
    fn from(refused: Refused<'_>) -> Self {
        Self { rule: refused.rule.map(ToString::to_string), why: refused.to_string() }
    }
}

/// Whether whoever connects to `port` waits for the other side to speak: FTP, SSH, SMTP, POP3, IMAP, submission, MySQL.
pub(crate) const fn listens_first(port: u16) -> bool {
    matches!(port, 21 | 22 | 25 | 110 | 143 | 587 | 3306)
}

/// Answers what said `hello`, and closes. What is neither HTTP nor TLS is only closed.
pub(crate) async fn tell(io: Box<dyn ByteStream>, hello: Option<&Hello>, why: &str) {
    match hello {
        Some(Hello::Tls(_)) => Web::refuse_tls(io).await,
        Some(Hello::Http(_)) => Web::refuse_http(io, why).await,
        Some(Hello::Other | Hello::Unreadable) | None => {}
    }
}
