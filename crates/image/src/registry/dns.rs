//! Names of registries to addresses, by the servers of /etc/resolv.conf and by /etc/hosts.
//!
//! Not by the C library's own resolver: that blocks a thread which nothing can end, so that neither a short timeout could
//! be kept nor all threads be joined before the caller forks.

use super::bounds::{Bounds, Refused};
use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

/// Made at the first name: most pulls of a test or from this machine need none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    servers: Arc<OnceLock<Result<TokioResolver, String>>>,
    bounds: Bounds,
}

impl Resolver {
    /// Of which nobody hears an address that is out of bounds: connections go to what it says, and nowhere else.
    pub(crate) fn within(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// # Errors
    /// [`Refused`] where none of them may be talked to.
    fn admitted(&self, name: &str, addresses: Vec<SocketAddr>) -> Result<Addrs, Refused> {
        let mut admitted = Vec::new();
        let mut refused = None;
        for address in addresses {
            match self.bounds.admit(name, address.ip()) {
                Ok(()) => admitted.push(address),
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if admitted.is_empty() => Err(why),
            _ => Ok(Box::new(admitted.into_iter())),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            // It is a promise of ours that plain http goes nowhere else, so no name server has a say.
            if name.as_str() == "localhost" {
                let own = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (Ipv6Addr::LOCALHOST, 0).into()];
                return Ok(this.admitted(name.as_str(), own.to_vec())?);
            }
            let resolver =
                this.servers.get_or_init(open).as_ref().map_err(|e| io::Error::other(e.clone()))?;
            let found = resolver.lookup_ip(name.as_str()).await.map_err(|e| {
                let nowhere = format!("no name server has an address for '{}'", name.as_str());
                if e.is_no_records_found() { io::Error::other(nowhere) } else { io::Error::other(e) }
            })?;
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(this.admitted(name.as_str(), addresses)?)
        })
    }
}

fn open() -> Result<TokioResolver, String> {
    let fail = |e: &dyn std::fmt::Display| format!("no name server: {e}");
    let mut builder = TokioResolver::builder_tokio().map_err(|e| fail(&e))?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|e| fail(&e))
}
