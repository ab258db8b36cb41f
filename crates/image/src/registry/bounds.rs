//! Whom a pull may talk to when its image was named by somebody who is not the owner of this machine: public addresses, and
//! what the owner wrote into `registries.toml`.

use super::failure::Peer;
use crate::{
    proxies::Way,
    pull::{NamedBy, PublicOnly},
    registries::Registries,
};
use agentkernel_model::{Error, Kind};
use reqwest::Url;
use std::{fmt, net::IpAddr, sync::Arc};

/// No bounds, or those of strangers. Names are judged by what they lead to, and the connection goes there.
/// A proxy looks names up itself, where they may lead elsewhere: through one, strangers reach only what the owner wrote down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    only: PublicOnly,
    /// Host and port.
    owners: Vec<(String, u16)>,
    /// The name of the proxy, which is connected to wherever it is, and is no registry.
    proxy: Option<String>,
}

impl Bounds {
    /// What is public according to `only`, and places of `registries`.
    pub(crate) fn public(only: PublicOnly, registries: &Registries) -> Self {
        let owners = registries.places().filter_map(|origin| {
            let url = origin.at("/");
            Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
        });
        Self(Some(Arc::new(Inner { only, owners: owners.collect(), proxy: None })))
    }

    /// The same, with `way` between.
    pub(crate) fn behind(mut self, way: Option<&Way>) -> Self {
        if let Some(inner) = self.0.as_mut().and_then(Arc::get_mut) {
            inner.proxy = way.and_then(Way::host);
        }
        self
    }

    /// Judges all of `url`, which is asked for through `way` where that leads to it, but what a name in it leads to.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn judge(&self, url: &Url, way: Option<&Way>) -> Result<(), Refused> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let refused = Err(Refused(inner.only.named_by));
        let host = url.host_str().unwrap_or_default();
        let named: Vec<u16> =
            inner.owners.iter().filter(|(owners, _)| owners == host).map(|(_, port)| *port).collect();
        if url.port_or_known_default().is_some_and(|port| named.contains(&port)) {
            return Ok(());
        }
        // The look-up of a name knows no port: a place of the owner's is that place, and no other port of it.
        if !named.is_empty() || inner.proxy.as_deref() == Some(host) {
            return refused;
        }
        if way.is_some_and(|way| way.to(url).is_some()) {
            return refused;
        }
        // This machine by definition (RFC 6761), and dialled without a look-up.
        if host == "localhost" || host.ends_with(".localhost") {
            return refused;
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) if !(inner.only.is_public)(address) => refused,
            _ => Ok(()),
        }
    }

    /// Judges that `name` leads to `address`.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn admit(&self, name: &str, address: IpAddr) -> Result<(), Refused> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let is_named =
            inner.proxy.as_deref() == Some(name) || inner.owners.iter().any(|(owners, _)| owners == name);
        if is_named || (inner.only.is_public)(address) { Ok(()) } else { Err(Refused(inner.only.named_by)) }
    }
}

/// It is at no public address, or nobody here can tell. Whoever named it is told what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(NamedBy);

impl Refused {
    pub(crate) fn told(self, peer: Peer<'_>) -> Error {
        Error::new(Kind::Denied, format!("{peer} {self}")).with_hint(match self.0 {
            NamedBy::Caller => {
                "the owner of this server lists it in registries.toml, or starts the server with --allow-private-network"
            }
            NamedBy::FoundFile => {
                "agentkernel images pull IMAGE, or name it with --image; for all that the file names: agentkernel trust, \
                 or list the registry in registries.toml"
            }
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.0 {
            NamedBy::Caller => "callers do",
            NamedBy::FoundFile => "a configuration that was only found does",
        };
        write!(f, "is, or may lead to, this machine or its network, where {who} not have images pulled from")
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxies::Proxies;

    fn bounds() -> Bounds {
        let text = "[\"docker.io\"]\nmirrors = [\"http://127.0.0.1:5000\"]\n[\"registry.corp:5001\"]\n";
        let registries = Registries::parse("registries.toml", text).unwrap();
        let is_public = |address: IpAddr| address.to_string().starts_with('8');
        Bounds::public(PublicOnly { is_public, named_by: NamedBy::Caller }, &registries)
    }

    fn judged(url: &str) -> bool {
        bounds().judge(&url.parse().unwrap(), None).is_ok()
    }

    #[test]
    fn addresses_are_judged_however_they_are_written() {
        for public in ["https://8.8.8.8/", "https://name.example/", "http://127.0.0.1:5000/v2/"] {
            assert!(judged(public), "{public}");
        }
        for private in [
            "https://127.0.0.1/",
            "http://127.0.0.1:5001/",
            "http://2130706433:22/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://10.0.0.1/",
            "http://localhost:5000/",
            "https://LOCALHOST/",
            "https://a.localhost/",
            "https://registry.corp/",
        ] {
            assert!(!judged(private), "{private}");
        }
        assert!(judged("https://registry.corp:5001/v2/"));
    }

    #[test]
    fn names_are_judged_by_what_they_lead_to() {
        let lead = |name: &str, address: &str| bounds().admit(name, address.parse().unwrap()).is_ok();
        assert!(lead("name.example", "8.8.8.8"));
        assert!(!lead("name.example", "10.0.0.1") && !lead("localhost", "127.0.0.1"));
        assert!(lead("registry.corp", "10.0.0.1"));
        assert!(Bounds::default().admit("localhost", "127.0.0.1".parse().unwrap()).is_ok());
    }

    #[test]
    fn through_a_proxy_only_the_owners_places_are_reached() {
        let proxies = Proxies::new("HTTPS_PROXY", "http://proxy.corp:3128".to_owned(), "direct.example");
        let way = proxies.way().unwrap().unwrap();
        let bounds = bounds().behind(Some(&way));
        let judged = |url: &str| bounds.judge(&url.parse().unwrap(), Some(&way)).is_ok();
        assert!(judged("https://registry.corp:5001/v2/") && judged("https://direct.example/"));
        assert!(!judged("https://name.example/") && !judged("https://8.8.8.8/"));
        // The proxy itself is connected to, and asked for nothing.
        assert!(bounds.admit("proxy.corp", "10.0.0.1".parse().unwrap()).is_ok());
        assert!(!judged("https://proxy.corp/") && !judged("https://proxy.corp:3128/"));
    }
}
