//! The gateway: the value that the engine makes and hands to a driver.

use crate::{
    destination::Destination,
    dns::{forward::Forwarder, pins::Pins, resolvers::Resolvers},
    limits::Limits,
    machine::{self, Networks},
    observer::Observer,
    pump::Budgets,
    reason::Reason,
    ruleset::Ruleset,
    shortage::{self, Shortage},
    uplink,
    web::Web,
};
use agentkernel_backend::{Gateway, Uplink};
use agentkernel_model::{Result, egress::EgressRules};
use agentkernel_trust::Bound;
use rustls::pki_types::CertificateDer;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Instant,
};
use tokio::{sync::watch, task::JoinSet};

/// Forwards TCP connections that its rules let through, and answers DNS through the resolvers of the host. Its tasks end
/// with their uplink, and all of them with the gateway.
pub struct HostGateway {
    shared: Arc<Shared>,
    uplinks: Mutex<JoinSet<()>>,
}

/// What every task of a gateway needs.
pub(crate) struct Shared {
    rules: RwLock<Arc<Ruleset>>,
    own_addresses: Vec<IpAddr>,
    /// Asks the kernel, see [`machine::is_own`].
    is_own: fn(IpAddr) -> io::Result<bool>,
    networks: Networks,
    pub(crate) forwarder: Forwarder,
    pub(crate) pins: Pins,
    pub(crate) web: Web,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    shortages: shortage::Told,
    pub(crate) limits: Limits,
    pub(crate) budgets: Budgets,
    /// Becomes true when nothing more is taken.
    pub(crate) finishing: watch::Sender<bool>,
}

impl Shared {
    /// The rules of this moment.
    pub(crate) fn rules(&self) -> Arc<Ruleset> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `address` as rules see it, with what the kernel says at this moment: the machine may have got it later.
    pub(crate) fn destination(&self, address: SocketAddr) -> Destination {
        // Asked first: with nothing left to ask by there is nothing to connect by either.
        self.located(address).unwrap_or_else(|e| {
            self.check(&e);
            Destination { reason: Some(Reason::Short), ..Destination::of(address, |_| true) }
        })
    }

    fn located(&self, address: SocketAddr) -> io::Result<Destination> {
        let is_own = (self.is_own)(address.ip().to_canonical())?;
        let to = Destination::of(address, |ip| is_own || self.own_addresses.contains(&ip));
        Ok(if to.is_public() && self.networks.hold(address.ip())? { to.nearby() } else { to })
    }

    /// Tells that there is none left of something.
    pub(crate) fn lack(&self, shortage: Shortage) {
        if let Some(observer) = &self.observer
            && self.shortages.is_news(shortage, Instant::now())
        {
            observer.shortage(shortage);
        }
    }

    /// Tells it where that is what `error` is about.
    pub(crate) fn check(&self, error: &io::Error) {
        if let Some(shortage) = Shortage::of(error) {
            self.lack(shortage);
        }
    }
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct Setup {
    pub rules: EgressRules,
    /// What is sent to which host. Beside the rules, their hosts are let through.
    pub secrets: Vec<Bound>,
    pub resolvers: Resolvers,
    /// Those of this machine, which are [`Group::Host`](agentkernel_model::egress::Group::Host).
    pub own_addresses: Vec<IpAddr>,
    /// Whom the gateway believes where it opens TLS, beside what this machine believes.
    pub roots: Vec<CertificateDer<'static>>,
    pub observer: Option<Arc<dyn Observer>>,
}

impl Setup {
    /// For this machine: its addresses are asked of the kernel, `resolv_conf` is the text of its `/etc/resolv.conf`.
    /// Without secrets, and nobody observes.
    ///
    /// # Errors
    /// When the addresses of this machine cannot be listed.
    pub fn of_host(rules: EgressRules, resolv_conf: &str) -> Result<Self> {
        let resolvers = Resolvers::parse(resolv_conf, machine::interface_index);
        let own_addresses = machine::own_addresses()?;
        Ok(Self { rules, secrets: Vec::new(), resolvers, own_addresses, roots: Vec::new(), observer: None })
    }
}

impl HostGateway {
    /// Makes no key yet: what is cloned from this process before [`HostGateway::authority`] is asked has none.
    ///
    /// # Errors
    /// When what verifies certificates cannot be made.
    pub fn new(setup: Setup, limits: Limits) -> Result<Arc<Self>> {
        let own_addresses = setup.own_addresses.into_iter().map(|ip| ip.to_canonical()).collect();
        let rules = Ruleset::new(setup.rules, setup.secrets);
        let web = Web::new(setup.roots)?;
        let shared = Shared {
            rules: RwLock::new(Arc::new(rules)),
            own_addresses,
            is_own: machine::is_own,
            networks: Networks::default(),
            forwarder: Forwarder::new(setup.resolvers, machine::has_ipv6_road),
            pins: Pins::default(),
            web,
            observer: setup.observer,
            shortages: shortage::Told::default(),
            limits,
            budgets: Budgets::new(),
            finishing: watch::Sender::new(false),
        };
        Ok(Arc::new(Self { shared: Arc::new(shared), uplinks: Mutex::default() }))
    }

    /// Other rules from now on, for connections that begin from now on, and for requests on those that are open.
    pub fn set_rules(&self, rules: EgressRules) {
        let mut current = self.shared.rules.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(current.with_rules(rules));
    }

    /// What is sent to which host from now on, beside the same rules. For secrets that must not be in this process before
    /// the sandbox is there.
    pub fn bind_secrets(&self, secrets: Vec<Bound>) {
        let mut current = self.shared.rules.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(current.with_secrets(secrets));
    }

    /// The certificate that the sandbox must believe, as PEM, made when it is asked for first, where TLS of some host is opened: for its secrets or for
    /// rules about requests. `None` where none is.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn authority(&self) -> Result<Option<&str>> {
        if self.shared.rules().opens_tls() { self.shared.web.authority().map(Some) } else { Ok(None) }
    }

    /// Takes no more traffic, lets open connections deliver what they hold ([`Limits::drain`] at most), and resolves when
    /// every task is gone. For a caller whose sandbox has ended: without it the last bytes of a command that wrote and
    /// ended can be lost. An uplink that is served afterwards ends at once. Cancelling it ends the connections.
    pub async fn finish(&self) {
        self.shared.finishing.send_replace(true);
        let mut uplinks = std::mem::take(&mut *self.uplinks());
        while uplinks.join_next().await.is_some() {}
        if let Some(observer) = &self.shared.observer {
            observer.finished();
        }
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn uplinks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        // Nothing panics while it is held, and a set of tasks is whole at any moment.
        self.uplinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway for HostGateway {
    /// Must be called within a tokio runtime, as everything of the seam.
    fn serve(&self, uplink: Box<dyn Uplink>) {
        let mut uplinks = self.uplinks();
        while uplinks.try_join_next().is_some() {}
        uplinks.spawn(uplink::serve(Arc::clone(&self.shared), Arc::from(uplink)));
    }
}

impl fmt::Debug for HostGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostGateway")
            .field("rules", &self.shared.rules())
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}
