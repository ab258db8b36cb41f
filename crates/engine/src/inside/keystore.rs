//! A trust store for Java: JKS, the format that every release of it reads. What it trusts is public; the digest at the end
//! tells accidents, not attackers.
//!
//! ```text
//! u32 0xFEEDFEED, u32 version 2, u32 number of entries
//! each:  u32 2 (a trusted certificate), text alias, u64 milliseconds, text "X.509", u32 length, DER
//! SHA-1 of the password in UTF-16, "Mighty Aphrodite" and everything above
//! text: u16 length, bytes of modified UTF-8
//! ```
//!
//! Source: `sun.security.provider.JavaKeyStore` of OpenJDK.

use agentkernel_model::{Error, Result};
use ring::digest;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// What every JKS of certificates has.
pub(super) const PASSWORD: &str = "changeit";

/// More than any bundle has.
const MOST: usize = 10_000;

/// A store with every certificate of `pem`. What is no certificate there is left out, as Java's own tools do.
///
/// # Errors
/// When there are more than 10,000.
pub(super) fn write(pem: &[u8]) -> Result<Vec<u8>> {
    let certificates: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(pem).filter_map(std::result::Result::ok).take(MOST + 1).collect();
    let too_many = || Error::internal("the image trusts too many certificates");
    let count = u32::try_from(certificates.len()).map_err(|_| too_many())?;
    if certificates.len() > MOST {
        return Err(too_many());
    }
    let mut store = Vec::with_capacity(pem.len());
    for number in [0xFEED_FEED, 2, count] {
        store.extend_from_slice(&number.to_be_bytes());
    }
    for (index, certificate) in certificates.iter().enumerate() {
        let length = u32::try_from(certificate.len()).map_err(|_| too_many())?;
        store.extend_from_slice(&2_u32.to_be_bytes());
        text(&mut store, &format!("ca-{index}"));
        store.extend_from_slice(&0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend_from_slice(&length.to_be_bytes());
        store.extend_from_slice(certificate);
    }
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    PASSWORD.encode_utf16().for_each(|unit| hash.update(&unit.to_be_bytes()));
    hash.update(b"Mighty Aphrodite");
    hash.update(&store);
    store.extend_from_slice(hash.finish().as_ref());
    Ok(store)
}

/// ASCII, which is the same in modified UTF-8.
fn text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or_default();
    store.extend_from_slice(&length.to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}
