//! The gateway of public addresses: the value that the engine makes and hands to a driver.

use crate::{
    dns::{forward::Forwarder, resolvers::Resolvers},
    limits::Limits,
    machine,
    observer::Observer,
    policy::{Decision, Policy, Reason},
    uplink,
};
use agentkernel_backend::{Gateway, Uplink};
use agentkernel_model::{Result, egress::EgressRules};
use agentkernel_trust::Bound;
use rustls::pki_types::CertificateDer;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::watch, task::JoinSet};

/// Forwards TCP connections to addresses that its [`Policy`] allows, and answers DNS through the resolvers of the
/// host. Its tasks end with their uplink, and all of them with the gateway.
pub struct HostGateway {
    shared: Arc<Shared>,
    uplinks: Mutex<JoinSet<()>>,
}

/// What every task of a gateway needs.
pub(crate) struct Shared {
    policy: Policy,
    /// Asks the kernel, see [`machine::is_own`].
    is_own: fn(IpAddr) -> bool,
    pub(crate) forwarder: Forwarder,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) limits: Limits,
    /// Becomes true when nothing more is taken.
    pub(crate) finishing: watch::Sender<bool>,
}

impl Shared {
    /// The policy's decision, and for a policy of public addresses what the kernel says at this moment.
    pub(crate) fn check(&self, target: SocketAddr) -> Result<(), Reason> {
        if let Decision::Refuse(reason) = self.policy.decide(target) {
            return Err(reason);
        }
        if self.policy.keeps_off_this_machine() && (self.is_own)(target.ip()) {
            return Err(Reason::ThisMachine);
        }
        Ok(())
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
    /// # Errors
    /// When no key can be made for the authority that sandboxes are told to believe.
    pub fn new(setup: Setup, limits: Limits) -> Result<Arc<Self>> {
        let Setup { rules: _, secrets: _, resolvers, own_addresses, roots: _, observer } = setup;
        Ok(Self::with_policy(Policy::public(own_addresses), resolvers, limits, observer))
    }

    /// Other rules from now on, for what begins from now on.
    pub fn set_rules(&self, rules: EgressRules) {
        let _ = rules;
    }

    /// The certificate that the sandbox must believe, as PEM, where TLS of some host is opened: for its secrets or for
    /// rules about requests. `None` where none is.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        None
    }

    /// A gateway with another policy or other limits.
    #[must_use]
    pub fn with_policy(
        policy: Policy,
        resolvers: Resolvers,
        limits: Limits,
        observer: Option<Arc<dyn Observer>>,
    ) -> Arc<Self> {
        let forwarder = Forwarder::new(resolvers, machine::has_ipv6_road);
        let finishing = watch::Sender::new(false);
        let shared = Shared { policy, is_own: machine::is_own, forwarder, observer, limits, finishing };
        Arc::new(Self { shared: Arc::new(shared), uplinks: Mutex::default() })
    }

    /// Takes no more traffic, lets open connections deliver what they hold ([`Limits::drain`] at most), and resolves when
    /// every task is gone. For a caller whose sandbox has ended: without it the last bytes of a command that wrote and
    /// ended can be lost. An uplink that is served afterwards ends at once. Cancelling it ends the connections.
    pub async fn finish(&self) {
        self.shared.finishing.send_replace(true);
        let mut uplinks = std::mem::take(&mut *self.uplinks());
        while uplinks.join_next().await.is_some() {}
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
            .field("policy", &self.shared.policy)
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(policy: Policy, is_own: fn(IpAddr) -> bool) -> Shared {
        let forwarder = Forwarder::new(Resolvers::new(Vec::new()), || true);
        let finishing = watch::Sender::new(false);
        Shared { policy, is_own, forwarder, observer: None, limits: Limits::of_process(), finishing }
    }

    #[test]
    fn an_address_that_the_machine_got_later_is_refused_too() {
        let target: SocketAddr = "93.184.215.14:80".parse().unwrap();
        assert_eq!(shared(Policy::public(Vec::new()), |_| true).check(target), Err(Reason::ThisMachine));
        assert_eq!(shared(Policy::public(Vec::new()), |_| false).check(target), Ok(()));
        let listed = Policy::allowing(vec!["93.184.215.0/24".parse().unwrap()]);
        assert_eq!(shared(listed, |_| true).check(target), Ok(()), "who lists an address means it");
    }
}
