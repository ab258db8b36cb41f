//! DNS for a sandbox: its questions are checked, asked of the host's resolvers, and answered.
//!
//! The addresses in an answer are passed on as they are, and remembered as [`pins`]: a rule that allows a name allows it
//! at those. A name that leads to a private address (DNS rebinding) gains nothing: each connection is decided by its
//! address when it is made. A name that no rule lets out never leaves this machine, and one that does is told.

mod answer;
pub(crate) mod forward;
mod message;
pub(crate) mod pins;
pub(crate) mod resolvers;
pub(crate) mod stream;
mod upstream;

use crate::{gateway::Shared, ruleset::Resolution};
use message::{Fault, Kind, Query, Rcode, is_truncated};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

/// The port of DNS. Connections to it end here whatever address was meant.
pub(crate) const PORT: u16 = 53;

/// Where names lead that no rule lets out, so that whoever connects is told the reason. It is of TEST-NET-1 (RFC 5737)
/// and belongs to nobody, as [`agentkernel_backend::gateway::RESOLVER`].
pub(crate) const SINKHOLE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 54);

/// How a question arrived, which bounds its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// The answer to `message`; `None` when it deserves none.
pub(crate) async fn respond(shared: &Shared, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(Fault::Answerable(error)) => return Some(error),
        Err(Fault::Silent) => return None,
    };
    let rules = shared.rules();
    let name = query.name();
    // What is no name of a host no rule allows, and one that denies what is below a domain is about it all the same.
    let resolution = rules.resolve(name.as_deref().unwrap_or(&query.spelled()));
    if let Resolution::Refuse(rule) = resolution {
        if let Some(observer) = &shared.observer {
            let rule = rule.map(ToString::to_string);
            // It goes no further: the case of its letters says nothing to anybody.
            observer.refused_name(&query.spelled().to_ascii_lowercase(), rule.as_deref());
        }
        return Some(query.sinkhole(SINKHOLE));
    }
    if query.asks_for_service() && rules.knows_names() {
        return Some(query.reply(Rcode::NoError));
    }
    let answer = forward(shared, &query).await;
    if let (Some(name), Some(answer)) = (&name, &answer) {
        learn(shared, name, answer);
    }
    Some(match (transport, answer) {
        (Transport::Udp, Some(answer)) => query.udp_answer(answer),
        (Transport::Tcp, Some(answer)) if !is_truncated(&answer) => query.tcp_answer(answer),
        (_, _) => query.reply(Rcode::ServFail),
    })
}

/// The addresses of `name`, which are remembered as its own, IPv4 first. For requests to the proxy; whether the name may be
/// asked about is the caller's to know.
pub(crate) async fn resolve(shared: &Shared, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for kind in [Kind::V4, Kind::V6] {
        let Some(query) = Query::about(name, kind) else { continue };
        if let Some(answer) = forward(shared, &query).await {
            found.extend(learn(shared, name, &answer));
        }
    }
    found
}

/// Asks outside, which is told: a name can carry anything.
async fn forward(shared: &Shared, query: &Query) -> Option<Vec<u8>> {
    if let Some(observer) = shared.observer.as_ref().filter(|_| shared.forwarder.asks_outside(query)) {
        observer.asked_name(&query.spelled());
    }
    shared.forwarder.answer(query, |e| shared.check(e)).await
}

fn learn(shared: &Shared, name: &str, answer: &[u8]) -> Vec<IpAddr> {
    let (now, rules) = (Instant::now(), shared.rules());
    let addresses = answer::addresses(answer);
    for (ip, ttl) in &addresses {
        shared.pins.add(name, *ip, *ttl, now, |name| rules.forbids_at(name));
    }
    addresses.into_iter().map(|(ip, _)| ip).collect()
}

/// Reads `bytes` as a question and as an answer.
#[cfg(fuzzing)]
pub(crate) fn read(bytes: &[u8]) {
    let _ = answer::addresses(bytes);
    if let Ok(query) = Query::parse(bytes) {
        let _ = query.udp_answer(query.sinkhole(SINKHOLE));
        let _ = query.spelled();
        if let Some(name) = query.name() {
            assert!(
                Query::about(&name, Kind::V4).and_then(|own| own.name()).as_deref() == Some(name.as_str())
            );
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod answer_tests;
