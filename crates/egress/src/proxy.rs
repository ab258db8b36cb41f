//! The gateway as a proxy, for clients that want one: every connection ends here, so that its address needs no route.

use crate::{
    destination::Destination,
    dns,
    flow::Visit,
    judge::RuleJudge,
    observer::{Ledger, Outcome},
    reason::Reason,
    refusal::Refused,
    ruleset::{Name, Resolution, Ruling},
    web::{Denied, Place, Roads, Way},
};
use agentkernel_backend::{ByteStream, gateway::RESOLVER};
use agentkernel_model::egress::{EgressRule, Protocol};
use async_trait::async_trait;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Where clients find it: the address of the name server, at the port that proxies have.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(RESOLVER), 3128);

/// Serves one connection to the proxy.
pub(crate) async fn serve(visit: &Visit, io: Box<dyn ByteStream>, ledger: &Ledger) -> Outcome {
    let roads: Arc<dyn Roads> = Arc::new(visit.clone());
    visit.shared.web.proxy(io, roads, RuleJudge::of(&visit.shared), ledger).await
}

#[async_trait]
impl Roads for Visit {
    async fn find(&self, host: &str, port: u16) -> Result<Way, Denied> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if port == dns::PORT {
            // To a name server the lines of a request are a message that it does not understand; the body can be a question.
            let why = format!("{host} is blocked: port {port} is for DNS, which is the gateway's to ask");
            return Err(Denied { rule: None, why });
        }
        let rules = self.shared.rules();
        if let Ok(ip) = host.parse::<IpAddr>() {
            let to = self.shared.destination(SocketAddr::new(ip, port));
            return match rules.rule(&to, None, None) {
                // What is inside of a tunnel may say a name that is let through there.
                Ruling::Deny(..) if rules.needs_name(&to) && self.leads_somewhere(&to) => {
                    Ok(way(host, &to, None))
                }
                Ruling::Deny(rule, reason) => Err(Refused { host: &host, rule, reason }.into()),
                Ruling::Allow(rule) | Ruling::Inspect(rule) => Ok(way(host, &to, rule)),
            };
        }
        if let Resolution::Refuse(rule) = rules.resolve(&host) {
            if let Some(observer) = &self.shared.observer {
                observer.refused_name(&host, rule.map(ToString::to_string).as_deref());
            }
            let reason = if rule.is_some() { Reason::Denied } else { Reason::NotListed };
            return Err(Refused { host: &host, rule, reason }.into());
        }
        let mut refused = None;
        for ip in dns::resolve(&self.shared, &host).await {
            let to = self.shared.destination(SocketAddr::new(ip, port));
            match rules.rule(&to, Some(Name { text: &host, pinned: true }), None) {
                Ruling::Allow(rule) | Ruling::Inspect(rule) => return Ok(way(host, &to, rule)),
                Ruling::Deny(rule, reason) => {
                    refused.get_or_insert_with(|| Denied::from(Refused { host: &host, rule, reason }));
                }
            }
        }
        Err(refused.unwrap_or_else(|| Denied { rule: None, why: format!("{host} has no address") }))
    }

    fn ledger(&self, place: &Place) -> Ledger {
        Ledger::open(self.shared.observer.clone(), place.address, Protocol::Tcp)
    }

    async fn tunnel(&self, place: Place, io: Box<dyn ByteStream>) {
        let mut ledger = self.ledger(&place);
        ledger.outcome = self.travel(io, place.address, &mut ledger).await;
    }
}

impl Visit {
    /// Whether a name was told for this address.
    fn leads_somewhere(&self, to: &Destination) -> bool {
        !self.shared.pins.names(to.address.ip(), std::time::Instant::now()).is_empty()
    }
}

fn way(name: String, to: &Destination, rule: Option<&EgressRule>) -> Way {
    Way { place: Place { name, address: to.address }, rule: rule.map(ToString::to_string) }
}
