//! Netlink messages (netlink(7)), as far as a sandbox's network needs them: building, sending, reading the answers.

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with},
};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
const NLMSG_ERROR: u16 = 2;
const HEADER: usize = 16;
const NLA_F_NESTED: u16 = 0x8000;

/// Several messages that go to the kernel in one datagram.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// How many messages ask for an answer.
    acks: usize,
}

/// Whether the kernel is asked to answer a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Wanted,
    None,
}

impl Batch {
    /// Appends a message of type `kind`: `fixed` is its family's own header, `attributes` adds what follows.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        answer: Answer,
        fixed: &[u8],
        attributes: Attributes,
    ) {
        let ack = if answer == Answer::Wanted { NLM_F_ACK } else { 0 };
        let length = HEADER + align(fixed.len()) + attributes.0.len();
        self.acks += usize::from(ack != 0);
        self.bytes.extend(u32::try_from(length).unwrap_or(0).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST | ack).to_ne_bytes());
        self.bytes.extend(u32::try_from(self.acks).unwrap_or(0).to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(fixed);
        self.bytes.resize(align(self.bytes.len()), 0);
        self.bytes.extend(attributes.0);
    }

    /// Sends all to the kernel (`None` is the routing family, whose number is 0) and waits until it has answered. The first refusal is the error.
    pub(crate) fn commit(self, protocol: Option<Protocol>) -> Result<(), Errno> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        if send(&socket, &self.bytes, SendFlags::empty())? != self.bytes.len() {
            return Err(Errno::MSGSIZE);
        }
        let mut left = self.acks;
        while left > 0 {
            left = left.saturating_sub(read_answers(&socket)?);
        }
        Ok(())
    }
}

/// How many messages one datagram of the kernel acknowledged.
fn read_answers(socket: &OwnedFd) -> Result<usize, Errno> {
    let mut buffer = [0_u8; 8192];
    let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
    let mut rest = &buffer[..length];
    let mut acks = 0;
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let size =
            usize::try_from(u32::from_ne_bytes([header[0], header[1], header[2], header[3]])).unwrap_or(0);
        if size < HEADER || size > rest.len() {
            return Err(Errno::PROTO);
        }
        if u16::from_ne_bytes([header[4], header[5]]) == NLMSG_ERROR {
            let code = rest.get(HEADER..HEADER + 4).and_then(|b| b.first_chunk::<4>()).ok_or(Errno::PROTO)?;
            match i32::from_ne_bytes(*code) {
                0 => acks += 1,
                negative => return Err(Errno::from_raw_os_error(negative.saturating_neg())),
            }
        }
        rest = rest.get(align(size)..).unwrap_or(&[]);
    }
    Ok(acks)
}

const fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Type-length-value attributes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(u16::try_from(value.len() + 4).unwrap_or(0).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(align(self.0.len()), 0);
        self
    }

    /// With its terminating NUL.
    pub(crate) fn string(self, kind: u16, value: &str) -> Self {
        let bytes: Vec<u8> = value.bytes().chain([0]).collect();
        self.bytes(kind, &bytes)
    }

    /// In network byte order, as nftables wants numbers.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn nested(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }
}
