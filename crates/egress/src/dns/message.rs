//! DNS messages as far as a forwarder must understand them (RFC 1035, EDNS of RFC 6891): bounded, and never a panic.
//!
//! A question is read whole; of an answer only its header and question are, the rest is the sandbox's to read.

use std::net::Ipv4Addr;

const HEADER: usize = 12;
/// The longest question message that is taken, and the longest answer over UDP.
pub(crate) const MAX_MESSAGE: usize = 4096;
/// What a UDP answer may hold when the question does not say otherwise (RFC 1035).
const PLAIN_UDP: usize = 512;
/// A name with its length bytes and the root (RFC 1035).
const MAX_NAME: usize = 255;
/// EDNS, TSIG and SIG(0) are what a question carries beside itself; more is not a question.
const MAX_ADDITIONAL: u16 = 4;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_SVCB: u16 = 64;
const TYPE_HTTPS: u16 = 65;
const TYPE_OPT: u16 = 41;
const TYPE_IXFR: u16 = 251;
const TYPE_AXFR: u16 = 252;
const CLASS_IN: u16 = 1;

const QR: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;

/// The response codes that this crate gives or looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NotImp = 4,
    Refused = 5,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    V4,
    V6,
}

/// Why a message is no question to pass on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not a question at all. Answering could make two servers talk to each other forever.
    Silent,
    /// The whole answer to give.
    Answerable(Vec<u8>),
}

/// A question that a resolver may be asked.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    message: Vec<u8>,
    /// Where the question's name ends; its type and class follow.
    name_end: usize,
    edns: Option<Edns>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edns {
    /// Where the size of the sender's UDP buffer is written.
    size_at: usize,
    size: usize,
}

impl Query {
    /// # Errors
    /// What to do with everything but one well-formed question.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Fault> {
        let flags = u16_at(message, 2).filter(|_| message.len() >= HEADER).ok_or(Fault::Silent)?;
        if flags & QR != 0 {
            return Err(Fault::Silent);
        }
        let fault = |rcode| Fault::Answerable(bare_answer(message, flags, rcode));
        if flags & OPCODE != 0 {
            return Err(fault(Rcode::NotImp));
        }
        let (name_end, edns) = body(message).ok_or_else(|| fault(Rcode::FormErr))?;
        let query = Self { message: message.to_vec(), name_end, edns };
        // Zone transfers are many messages, and not for stub resolvers.
        if [TYPE_AXFR, TYPE_IXFR].contains(&query.kind()) {
            return Err(Fault::Answerable(query.reply(Rcode::NotImp)));
        }
        Ok(query)
    }

    fn kind(&self) -> u16 {
        u16_at(&self.message, self.name_end).unwrap_or_default()
    }

    fn class(&self) -> u16 {
        u16_at(&self.message, self.name_end + 2).unwrap_or_default()
    }

    pub(crate) fn asks_for_ipv6(&self) -> bool {
        (self.kind(), self.class()) == (TYPE_AAAA, CLASS_IN)
    }

    /// The gateway's own question about addresses of `name`: of IPv4, or of IPv6. `None` for what is no name of a host.
    pub(crate) fn about(name: &str, kind: Kind) -> Option<Self> {
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|l| (1..64).contains(l))?;
            message.push(length);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        let kind = match kind {
            Kind::V4 => TYPE_A,
            Kind::V6 => TYPE_AAAA,
        };
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&CLASS_IN.to_be_bytes());
        Self::parse(&message).ok()
    }

    /// The name that is asked about, in lower case and without a dot at its end; `None` when it is none of a host, such as
    /// the root, or labels with dots in them.
    pub(crate) fn name(&self) -> Option<String> {
        let mut name = String::new();
        let mut rest = self.message.get(HEADER..self.name_end)?;
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            if !label.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b)) {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
            rest = after;
        }
        (!name.is_empty()).then_some(name)
    }

    /// The name for people, as it was spelled: the case of letters goes to the other side too, and can say something. What is
    /// none of a host's has its other bytes as `\DDD` (RFC 1035, section 5.1).
    pub(crate) fn spelled(&self) -> String {
        let mut shown = String::new();
        let mut rest = self.message.get(HEADER..self.name_end).unwrap_or_default();
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let Some((label, after)) = after.split_at_checked(usize::from(*length)) else { break };
            if !shown.is_empty() {
                shown.push('.');
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' => shown.extend(['\\', char::from(*byte)]),
                    b if b.is_ascii_graphic() => shown.push(char::from(*b)),
                    b => shown += &format!("\\{b:03}"),
                }
            }
            rest = after;
        }
        if shown.is_empty() { ".".to_owned() } else { shown }
    }

    fn asks_for_ipv4(&self) -> bool {
        (self.kind(), self.class()) == (TYPE_A, CLASS_IN)
    }

    /// Whether it asks how to reach a service (RFC 9460): the answer holds keys that hide names from the gateway (ECH).
    pub(crate) fn asks_for_service(&self) -> bool {
        [TYPE_SVCB, TYPE_HTTPS].contains(&self.kind())
    }

    /// That the name leads to `address`, for five seconds; where it was not asked about addresses of IPv4, that there are
    /// none.
    pub(crate) fn sinkhole(&self, address: Ipv4Addr) -> Vec<u8> {
        let mut answer = self.reply(Rcode::NoError);
        if self.asks_for_ipv4() {
            let end = HEADER + self.question().len();
            let mut record = vec![0xc0, HEADER as u8, 0, TYPE_A as u8, 0, CLASS_IN as u8, 0, 0, 0, 5, 0, 4];
            record.extend_from_slice(&address.octets());
            answer.splice(end..end, record);
            put(&mut answer, 6, 1);
        }
        answer
    }

    fn question(&self) -> &[u8] {
        self.message.get(HEADER..self.name_end + 4).unwrap_or_default()
    }

    /// The message to send to a resolver: under another id, and with a UDP buffer no larger than ours.
    pub(crate) fn under(&self, id: u16) -> Vec<u8> {
        let mut message = self.message.clone();
        put(&mut message, 0, id);
        if let Some(edns) = self.edns.filter(|edns| edns.size > MAX_MESSAGE) {
            put(&mut message, edns.size_at, MAX_MESSAGE as u16);
        }
        message
    }

    /// Whether `answer` belongs to this question sent under `id`: same id and same question (RFC 5452 section 9.1).
    /// The case of letters may differ.
    pub(crate) fn is_answered_by(&self, id: u16, answer: &[u8]) -> bool {
        let response = u16_at(answer, 2).is_some_and(|flags| flags & (QR | OPCODE) == QR);
        let one_question = u16_at(answer, 4) == Some(1);
        let name = answer.get(HEADER..self.name_end);
        let same_name = name.is_some_and(|n| {
            Some(n).zip(self.message.get(HEADER..self.name_end)).is_some_and(
                // Length bytes are below 64, so ignoring the case of letters leaves them alone.
                |(a, b)| a.eq_ignore_ascii_case(b),
            )
        });
        let tail = self.name_end..self.name_end + 4;
        let same_kind = answer.get(tail.clone()).is_some_and(|t| self.message.get(tail) == Some(t));
        u16_at(answer, 0) == Some(id) && response && one_question && same_name && same_kind
    }

    /// `answer` as the sandbox gets it over UDP: under its own id, and cut to the question alone where it is too long,
    /// which makes the sandbox ask again over TCP.
    pub(crate) fn udp_answer(&self, mut answer: Vec<u8>) -> Vec<u8> {
        let room = self.edns.map_or(PLAIN_UDP, |edns| edns.size.clamp(PLAIN_UDP, MAX_MESSAGE));
        if answer.len() <= room {
            put(&mut answer, 0, self.id());
            return answer;
        }
        self.compose(u16_at(&answer, 2).unwrap_or_default() | QR | TC)
    }

    /// `answer` as the sandbox gets it over TCP.
    pub(crate) fn tcp_answer(&self, mut answer: Vec<u8>) -> Vec<u8> {
        put(&mut answer, 0, self.id());
        answer
    }

    /// An answer of this gateway's own, without records.
    pub(crate) fn reply(&self, rcode: Rcode) -> Vec<u8> {
        let asked = u16_at(&self.message, 2).unwrap_or_default();
        self.compose(QR | (asked & RD) | RA | rcode as u16)
    }

    fn id(&self) -> u16 {
        u16_at(&self.message, 0).unwrap_or_default()
    }

    fn compose(&self, flags: u16) -> Vec<u8> {
        let mut answer = vec![0; HEADER];
        put(&mut answer, 0, self.id());
        put(&mut answer, 2, flags);
        put(&mut answer, 4, 1);
        answer.extend_from_slice(self.question());
        if self.edns.is_some() {
            // RFC 6891 section 6.1.1: who was asked with EDNS answers with EDNS.
            put(&mut answer, 10, 1);
            answer.extend_from_slice(&[0, 0, TYPE_OPT as u8, (MAX_MESSAGE >> 8) as u8, 0, 0, 0, 0, 0, 0, 0]);
        }
        answer
    }
}

/// The response code of an answer that [`Query::is_answered_by`] accepted.
pub(crate) fn asks_elsewhere(answer: &[u8]) -> bool {
    let rcode = u16_at(answer, 2).unwrap_or_default() & 0xf;
    [Rcode::ServFail, Rcode::NotImp, Rcode::Refused].iter().any(|r| *r as u16 == rcode)
}

pub(crate) fn is_truncated(answer: &[u8]) -> bool {
    u16_at(answer, 2).is_some_and(|flags| flags & TC != 0)
}

/// Everything behind the header: where the question's name ends, and EDNS. `None` when it is malformed.
fn body(message: &[u8]) -> Option<(usize, Option<Edns>)> {
    let counts = [u16_at(message, 4)?, u16_at(message, 6)?, u16_at(message, 8)?];
    let additional = u16_at(message, 10)?;
    if message.len() > MAX_MESSAGE || counts != [1, 0, 0] || additional > MAX_ADDITIONAL {
        return None;
    }
    let name_end = question_name(message, HEADER)?;
    let mut at = name_end + 4;
    message.get(..at)?;
    let mut edns = None;
    for _ in 0..additional {
        let record = record_name(message, at)?;
        let kind = u16_at(message, record)?;
        if kind == TYPE_OPT {
            // RFC 6891 section 6.1.1: at most one, and its name is the root.
            if edns.is_some() || record != at + 1 {
                return None;
            }
            edns = Some(Edns { size_at: record + 2, size: usize::from(u16_at(message, record + 2)?) });
        }
        at = record + 10 + usize::from(u16_at(message, record + 8)?);
        message.get(..at)?;
    }
    (at == message.len()).then_some((name_end, edns))
}

/// The end of the uncompressed name at `start`.
fn question_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        // The two high bits are compression (there is nothing before this name to point at) or unknown kinds.
        if length >= 64 {
            return None;
        }
        at += 1 + length;
        if at - start > MAX_NAME {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// The end of the name at `start`, which may end in a pointer (never followed: only its end matters).
fn record_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        if length >= 192 {
            return message.get(at + 1).map(|_| at + 2);
        }
        if length >= 64 || at - start > MAX_NAME {
            return None;
        }
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

/// An answer to a message whose question cannot be trusted: the header alone.
fn bare_answer(message: &[u8], flags: u16, rcode: Rcode) -> Vec<u8> {
    let mut answer = vec![0; HEADER];
    put(&mut answer, 0, u16_at(message, 0).unwrap_or_default());
    put(&mut answer, 2, QR | (flags & (OPCODE | RD)) | RA | rcode as u16);
    answer
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    bytes.try_into().ok().map(u16::from_be_bytes)
}

/// Writes where there is room: positions come from a parsed message or a fresh header.
fn put(message: &mut [u8], at: usize, value: u16) {
    if let Some(place) = message.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
