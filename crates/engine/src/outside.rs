//! The gateway of a sandbox that may reach the network.

mod settings;

use crate::{engine::Engine, values::Values};
use agentkernel_backend::Gateway;
use agentkernel_egress::{HostGateway, Limits, Observer, Resolvers, Setup};
use agentkernel_model::{Error, Result, policy::EffectivePolicy};
use settings::Settings;
use std::{fs, io, path::PathBuf, sync::Arc};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The gateway for `policy`, which sends no secret yet; `None` where there is nothing to decide. `observer` is told what
/// goes through it. Must be called within the runtime.
///
/// # Errors
/// When this user's settings of the gateway cannot be read.
pub(crate) fn gateway(
    engine: &Engine,
    policy: &EffectivePolicy,
    observer: impl FnOnce() -> Option<Arc<dyn Observer>>,
) -> Result<Option<Arc<HostGateway>>> {
    let Some(rules) = policy.rules() else { return Ok(None) };
    let settings = Settings::read(engine.gateway_file.as_deref())?;
    let resolv_conf = if settings.resolvers.is_some() { String::new() } else { resolv_conf()? };
    let mut setup = Setup::of_host(rules.clone(), &resolv_conf)?;
    if let Some(resolvers) = settings.resolvers {
        setup.resolvers = Resolvers::new(resolvers);
    }
    setup.roots = settings.roots;
    setup.observer = observer();
    HostGateway::new(setup, Limits::of_process()).map(Some)
}

/// Has `gateway` send `values`, and gives the certificate that the sandbox must believe, as PEM, where it must believe one.
///
/// # Errors
/// When no key can be made.
pub(crate) fn bind<'a>(gateway: Option<&'a Arc<HostGateway>>, values: &Values) -> Result<Option<&'a str>> {
    let Some(gateway) = gateway else { return Ok(None) };
    if !values.bound.is_empty() {
        gateway.bind_secrets(values.bound.clone());
    }
    gateway.authority()
}

fn resolv_conf() -> Result<String> {
    match fs::read_to_string(RESOLV_CONF) {
        Ok(text) => Ok(text),
        // resolv.conf(5): without the file, the name server is this machine's.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::io(format!("cannot read '{RESOLV_CONF}'"), e)),
    }
}

/// The files that decide about every gateway: a sandbox whose gateway was made with other ones is another sandbox.
pub(crate) fn files(engine: &Engine) -> Vec<PathBuf> {
    [PathBuf::from(RESOLV_CONF)].into_iter().chain(engine.gateway_file.clone()).collect()
}

/// As the seam wants it.
pub(crate) fn of_seam(gateway: Option<&Arc<HostGateway>>) -> Option<Arc<dyn Gateway>> {
    gateway.map(|g| Arc::clone(g) as Arc<dyn Gateway>)
}
