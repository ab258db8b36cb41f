//! A network namespace of the suite's own, with nothing but a loopback device that has the addresses of its servers.
//!
//! Not those of loopback: inside a sandbox they are its own, and only a proxy leads to the host's.

use std::{convert::Infallible, io, os::unix::process::CommandExt as _, process::Command};

/// Set in it.
const MARK: &str = "AGENTKERNEL_EGRESS_NETWORK";

/// 169.254.169.254 is the server of metadata that many clouds have. The server at 10.88.0.N is at 93.184.216.N as well: that
/// is nobody's address here, and public by its number. Low ports are for everybody here. The user namespace of a user's
/// network has one id: a range of subordinate ones could not be mapped from it, so there is none here.
const SETUP: &str = "set -e
if [ $(id -u) != 0 ]; then
  for file in /etc/subuid /etc/subgid; do [ ! -e $file ] || mount --bind /dev/null $file; done
fi
ip link set lo up
for block in 10.77.0.1/16 10.88.0.1/16 169.254.169.254/32; do ip address add $block dev lo; done
ip route add 93.184.216.0/24 dev lo
iptables -t nat -A OUTPUT -d 93.184.216.0/24 -j NETMAP --to 10.88.0.0/24
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
exec setpriv --inh-caps=-all --ambient-caps=-all -- \"$@\"";

pub(crate) fn is_own() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this program once more, in such a namespace. Comes back only with an error.
///
/// An ordinary user needs a user namespace for it, in which everything belongs to whom it belonged to before.
pub(crate) fn enter() -> io::Result<Infallible> {
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.args(["--mount", "--user", "--map-current-user", "--keep-caps"]);
    }
    command.args(["--", "/bin/sh", "-c", SETUP, "sh"]).arg(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(MARK, "1");
    Err(command.exec())
}
