//! Messages of D-Bus: encoded, and parsed without trust. Only what a conversation with systemd needs of the wire format:
//! no descriptors, at most [`MAX_MESSAGE`] bytes, and bodies that the caller reads value by value.

use std::fmt;

/// The longest message that is read or written. The protocol allows 128 MiB; nothing asked here is near this.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;
/// What comes before the header's fields.
const FIXED: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call = 1,
    Return = 2,
    Error = 3,
    Signal = 4,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message ({})", self.0)
    }
}

impl std::error::Error for Malformed {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// A message; header fields that it does not have are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) serial: u32,
    pub(crate) reply_serial: Option<u32>,
    pub(crate) path: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) member: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) destination: Option<String>,
    /// Written by the bus, which lets nobody choose it.
    pub(crate) sender: Option<String>,
    /// The types of the body's values.
    pub(crate) signature: String,
    body: Vec<u8>,
    order: Order,
}

impl Message {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            serial: 0,
            reply_serial: None,
            path: None,
            interface: None,
            member: None,
            error: None,
            destination: None,
            sender: None,
            signature: String::new(),
            body: Vec::new(),
            order: Order::Little,
        }
    }

    pub(crate) fn call(destination: &str, path: &str, interface: &str, member: &str) -> Self {
        Self {
            destination: Some(destination.to_owned()),
            path: Some(path.to_owned()),
            interface: Some(interface.to_owned()),
            member: Some(member.to_owned()),
            ..Self::new(Kind::Call)
        }
    }

    /// With the values that `write` encodes, whose types are `signature`.
    pub(crate) fn with_body(mut self, signature: &str, write: impl FnOnce(&mut Encoder)) -> Self {
        let mut encoder = Encoder::default();
        write(&mut encoder);
        signature.clone_into(&mut self.signature);
        self.body = encoder.bytes;
        self.order = Order::Little;
        self
    }

    /// Reads the body, which must have the types of `signature`.
    pub(crate) fn body(&self, signature: &str) -> Result<Decoder<'_>, Malformed> {
        if self.signature != signature {
            return Err(Malformed("values of other types than expected"));
        }
        Ok(Decoder { bytes: &self.body, at: 0, order: self.order })
    }

    /// The bytes of this message, as number `serial` of its sender (not 0).
    pub(crate) fn encode(&self, serial: u32) -> Result<Vec<u8>, Malformed> {
        let mut out = Encoder::default();
        out.bytes.extend_from_slice(&[b'l', self.kind as u8, 0, 1]);
        out.u32(u32::try_from(self.body.len()).map_err(|_| Malformed("too long"))?);
        out.u32(serial);
        out.array(8, |out| {
            let texts = [
                (1, "o", &self.path),
                (2, "s", &self.interface),
                (3, "s", &self.member),
                (4, "s", &self.error),
                (6, "s", &self.destination),
                (7, "s", &self.sender),
            ];
            for (code, kind, text) in texts {
                if let Some(text) = text {
                    out.field(code, kind, |out| out.string(text));
                }
            }
            if let Some(serial) = self.reply_serial {
                out.field(5, "u", |out| out.u32(serial));
            }
            if !self.signature.is_empty() {
                out.field(8, "g", |out| out.signature(&self.signature));
            }
        });
        out.pad(8);
        out.bytes.extend_from_slice(&self.body);
        if out.bytes.len() > MAX_MESSAGE { Err(Malformed("too long")) } else { Ok(out.bytes) }
    }

    /// How long the message is that begins with `bytes`; `None` when that cannot be told from so few.
    pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(fixed) = bytes.get(..FIXED) else { return Ok(None) };
        let mut decoder = Decoder { bytes: fixed, at: 4, order: order(fixed)? };
        let body = decoder.u32()?;
        let _serial = decoder.u32()?;
        let fields = decoder.u32()?;
        let whole = u64::from(fields).next_multiple_of(8) + u64::from(body) + 16;
        match usize::try_from(whole) {
            Ok(whole) if whole <= MAX_MESSAGE => Ok(Some(whole)),
            _ => Err(Malformed("too long")),
        }
    }

    /// The message that is exactly `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if Self::length(bytes)? != Some(bytes.len()) {
            return Err(Malformed("cut off"));
        }
        let order = order(bytes)?;
        let mut decoder = Decoder { bytes, at: 1, order };
        let kind = match decoder.u8()? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(Malformed("of no known kind")),
        };
        let _flags = decoder.u8()?;
        if decoder.u8()? != 1 {
            return Err(Malformed("of another version"));
        }
        let body_length = decoder.u32()?;
        let mut message = Self { serial: decoder.u32()?, order, ..Self::new(kind) };
        let fields = decoder.u32()?;
        let end = FIXED + usize::try_from(fields).map_err(|_| Malformed("too long"))?;
        while decoder.at < end {
            decoder.align(8)?;
            message.take_field(&mut decoder)?;
        }
        if decoder.at != end {
            return Err(Malformed("header fields of another length"));
        }
        decoder.align(8)?;
        message.body = decoder.rest().to_vec();
        if message.serial == 0 || (body_length == 0) != message.signature.is_empty() {
            return Err(Malformed("with a wrong header"));
        }
        message.complete()
    }

    fn take_field(&mut self, decoder: &mut Decoder<'_>) -> Result<(), Malformed> {
        let code = decoder.u8()?;
        let kind = decoder.signature()?;
        match (code, kind) {
            (1, "o") => self.path = Some(decoder.string()?.to_owned()),
            (2, "s") => self.interface = Some(decoder.string()?.to_owned()),
            (3, "s") => self.member = Some(decoder.string()?.to_owned()),
            (4, "s") => self.error = Some(decoder.string()?.to_owned()),
            (5, "u") => self.reply_serial = Some(decoder.u32()?),
            (6, "s") => self.destination = Some(decoder.string()?.to_owned()),
            (7, "s") => self.sender = Some(decoder.string()?.to_owned()),
            (8, "g") => decoder.signature()?.clone_into(&mut self.signature),
            (0..=8, _) => return Err(Malformed("a header field of a wrong type")),
            // Fields of later versions are to be ignored.
            (_, "s" | "o") => drop(decoder.string()?),
            (_, "u" | "i" | "b") => drop(decoder.u32()?),
            (_, "t" | "x" | "d") => drop(decoder.u64()?),
            _ => return Err(Malformed("an unknown header field")),
        }
        Ok(())
    }

    /// Whether the fields are there that the kind must have.
    fn complete(self) -> Result<Self, Malformed> {
        let complete = match self.kind {
            Kind::Call => self.path.is_some() && self.member.is_some(),
            Kind::Signal => self.path.is_some() && self.member.is_some() && self.interface.is_some(),
            Kind::Return => self.reply_serial.is_some(),
            Kind::Error => self.reply_serial.is_some() && self.error.is_some(),
        };
        if complete { Ok(self) } else { Err(Malformed("a header field is missing")) }
    }
}

fn order(bytes: &[u8]) -> Result<Order, Malformed> {
    match bytes.first() {
        Some(b'l') => Ok(Order::Little),
        Some(b'B') => Ok(Order::Big),
        _ => Err(Malformed("of no known byte order")),
    }
}

/// Writes values, each aligned to its own size as the format wants it.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.pad(4);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.pad(8);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A string or an object path. What no message can hold, a NUL or more than 4 GiB, ends it there.
    pub(crate) fn string(&mut self, text: &str) {
        let text = text.split('\0').next().unwrap_or("");
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// An array of elements that `write` writes and that are aligned to `alignment`.
    pub(crate) fn array(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.pad(alignment);
        let start = self.bytes.len();
        write(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    pub(crate) fn variant(&mut self, signature: &str, write: impl FnOnce(&mut Self)) {
        self.signature(signature);
        write(self);
    }

    fn field(&mut self, code: u8, signature: &str, write: impl FnOnce(&mut Self)) {
        self.pad(8);
        self.bytes.push(code);
        self.variant(signature, write);
    }
}

/// Reads values one after the other; whatever is not there or not as the format says is an error.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl<'a> Decoder<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed("cut off"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("cut off"))?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let padding = self.take(self.at.next_multiple_of(to) - self.at)?;
        if padding.iter().any(|b| *b != 0) { Err(Malformed("padding that is not zero")) } else { Ok(()) }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed("cut off"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = *self.take(4)?.first_chunk().ok_or(Malformed("cut off"))?;
        Ok(if self.order == Order::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.align(8)?;
        let bytes = *self.take(8)?.first_chunk().ok_or(Malformed("cut off"))?;
        Ok(if self.order == Order::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed("too long"))?;
        self.text(length)
    }

    pub(crate) fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u8()?);
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let bytes = self.take(length)?;
        if self.u8()? != 0 || bytes.contains(&0) {
            return Err(Malformed("a string that does not end where it says"));
        }
        std::str::from_utf8(bytes).map_err(|_| Malformed("a string that is not UTF-8"))
    }

    fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }
}

#[cfg(test)]
#[path = "dbus_tests.rs"]
pub(super) mod tests;
