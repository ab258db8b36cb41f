//! What goes over the stream: a kind, a channel's number, a length, and that many bytes.

use rustix::io::Errno;
use std::net::{IpAddr, SocketAddr};

/// The longest content of a frame, in bytes.
pub const MAX_CONTENT: usize = 32 * 1024;
const HEADER: usize = 9;

/// The number of a channel: the keeper's are even, the sandbox's odd. 0 is the keeper's own conversation.
pub type Number = u32;

/// How a descriptor is used by whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
    Both,
}

impl Use {
    /// How the other end is used.
    pub(super) const fn opposite(self) -> Self {
        match self {
            Self::Read => Self::Write,
            Self::Write => Self::Read,
            Self::Both => Self::Both,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The keeper's side opens a conversation with process 1.
    Open,
    /// The sandbox opens a connection to this address.
    Flow(SocketAddr),
    /// Descriptors that belong to the next bytes of this conversation.
    Descriptors(Vec<(Number, Use)>),
    Data(&'a [u8]),
    /// No more bytes will come.
    End,
    /// No more bytes are wanted.
    Stop,
    /// As many more bytes may come.
    Credit(u32),
    /// A datagram that the sandbox sent from, or that is for, this address inside.
    Datagram(SocketAddr, &'a [u8]),
}

impl Frame<'_> {
    /// Appends the frame for channel `number` to `to`.
    pub fn write(&self, number: Number, to: &mut Vec<u8>) {
        let mut short = Vec::new();
        let (kind, content): (u8, &[u8]) = match self {
            Self::Open => (1, &[]),
            Self::Flow(address) => {
                put_address(*address, &mut short);
                (2, &short)
            }
            Self::Descriptors(list) => {
                for (channel, purpose) in list {
                    short.extend(channel.to_le_bytes());
                    short.push(match purpose {
                        Use::Read => 0,
                        Use::Write => 1,
                        Use::Both => 2,
                    });
                }
                (3, &short)
            }
            Self::Data(bytes) => (4, bytes),
            Self::End => (5, &[]),
            Self::Stop => (6, &[]),
            Self::Credit(more) => {
                short.extend(more.to_le_bytes());
                (7, &short)
            }
            Self::Datagram(address, payload) => {
                put_address(*address, &mut short);
                short.extend_from_slice(payload);
                (8, &short)
            }
        };
        debug_assert!(content.len() <= MAX_CONTENT);
        let length = u32::try_from(content.len()).unwrap_or(0);
        to.push(kind);
        to.extend(number.to_le_bytes());
        to.extend(length.to_le_bytes());
        to.extend_from_slice(content);
    }
}

/// The first whole frame of `bytes`, with its channel and how long it is; `None` when more must come first.
///
/// # Errors
/// `PROTO` for what is no frame. Never panics, whatever the other side sent.
pub fn read(bytes: &[u8]) -> Result<Option<(Number, Frame<'_>, usize)>, Errno> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let [kind, n0, n1, n2, n3, l0, l1, l2, l3] = *header;
    let number = Number::from_le_bytes([n0, n1, n2, n3]);
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if length > MAX_CONTENT {
        return Err(Errno::PROTO);
    }
    let Some(content) = bytes.get(HEADER..HEADER + length) else { return Ok(None) };
    let frame = match (kind, content) {
        (1, []) => Frame::Open,
        (2, _) => match take_address(content)? {
            (address, []) => Frame::Flow(address),
            _ => return Err(Errno::PROTO),
        },
        (3, _) => Frame::Descriptors(take_descriptors(content)?),
        (4, _) => Frame::Data(content),
        (5, []) => Frame::End,
        (6, []) => Frame::Stop,
        (7, &[a, b, c, d]) => Frame::Credit(u32::from_le_bytes([a, b, c, d])),
        (8, _) => {
            let (address, payload) = take_address(content)?;
            Frame::Datagram(address, payload)
        }
        _ => return Err(Errno::PROTO),
    };
    Ok(Some((number, frame, HEADER + length)))
}

fn take_descriptors(content: &[u8]) -> Result<Vec<(Number, Use)>, Errno> {
    let (entries, []) = content.as_chunks::<5>() else { return Err(Errno::PROTO) };
    let entry = |&[a, b, c, d, purpose]: &[u8; 5]| {
        let purpose = match purpose {
            0 => Use::Read,
            1 => Use::Write,
            2 => Use::Both,
            _ => return Err(Errno::PROTO),
        };
        Ok((Number::from_le_bytes([a, b, c, d]), purpose))
    };
    entries.iter().map(entry).collect()
}

/// The IP version, the address, the port.
pub(super) fn put_address(address: SocketAddr, to: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            to.push(4);
            to.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            to.push(6);
            to.extend(ip.octets());
        }
    }
    to.extend(address.port().to_le_bytes());
}

/// The address that `bytes` begin with, and what follows it.
pub(super) fn take_address(bytes: &[u8]) -> Result<(SocketAddr, &[u8]), Errno> {
    let (version, rest) = bytes.split_first().ok_or(Errno::PROTO)?;
    let (ip, rest): (IpAddr, &[u8]) = match version {
        4 => rest.split_first_chunk::<4>().map(|(ip, rest)| ((*ip).into(), rest)),
        6 => rest.split_first_chunk::<16>().map(|(ip, rest)| ((*ip).into(), rest)),
        _ => None,
    }
    .ok_or(Errno::PROTO)?;
    let (port, rest) = rest.split_first_chunk::<2>().ok_or(Errno::PROTO)?;
    Ok((SocketAddr::new(ip, u16::from_le_bytes(*port)), rest))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
