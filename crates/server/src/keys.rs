//! API keys. Only their hashes are kept: the memory of the server shows no key.

use agentkernel_model::{Error, Kind, Result, secret::Secret};
use sha2::{Digest as _, Sha256};
use std::{
    fmt, fs,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// The largest file of keys, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// The longest key, in bytes.
const MAX_KEY: usize = 1024;

/// `O_NONBLOCK`.
#[expect(clippy::cast_possible_wrap, reason = "the flags of open(2) are small")]
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digest([u8; 32]);

impl Digest {
    fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// Where keys come from.
#[derive(Debug, Clone, Default)]
pub struct KeySource {
    fixed: Vec<Digest>,
    file: Option<PathBuf>,
}

impl KeySource {
    /// `keys` of flags, variables and configuration; `file` has one a line, and is read again on [`ApiKeys::reload`].
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a key that no header could carry.
    pub fn new(keys: &[Secret], file: Option<PathBuf>) -> Result<Self> {
        let digest = |key: &Secret| check(key.reveal()).map(|()| Digest::of(key.reveal()));
        Ok(Self { fixed: keys.iter().map(digest).collect::<Result<_>>()?, file })
    }
}

/// The keys that are valid now.
#[derive(Debug)]
pub struct ApiKeys {
    source: KeySource,
    current: RwLock<Vec<Digest>>,
}

impl ApiKeys {
    /// # Errors
    /// As [`ApiKeys::reload`].
    pub fn load(source: KeySource) -> Result<Self> {
        let current = RwLock::new(read(&source)?);
        Ok(Self { source, current })
    }

    /// Reads the file of keys again. After an error those of before stay valid.
    ///
    /// # Errors
    /// When it cannot be read, others may write it, it holds what is no key, or none where no other key is given.
    pub fn reload(&self) -> Result<()> {
        let keys = read(&self.source)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Whether any key is asked for.
    #[must_use]
    pub fn are_required(&self) -> bool {
        !self.current.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether `key` is one of them. Takes the same time whichever it is, and whatever its length.
    #[must_use]
    pub fn accept(&self, key: &[u8]) -> bool {
        let presented = Digest::of(key);
        let keys = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.iter().fold(Choice::from(0), |found, key| found | key.0.ct_eq(&presented.0));
        found.into()
    }
}

fn read(source: &KeySource) -> Result<Vec<Digest>> {
    let mut keys = source.fixed.clone();
    if let Some(path) = &source.file {
        keys.extend(read_file(path)?);
        // An emptied file must not open the door.
        if keys.is_empty() {
            return Err(Error::new(Kind::Config, format!("{} has no key in it", path.display()))
                .with_hint("write one key a line; blank lines and lines that begin with '#' are no keys"));
        }
    }
    Ok(keys)
}

fn read_file(path: &Path) -> Result<Vec<Digest>> {
    let shown = path.display();
    // Opening a pipe would wait for whoever writes to it.
    let opened = fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path);
    let file = opened.map_err(|e| {
        Error::new(Kind::NotFound, format!("the file of keys {shown} cannot be read")).with_source(e)
    })?;
    let fail = |e| Error::io(format!("cannot read the file of keys {shown}"), e);
    refuse_shared(&file.metadata().map_err(fail)?, path)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|e| {
        Error::new(Kind::Config, format!("the file of keys {shown} is no text")).with_source(e)
    })?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::new(Kind::Config, format!("the file of keys {shown} is longer than 1 MiB")));
    }
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        check(line.as_bytes()).map_err(|e| {
            Error::new(Kind::Config, format!("line {} of {shown}: {}", index + 1, e.message()))
        })?;
        keys.push(Digest::of(line.as_bytes()));
    }
    Ok(keys)
}

/// Sees that `metadata` is of a file with a key in it, at `path`, that nobody else can read or write. One of root's may
/// be read by its group, which this process may be of.
///
/// # Errors
/// [`Kind::Denied`].
pub fn refuse_shared(metadata: &fs::Metadata, path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let ours = rustix::process::geteuid().as_raw();
    let shared = match metadata.uid() {
        0 => 0o037,
        owner if owner == ours => 0o077,
        _ => u32::MAX,
    };
    let shown = path.display();
    if metadata.is_file() && metadata.mode() & shared == 0 {
        return Ok(());
    }
    let what = if metadata.is_file() { "others can read or write" } else { "no ordinary file is" };
    Err(Error::new(Kind::Denied, format!("{what} {shown}, which holds a key"))
        .with_hint(format!("chmod 600 {shown}, as its owner")))
}

/// What a `Bearer` header can carry (RFC 6750, section 2.1, and what people use beyond it).
fn check(key: &[u8]) -> Result<()> {
    if (1..=MAX_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(Error::invalid("a key is 1 to 1024 visible ASCII characters without spaces"))
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
