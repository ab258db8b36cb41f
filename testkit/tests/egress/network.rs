//! A network namespace of the suite's own, with a loopback device that has the addresses of its servers, and one network.
//!
//! Not those of loopback: inside a sandbox they are its own, and only a proxy leads to the host's.

use std::{convert::Infallible, io, os::unix::process::CommandExt as _, process::Command};

/// Set in it.
const MARK: &str = "AGENTKERNEL_EGRESS_NETWORK";

/// 169.254.169.254 is the server of metadata that many clouds have. The server at 10.88.0.N is at 93.184.216.N as well: that
/// is nobody's address here, and public by its number. 93.184.217.0/24 is the network of a device, on which nobody else is.
/// Low ports are for everybody here.
///
/// The first two arguments are who runs the suite. An ordinary user is root of a user namespace until the last line, and
/// has subordinate ids there as outside, which rootless engines want: the longest range of the namespace. The machine's
/// newuidmap belongs to a root who has no id there, so it would run as the user; the namespace's root has copies. The ids
/// are the user's by name: rootlesskit asks by name and by number, and takes a range that answers to both twice.
const SETUP: &str = "set -e
uid=$1 gid=$2; shift 2
if [ $uid != 0 ]; then
  mount -t tmpfs -o mode=755 tmpfs /mnt
  for helper in newuidmap newgidmap; do
    program=$(command -v $helper)
    cp $program /mnt; chmod 4755 /mnt/$helper; mount --bind /mnt/$helper $program
  done
  name=$(getent passwd $uid | cut -d: -f1)
  for kind in uid gid; do
    awk -v user=${name:-$uid} '$3 > most { most = $3; first = $1 }
      END { if (first == 0) { first = 1; most -= 1 }; print user \":\" first \":\" most }' /proc/self/${kind}_map > /mnt/sub$kind
    mount --bind /mnt/sub$kind /etc/sub$kind
  done
  umount --lazy /mnt
fi
ip link set lo up
for block in 10.77.0.1/16 10.88.0.1/16 169.254.169.254/32; do ip address add $block dev lo; done
ip route add 93.184.216.0/24 dev lo
iptables -t nat -A OUTPUT -d 93.184.216.0/24 -j NETMAP --to 10.88.0.0/24
ip link add near type veth peer name nearer
ip address add 93.184.217.1/24 dev near
ip link set near up; ip link set nearer up
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
exec setpriv --reuid=$uid --regid=$gid --keep-groups --inh-caps=-all --ambient-caps=-all -- \"$@\"";

pub(crate) fn is_own() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this program once more, in such a namespace. Comes back only with an error.
///
/// An ordinary user needs a user namespace for it, in which everything belongs to whom it belonged to before.
pub(crate) fn enter() -> io::Result<Infallible> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !user.is_root() {
        command.args(["--mount", "--user", "--map-current-user", "--map-auto", "--setuid=0", "--setgid=0"]);
    }
    command
        .args(["--", "/bin/sh", "-c", SETUP, "sh"])
        .args([user.as_raw(), group.as_raw()].map(|id| id.to_string()));
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(MARK, "1");
    Err(command.exec())
}
