//! What the rules of a sandbox say about one connection, one request, one name. No I/O.

use crate::{destination::Destination, ranges, reason::Reason};
use agentkernel_model::{
    egress::{EgressRule, EgressRules, Group, HttpMatch, Otherwise, Protocol, Target, Verdict},
    secret::HostPattern,
};
use agentkernel_trust::Bound;

/// The rules of this moment, and the hosts of secrets, which are let through beside them.
#[derive(Debug)]
pub(crate) struct Ruleset {
    egress: EgressRules,
    secrets: Vec<Bound>,
}

/// A name that a connection or a request goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    /// In lower case, without a dot at its end.
    pub(crate) text: &'a str,
    /// The gateway itself told this sandbox, or its proxy, that the name leads to the address. Only then does a rule that
    /// allows the name count; one that denies it always does.
    pub(crate) pinned: bool,
}

/// One request of HTTP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling<'a> {
    /// Let through; the rule is `None` where none was about it.
    Allow(Option<&'a EgressRule>),
    /// Let through as HTTP whose requests are asked about one by one; the rule is the one by which some may pass.
    Inspect(Option<&'a EgressRule>),
    Deny(Option<&'a EgressRule>, Reason),
}

/// What a question of DNS gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution<'a> {
    Forward,
    /// Nothing could be reached under this name; the rule is `None` where none says so.
    Refuse(Option<&'a EgressRule>),
}

impl Ruleset {
    pub(crate) const fn new(egress: EgressRules, secrets: Vec<Bound>) -> Self {
        Self { egress, secrets }
    }

    /// The same secrets with other rules.
    pub(crate) fn with_rules(&self, egress: EgressRules) -> Self {
        Self { egress, secrets: self.secrets.clone() }
    }

    /// The same rules with other secrets.
    pub(crate) fn with_secrets(&self, secrets: Vec<Bound>) -> Self {
        Self { egress: self.egress.clone(), secrets }
    }

    /// Whether names make a difference anywhere.
    pub(crate) fn knows_names(&self) -> bool {
        !self.secrets.is_empty() || self.egress.rules.iter().any(|rule| rule.target().name().is_some())
    }

    /// Whether connections to some host are opened to look at their requests.
    pub(crate) fn opens_tls(&self) -> bool {
        !self.secrets.is_empty() || self.egress.rules.iter().any(|rule| rule.http().is_some())
    }

    /// Whether a rule about paths names `host`: then a path must mean what it shows.
    pub(crate) fn reads_paths_of(&self, host: &str) -> bool {
        self.could_be_about(host).any(|rule| rule.http().is_some())
    }

    /// Whether something is forbidden where `host` is and nobody says so: its requests are read, or a rule denies it.
    pub(crate) fn forbids_at(&self, host: &str) -> bool {
        let forbids = |rule: &EgressRule| rule.http().is_some() || rule.verdict() == Verdict::Deny;
        self.could_be_about(host).any(forbids) || self.secrets_of(host).next().is_some()
    }

    fn could_be_about(&self, host: &str) -> impl Iterator<Item = &EgressRule> {
        let about =
            move |rule: &&EgressRule| rule.target().name().is_some_and(|pattern| pattern.could_match(host));
        self.egress.rules.iter().filter(about)
    }

    /// What is sent to `host`.
    pub(crate) fn secrets_of(&self, host: &str) -> impl Iterator<Item = &Bound> {
        self.secrets.iter().filter(move |bound| bound.host().matches(host))
    }

    /// Whether the decision for `to` can depend on a name.
    pub(crate) fn needs_name(&self, to: &Destination) -> bool {
        if to.reason == Some(Reason::Short) {
            return false;
        }
        for rule in self.about(to) {
            match (rule.target(), rule.verdict()) {
                (Target::Name(_), _) => return true,
                (target, Verdict::Deny) if is_at(target, Verdict::Deny, to) => return false,
                // What is let through by its address may still be a host of a secret.
                (target, Verdict::Allow) if is_at(target, Verdict::Allow, to) => {
                    return !self.secrets.is_empty();
                }
                _ => {}
            }
        }
        !self.secrets.is_empty()
    }

    /// The ruling for a connection to `to` under `name`, or for one request over it.
    pub(crate) fn rule(
        &self,
        to: &Destination,
        name: Option<Name<'_>>,
        asking: Option<Asking<'_>>,
    ) -> Ruling<'_> {
        if to.reason == Some(Reason::Short) {
            return Ruling::Deny(None, Reason::Short);
        }
        let (mut reads_requests, mut may_pass) = (false, None);
        let mut ruling = None;
        for rule in self.about(to) {
            let decides = match rule.target() {
                Target::Name(pattern) => {
                    name.filter(|name| says(rule, pattern, name.text)).and_then(|name| {
                        let counts = rule.verdict() == Verdict::Deny || name.pinned;
                        match (rule.http(), asking) {
                            _ if !counts => None,
                            (None, _) => Some(self.of_name(rule, to)),
                            (Some(http), Some(asking)) => {
                                meant(rule.verdict(), http, asking).then(|| self.of_name(rule, to))
                            }
                            (Some(_), None) => {
                                reads_requests = true;
                                if let Ruling::Allow(rule) = self.of_name(rule, to) {
                                    may_pass = may_pass.or(rule);
                                }
                                None
                            }
                        }
                    })
                }
                target if is_at(target, rule.verdict(), to) => Some(of_address(rule)),
                _ => None,
            };
            if decides.is_some() {
                ruling = decides;
                break;
            }
        }
        let bound = name.is_some_and(|name| name.pinned && self.secrets_of(name.text).next().is_some());
        let ruling = ruling.unwrap_or_else(|| self.by_default(to, bound));
        match ruling {
            Ruling::Allow(rule) if asking.is_none() && (reads_requests || bound) => Ruling::Inspect(rule),
            Ruling::Deny(..) if may_pass.is_some() => Ruling::Inspect(may_pass),
            ruling => ruling,
        }
    }

    /// The ruling for a protocol in which no name is said, to an address that the sandbox was told for `names`. Where requests to
    /// one of them are read, or a secret goes there, there is no other road to the address: QUIC says its name in secret.
    pub(crate) fn rule_unnamed<'a>(
        &self,
        to: &Destination,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Ruling<'_> {
        let mut allowed = None;
        for text in names {
            match self.rule(to, Some(Name { text, pinned: true }), None) {
                // Nobody could read its requests.
                Ruling::Inspect(_) => return Ruling::Deny(None, Reason::Unreadable),
                deny @ Ruling::Deny(Some(_), Reason::Denied) => return deny,
                allow @ Ruling::Allow(_) => allowed = Some(allow),
                Ruling::Deny(..) => {}
            }
        }
        allowed.unwrap_or_else(|| self.rule(to, None, None))
    }

    /// The ruling for what says `name`, to an address that the sandbox was told for `names`.
    pub(crate) fn rule_named<'a>(
        &self,
        to: &Destination,
        name: Name<'_>,
        names: impl IntoIterator<Item = &'a str>,
        asking: Option<Asking<'_>>,
    ) -> Ruling<'_> {
        let own = self.rule(to, Some(name), asking);
        if name.pinned || matches!(own, Ruling::Deny(..)) {
            return own;
        }
        match self.rule_stranger(to, names, asking) {
            deny @ Ruling::Deny(..) => deny,
            _ => own,
        }
    }

    /// The ruling for what may say a name that we cannot read, or says one that was never told for this address: it is
    /// let through by what lets the address through, and not where a rule denies a name that the address was told for.
    pub(crate) fn rule_stranger<'a>(
        &self,
        to: &Destination,
        names: impl IntoIterator<Item = &'a str>,
        asking: Option<Asking<'_>>,
    ) -> Ruling<'_> {
        for text in names {
            match self.rule(to, Some(Name { text, pinned: true }), asking) {
                Ruling::Inspect(_) => return Ruling::Deny(None, Reason::Unreadable),
                deny @ Ruling::Deny(Some(_), Reason::Denied) => return deny,
                Ruling::Allow(_) | Ruling::Deny(..) => {}
            }
        }
        match self.rule(to, None, asking) {
            Ruling::Deny(None, Reason::NotListed) => Ruling::Deny(None, Reason::Unreadable),
            ruling => ruling,
        }
    }

    /// Whether anything could be reached under `name`. Rules about addresses say nothing about names but for the public:
    /// who allows a network and nothing else does not allow questions about any name to leave the machine.
    pub(crate) fn resolve(&self, name: &str) -> Resolution<'_> {
        let mut public = self.egress.otherwise == Otherwise::Public;
        let mut closing = None;
        for rule in &self.egress.rules {
            let whole = rule.ports().is_none() && rule.http().is_none() && !rule.is_only_udp();
            match (rule.target(), rule.verdict()) {
                (Target::Name(pattern), Verdict::Allow) if pattern.matches(name) => {
                    return Resolution::Forward;
                }
                (Target::Name(pattern), Verdict::Deny) if whole && pattern.could_match(name) => {
                    return Resolution::Refuse(Some(rule));
                }
                (Target::Group(Group::Public), Verdict::Allow) => return Resolution::Forward,
                (Target::Group(Group::Public), Verdict::Deny) if whole => {
                    public = false;
                    closing.get_or_insert(rule);
                }
                _ => {}
            }
        }
        let bound = self.secrets_of(name).next().is_some();
        if public || bound { Resolution::Forward } else { Resolution::Refuse(closing) }
    }

    fn about(&self, to: &Destination) -> impl Iterator<Item = &EgressRule> {
        let (protocol, port) = (to.protocol, to.address.port());
        self.egress.rules.iter().filter(move |rule| rule.is_about(protocol, port))
    }

    /// A rule whose name was meant. A name leads nowhere that its address may not be reached as: who controls the
    /// name's DNS must not choose an address of this machine or of its networks (DNS rebinding).
    fn of_name<'a>(&'a self, rule: &'a EgressRule, to: &Destination) -> Ruling<'a> {
        match rule.verdict() {
            Verdict::Deny => Ruling::Deny(Some(rule), Reason::Denied),
            Verdict::Allow if self.is_reachable(to) => Ruling::Allow(Some(rule)),
            Verdict::Allow => Ruling::Deny(Some(rule), to.reason.unwrap_or(Reason::NotListed)),
        }
    }

    /// Whether a name may lead to `to`: it is public, or rules let its address through.
    fn is_reachable(&self, to: &Destination) -> bool {
        let first = || self.about(to).find(|rule| is_at(rule.target(), rule.verdict(), to));
        to.is_public() || first().is_some_and(|rule| rule.verdict() == Verdict::Allow)
    }

    fn by_default(&self, to: &Destination, bound: bool) -> Ruling<'_> {
        match self.egress.otherwise {
            _ if bound && self.is_reachable(to) => Ruling::Allow(None),
            // The rest is about TCP: what goes over UDP goes by a rule.
            _ if to.protocol == Protocol::Udp => Ruling::Deny(None, Reason::NotListed),
            Otherwise::Public if to.is_public() => Ruling::Allow(None),
            Otherwise::Public => Ruling::Deny(None, to.reason.unwrap_or(Reason::NotListed)),
            Otherwise::Deny => Ruling::Deny(None, Reason::NotListed),
        }
    }
}

/// Whether `name` is one that `rule` is about: one that allows is about names of hosts alone, one that denies about all that may be
/// taken for one.
fn says(rule: &EgressRule, pattern: &HostPattern, name: &str) -> bool {
    match rule.verdict() {
        Verdict::Allow => pattern.matches(name),
        Verdict::Deny => pattern.could_match(name),
    }
}

/// Whether a rule with `verdict` about `target` is about `to`. One that denies an address denies it behind a translator
/// as well.
fn is_at(target: &Target, verdict: Verdict, to: &Destination) -> bool {
    let ip = to.address.ip();
    match target {
        Target::Name(_) => false,
        Target::Addresses(block) => {
            block.contains(ip) || (verdict == Verdict::Deny && block.contains(ranges::destination(ip)))
        }
        Target::Group(group) => to.group == Some(*group),
    }
}

/// A request is let through for what it shows, and denied for whatever a server could take it for.
fn meant(verdict: Verdict, http: &HttpMatch, asking: Asking<'_>) -> bool {
    match verdict {
        Verdict::Allow => http.matches(asking.method, asking.path),
        Verdict::Deny => http.could_mean(asking.method, asking.path),
    }
}

const fn of_address(rule: &EgressRule) -> Ruling<'_> {
    match rule.verdict() {
        Verdict::Allow => Ruling::Allow(Some(rule)),
        Verdict::Deny => Ruling::Deny(Some(rule), Reason::Denied),
    }
}

#[cfg(test)]
#[path = "ruleset_tests.rs"]
mod tests;
