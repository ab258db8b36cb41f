//! Authenticated encryption, XChaCha20-Poly1305: a random nonce of 24 bytes for each message, which stands before it.

use agentkernel_model::{Error, Result};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use zeroize::Zeroizing;

pub(super) const KEY: usize = 32;
const NONCE: usize = 24;
const TAG: usize = 16;
/// What a message is longer by than what is in it.
pub(super) const OVERHEAD: usize = NONCE + TAG;

/// A key of the cipher, wiped when it is dropped.
pub(super) type Key = Zeroizing<[u8; KEY]>;

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes)
        .map_err(|e| Error::internal("the system has no random bytes").with_source(e))?;
    Ok(bytes)
}

/// `plain` encrypted; whoever decrypts it must know `context`, byte for byte.
pub(super) fn seal(key: &Key, context: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let nonce = random::<NONCE>()?;
    let cipher = XChaCha20Poly1305::new(&(**key).into());
    let sealed = cipher.encrypt(&XNonce::from(*nonce), Payload { msg: plain, aad: context });
    let sealed = sealed.map_err(|_| Error::internal("cannot encrypt the vault: it is too long"))?;
    let mut whole = Vec::with_capacity(NONCE + sealed.len());
    whole.extend_from_slice(&*nonce);
    whole.extend_from_slice(&sealed);
    Ok(whole)
}

/// What was sealed with this key and context; `None` when it was not, or a bit of it has changed.
pub(super) fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let cipher = XChaCha20Poly1305::new(&(**key).into());
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: context }).ok().map(Zeroizing::new)
}

#[cfg(test)]
#[path = "cipher_tests.rs"]
mod tests;
