//! Entries as the bytes that are encrypted: JSON, with values in base64, which needs no escapes. So nothing of a value is
//! copied to memory that is not wiped.

use crate::{Entry, Meta};
use agentkernel_model::{
    Error, Kind, Result,
    secret::{HeaderName, HostPattern, Secret, SecretName},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
};
use zeroize::Zeroizing;

/// The entries of one vault, by name.
pub(crate) type Entries = BTreeMap<SecretName, Entry>;

/// The most entries of one vault.
const MAX_ENTRIES: usize = 1024;
/// The most bytes of all of them.
pub(crate) const MAX_LEN: usize = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow)]
    entries: Vec<Row<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    name: SecretName,
    hosts: Vec<HostPattern>,
    header: Option<HeaderName>,
    set_at: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_caller: bool,
    #[serde(borrow)]
    value: Encoded<'a>,
}

/// Base64 of a value: borrowed from what was read, or wiped.
enum Encoded<'a> {
    Read(&'a str),
    Written(Zeroizing<String>),
}

impl Serialize for Encoded<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for Encoded<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Only a text without escapes can be borrowed; base64 has none.
        <&'de str>::deserialize(deserializer).map(Encoded::Read)
    }
}

impl Encoded<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Read(text) => text,
            Self::Written(text) => text,
        }
    }
}

/// What is wrong with a document. Holds nothing of it: serde's errors may quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not what agentkernel writes")
    }
}

impl std::error::Error for Damaged {}

fn row(entry: &Entry) -> Row<'_> {
    let mut encoded = Zeroizing::new(String::with_capacity(entry.value().reveal().len().div_ceil(3) * 4));
    STANDARD.encode_string(entry.value().reveal(), &mut encoded);
    let meta = entry.meta();
    Row {
        name: meta.name().clone(),
        hosts: meta.hosts().to_vec(),
        header: meta.header().cloned(),
        set_at: meta.set_at(),
        by_caller: meta.is_by_caller(),
        value: Encoded::Written(encoded),
    }
}

fn entry(row: Row<'_>) -> Result<Entry, Damaged> {
    let text = row.value.text();
    if text.len() > Secret::MAX.div_ceil(3) * 4 {
        return Err(Damaged);
    }
    let mut value = Zeroizing::new(Vec::with_capacity(text.len()));
    STANDARD.decode_vec(text, &mut value).map_err(|_| Damaged)?;
    let value = Secret::wiped(value).map_err(|_| Damaged)?;
    let meta = Meta::new(row.name, row.hosts, row.header, row.set_at).map_err(|_| Damaged)?;
    Ok(Entry::new(if row.by_caller { meta.by_caller() } else { meta }, value))
}

/// All of `entries` as bytes.
///
/// # Errors
/// [`Kind::Exhausted`] when they are too many, or too long together.
pub(crate) fn encode(entries: &Entries) -> Result<Zeroizing<Vec<u8>>> {
    if entries.len() > MAX_ENTRIES {
        return Err(full(format!("more than {MAX_ENTRIES} secrets")));
    }
    let bytes = to_bytes(&Document { entries: entries.values().map(row).collect() })?;
    if bytes.len() > MAX_LEN {
        return Err(full(format!("more than {} MiB", MAX_LEN / 1024 / 1024)));
    }
    Ok(bytes)
}

fn full(what: String) -> Error {
    Error::new(Kind::Exhausted, format!("the vault would hold {what}"))
        .with_hint("agentkernel secret list; then agentkernel secret delete NAME")
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Entries, Damaged> {
    let document: Document<'_> = serde_json::from_slice(bytes).map_err(|_| Damaged)?;
    let many = document.entries.len();
    let entries: Entries = document
        .entries
        .into_iter()
        .map(|row| entry(row).map(|entry| (entry.meta().name().clone(), entry)))
        .collect::<Result<_, _>>()?;
    if entries.len() == many && many <= MAX_ENTRIES { Ok(entries) } else { Err(Damaged) }
}

/// Entries in their order, of which several may have one name.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_list(entries: &[Entry]) -> Result<Zeroizing<Vec<u8>>> {
    if entries.len() > MAX_ENTRIES {
        return Err(full(format!("more than {MAX_ENTRIES} secrets")));
    }
    to_bytes(&Document { entries: entries.iter().map(row).collect() })
}

pub(crate) fn decode_list(bytes: &[u8]) -> Result<Vec<Entry>, Damaged> {
    let document: Document<'_> = serde_json::from_slice(bytes).map_err(|_| Damaged)?;
    document.entries.into_iter().map(entry).collect()
}

/// One entry as bytes.
pub(crate) fn encode_one(entry: &Entry) -> Result<Zeroizing<Vec<u8>>> {
    to_bytes(&row(entry))
}

pub(crate) fn decode_one(bytes: &[u8]) -> Result<Entry, Damaged> {
    serde_json::from_slice(bytes).map_err(|_| Damaged).and_then(entry)
}

/// Measured first: memory that grows leaves copies behind.
fn to_bytes(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>> {
    let fail = |e| Error::internal("cannot encode the secrets").with_source(e);
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).map_err(fail)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *bytes, value).map_err(fail)?;
    Ok(bytes)
}

struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
