//! `gateway.toml`: what this user says about every gateway.
//!
//! ```toml
//! ca_bundle = "/etc/company/ca.pem"     # whom to believe beside what this machine believes
//! resolvers = ["127.0.0.1:5353"]        # whom to ask for names, in place of /etc/resolv.conf
//! ```

use agentkernel_model::{Error, Kind, Result, suggest, text::printable};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::Path,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The longest `gateway.toml`, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// The longest bundle of certificates, in bytes.
const MAX_BUNDLE: u64 = 4 << 20;
/// As many as resolv.conf(5) has.
const MAX_RESOLVERS: usize = 3;
const KEYS: [&str; 2] = ["ca_bundle", "resolvers"];
const DNS_PORT: u16 = 53;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// `None`: those of the machine.
    pub(super) resolvers: Option<Vec<SocketAddr>>,
}

impl Settings {
    /// Those in `file`; none where there is no such file.
    ///
    /// # Errors
    /// [`Kind::Config`] with file, line and column; `NotFound` and others when the bundle cannot be read.
    pub(super) fn read(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else { return Ok(Self::default()) };
        let name = printable(&path.to_string_lossy());
        let bytes = match bounded(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::new(Kind::Config, format!("cannot read '{name}'")).with_source(e)),
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Error::new(Kind::Config, format!("'{name}' is not UTF-8")).with_source(e))?;
        Self::parse(&name, text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let source = Source { name, text };
        let root = DeTable::parse(text).map_err(|e| {
            let what = printable(e.message().lines().next().unwrap_or("not TOML"));
            let error = source.error(&e.span().unwrap_or(0..0), &what);
            error.with_hint("see https://toml.io for how TOML is written")
        })?;
        let mut settings = Self::default();
        for (key, value) in root.get_ref() {
            match key.get_ref().as_ref() {
                "ca_bundle" => settings.roots = source.roots(value)?,
                "resolvers" => settings.resolvers = Some(source.resolvers(value)?),
                other => {
                    let error = source.error(&key.span(), &format!("unknown key '{}'", printable(other)));
                    return Err(error.with_hint(suggest::hint(other, &KEYS)));
                }
            }
        }
        Ok(settings)
    }
}

struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn error(&self, span: &Range<usize>, what: &str) -> Error {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::new(Kind::Config, format!("{}:{line}:{column}: {what}", self.name))
    }

    fn roots(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<CertificateDer<'static>>> {
        let wanted = || {
            self.error(&value.span(), "'ca_bundle' is not an absolute path")
                .with_hint("write a text in quotes, such as \"/etc/ssl/company.pem\"")
        };
        let path = value.get_ref().as_str().map(Path::new).filter(|path| path.is_absolute());
        let path = path.ok_or_else(wanted)?;
        let shown = printable(&path.to_string_lossy());
        let pem = bounded(path, MAX_BUNDLE).map_err(|e| {
            self.error(&value.span(), &format!("cannot read '{shown}'"))
                .with_source(e)
                .with_hint("mend the path, or take 'ca_bundle' out")
        })?;
        let roots: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match roots {
            Ok(roots) if !roots.is_empty() => Ok(roots),
            _ => Err(self
                .error(&value.span(), &format!("'{shown}' is not a file of certificates"))
                .with_hint("name a file in PEM, with BEGIN CERTIFICATE")),
        }
    }

    fn resolvers(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<SocketAddr>> {
        let wanted = |span: &Range<usize>, what: &str| {
            self.error(span, what).with_hint("write addresses in quotes, such as [\"127.0.0.1:5353\"]")
        };
        let list = value.get_ref().as_array();
        let list = list.ok_or_else(|| wanted(&value.span(), "'resolvers' is not a list"))?;
        if list.is_empty() || list.len() > MAX_RESOLVERS {
            return Err(wanted(
                &value.span(),
                &format!("'resolvers' has not 1 to {MAX_RESOLVERS} addresses"),
            ));
        }
        let address = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str().unwrap_or_default();
            let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
            let parsed = text.parse::<SocketAddr>().or_else(|_| alone());
            parsed.map_err(|_| wanted(&item.span(), &format!("'{}' is not an address", printable(text))))
        };
        list.iter().map(address).collect()
    }
}

/// All of a file, or an error for more than `most` bytes.
fn bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
