//! The gateway of a sandbox that may reach the network.

use agentkernel_backend::Gateway;
use agentkernel_egress::{HostGateway, Limits, Setup};
use agentkernel_model::{Error, Result, policy::Network};
use std::{fs, io, sync::Arc};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The gateway for `network`; `None` where there is nothing to decide. Must be called within the runtime.
pub(crate) fn gateway(network: &Network) -> Result<Option<Arc<HostGateway>>> {
    let Network::Rules(rules) = network else { return Ok(None) };
    let text = match fs::read_to_string(RESOLV_CONF) {
        Ok(text) => text,
        // resolv.conf(5): without the file, the name server is this machine's.
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io(format!("cannot read '{RESOLV_CONF}'"), e)),
    };
    HostGateway::new(Setup::of_host(rules.clone(), &text)?, Limits::of_process()).map(Some)
}

/// As the seam wants it.
pub(crate) fn of_seam(gateway: Option<&Arc<HostGateway>>) -> Option<Arc<dyn Gateway>> {
    gateway.map(|g| Arc::clone(g) as Arc<dyn Gateway>)
}
