//! The rules of a sandbox as the judge of its requests.

use crate::{
    gateway::Shared,
    observer::Request,
    reason::Reason,
    refusal::Refused,
    ruleset::{Asking, Name, Ruling},
    web::{Denied, Judge, Place, is_ambiguous},
};
use agentkernel_trust::Bound;
use std::{net::IpAddr, sync::Arc, time::Instant};

/// Asks the rules of the moment of each request.
pub(crate) struct RuleJudge {
    shared: Arc<Shared>,
    /// Whose name led to its address when the connection to it began. Connections live longer than answers of DNS.
    pinned: Option<Place>,
}

impl RuleJudge {
    /// For requests to places that are looked up for each of them.
    pub(crate) fn of(shared: &Arc<Shared>) -> Arc<dyn Judge> {
        Arc::new(Self { shared: Arc::clone(shared), pinned: None })
    }

    /// For requests on one connection, which begins now.
    pub(crate) fn on(shared: &Arc<Shared>, place: &Place) -> Arc<dyn Judge> {
        let mut judge = Self { shared: Arc::clone(shared), pinned: None };
        judge.pinned = judge.is_pinned(place).then(|| place.clone());
        Arc::new(judge)
    }

    fn is_pinned(&self, place: &Place) -> bool {
        self.pinned.as_ref() == Some(place)
            || self.shared.pins.has(&place.name, place.address.ip(), Instant::now())
    }
}

impl Judge for RuleJudge {
    fn request(&self, place: &Place, method: &str, path: &str) -> Result<Option<String>, Denied> {
        let (rules, to) = (self.shared.rules(), self.shared.destination(place.address));
        let host = place.name.as_str();
        let names = self.shared.pins.names(place.address.ip(), Instant::now());
        let mut meant = names.iter().map(AsRef::as_ref).chain([host]);
        if meant.any(|name| rules.reads_paths_of(name)) && is_ambiguous(path) {
            let why =
                format!("a path of {host} has to mean what it shows: no '..', '//', '\\' or their escapes");
            return Err(Denied { rule: None, why });
        }
        let (names, asking) = (names.iter().map(AsRef::as_ref), Some(Asking { method, path }));
        let ruling = if host.parse::<IpAddr>().is_ok() {
            rules.rule_stranger(&to, names, asking)
        } else {
            let name = Name { text: host, pinned: self.is_pinned(place) };
            rules.rule_named(&to, name, names, asking)
        };
        match ruling {
            Ruling::Allow(rule) => Ok(rule.map(ToString::to_string)),
            Ruling::Inspect(_) => Err(Refused { host, rule: None, reason: Reason::Unreadable }.into()),
            Ruling::Deny(rule, reason) => {
                let about = format!("{method} {host}{path}");
                Err(Refused { host: &about, rule, reason }.into())
            }
        }
    }

    fn secrets(&self, place: &Place) -> Vec<Bound> {
        if !self.is_pinned(place) {
            return Vec::new();
        }
        self.shared.rules().secrets_of(&place.name).cloned().collect()
    }

    fn observe(&self, request: Request) {
        if let Some(observer) = &self.shared.observer {
            observer.request(&request);
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
