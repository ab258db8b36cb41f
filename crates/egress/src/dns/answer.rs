//! The addresses in an answer that a resolver gave.

use hickory_proto::{
    op::Message,
    rr::{Name, RData},
};
use std::{net::IpAddr, time::Duration};

/// The longest chain of other names that is followed.
const MAX_CHAIN: usize = 16;
/// Records that are looked at; more are the sandbox's to read, and lead nowhere that a rule about names lets out.
const MAX_RECORDS: usize = 64;

/// Every address that `answer` gives for the name it was asked about, through CNAMEs too. Nothing for what is malformed.
pub(super) fn addresses(answer: &[u8]) -> Vec<(IpAddr, Duration)> {
    let Ok(message) = Message::from_vec(answer) else { return Vec::new() };
    let Some(question) = message.queries.first() else { return Vec::new() };
    let answers = message.answers.get(..MAX_RECORDS).unwrap_or(&message.answers);
    let mut chain: Vec<&Name> = vec![&question.name];
    // An alias stands before what it leads to, but nobody says it must: each pass finds one more at least.
    while chain.len() <= MAX_CHAIN {
        let next = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if chain.contains(&&record.name) && !chain.contains(&&target.0) => {
                Some(&target.0)
            }
            _ => None,
        });
        match next {
            Some(name) => chain.push(name),
            None => break,
        }
    }
    let of_chain = answers.iter().filter(|record| chain.contains(&&record.name));
    of_chain
        .filter_map(|record| {
            let ttl = Duration::from_secs(u64::from(record.ttl));
            match &record.data {
                RData::A(a) => Some((IpAddr::V4(a.0), ttl)),
                RData::AAAA(a) => Some((IpAddr::V6(a.0), ttl)),
                _ => None,
            }
        })
        .collect()
}
