//! The rules of a sandbox as the judge of its requests.

use crate::{
    gateway::Shared,
    observer::Request,
    reason::Reason,
    refusal::Refused,
    ruleset::{Asking, Name, Ruling},
    web::{Judge, Place, is_ambiguous},
};
use agentkernel_trust::Bound;
use std::{net::IpAddr, sync::Arc, time::Instant};

/// Asks the rules of the moment of each request.
pub(crate) struct RuleJudge(Arc<Shared>);

impl RuleJudge {
    pub(crate) fn of(shared: &Arc<Shared>) -> Arc<dyn Judge> {
        Arc::new(Self(Arc::clone(shared)))
    }

    fn is_pinned(&self, place: &Place) -> bool {
        self.0.pins.has(&place.name, place.address.ip(), Instant::now())
    }
}

impl Judge for RuleJudge {
    fn request(&self, place: &Place, method: &str, path: &str) -> Result<(), String> {
        let (rules, to) = (self.0.rules(), self.0.destination(place.address));
        let host = place.name.as_str();
        if rules.reads_paths_of(host) && is_ambiguous(path) {
            return Err(format!(
                "a path of {host} has to mean what it shows: no '..', '//', '\\' or their escapes"
            ));
        }
        let name = Name { text: host, pinned: self.is_pinned(place) };
        let name = host.parse::<IpAddr>().is_err().then_some(name);
        match rules.rule(&to, name, Some(Asking { method, path })) {
            Ruling::Allow(_) => Ok(()),
            Ruling::Inspect => Err(Refused { host, rule: None, reason: Reason::Unreadable }.to_string()),
            Ruling::Deny(rule, reason) => {
                let about = format!("{method} {host}{path}");
                Err(Refused { host: &about, rule, reason }.to_string())
            }
        }
    }

    fn secrets(&self, place: &Place) -> Vec<Bound> {
        if !self.is_pinned(place) {
            return Vec::new();
        }
        self.0.rules().secrets_of(&place.name).cloned().collect()
    }

    fn observe(&self, request: Request) {
        if let Some(observer) = &self.0.observer {
            observer.request(&request);
        }
    }
}
