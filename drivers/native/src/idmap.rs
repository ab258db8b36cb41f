//! User namespace maps: who is who inside.
//!
//! As root, inside ids 0 to 65535 are host ids from [`ROOT_BASE`] on: a range that belongs to nobody, so that root
//! inside is never the host's root. As a user, inside root is that user; further ids exist where /etc/subuid and
//! newuidmap(1) provide them.

use agentkernel_model::id::SandboxId;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path, process::Command};

/// First host id of sandboxes that root runs: just above systemd's range for containers (524288 to 1879048191).
pub(crate) const ROOT_BASE: u32 = 1_879_048_192;
pub(crate) const RANGE: u32 = 65_536;
/// As many ranges as there are up to 2^31, which some programs take for a sign.
const RANGES: u32 = 4_096;

/// How ids inside correspond to ids of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IdMap {
    /// Root made the sandbox: inside `n` is host `base + n`.
    Shifted { base: u32 },
    /// A user made it: inside 0 is the user, and nobody else exists.
    Single { uid: u32, gid: u32 },
    /// A user with subordinate ids made it: inside 0 is the user, inside `n` is host `sub + n - 1`.
    Subordinate { uid: u32, gid: u32, sub_uid: u32, sub_gid: u32, count: u32 },
}

/// Whether a sandbox needs more than one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    One,
    Many,
}

impl IdMap {
    /// The map for a sandbox of `uid`; ranges are only taken when needed, since newuidmap costs two processes.
    /// As root, `id` chooses the range: what the kernel counts by user, one sandbox cannot use up for the others.
    pub(crate) fn choose(uid: u32, gid: u32, login: &str, need: Need, id: Option<SandboxId>) -> Self {
        if uid == 0 {
            let slot = id.map_or(0, |id| u32::try_from(id.as_u128() % u128::from(RANGES)).unwrap_or(0));
            let base = ROOT_BASE + slot * RANGE;
            return Self::Shifted { base: if crate::mutation::off("user-map") { 0 } else { base } };
        }
        if need == Need::Many
            && let Some((sub_uid, uids)) = subordinate("/etc/subuid", login, uid)
            && let Some((sub_gid, gids)) = subordinate("/etc/subgid", login, uid)
            && helpers_exist()
        {
            let count = uids.min(gids).min(RANGE - 1);
            return Self::Subordinate { uid, gid, sub_uid, sub_gid, count };
        }
        Self::Single { uid, gid }
    }

    /// Whether inside id `id` exists.
    pub(crate) const fn has(&self, id: u32) -> bool {
        match self {
            Self::Shifted { .. } => id < RANGE,
            Self::Single { .. } => id == 0,
            Self::Subordinate { count, .. } => id <= *count,
        }
    }

    /// Whether an ordinary user made it, so that init opens the host's files with that user's rights.
    pub(crate) const fn is_users(&self) -> bool {
        !matches!(self, Self::Shifted { .. })
    }

    /// The host's ids of a user inside, where files can be given to them from outside: as root. Otherwise init does that.
    pub(crate) fn host_ids(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        match self {
            Self::Shifted { base } if self.has(uid) && self.has(gid) => Some((base + uid, base + gid)),
            _ => None,
        }
    }

    /// Whether inside groups can be set: a map written without privilege gives setgroups(2) up.
    pub(crate) const fn has_groups(&self) -> bool {
        !matches!(self, Self::Single { .. })
    }

    /// Writes the maps of the new user namespace that `pid` is in.
    pub(crate) fn write(&self, pid: Pid) -> io::Result<()> {
        if crate::mutation::off("user-namespace") {
            return Ok(());
        }
        let proc = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
        match self {
            Self::Shifted { base } => {
                fs::write(proc.join("uid_map"), format!("0 {base} {RANGE}\n"))?;
                fs::write(proc.join("gid_map"), format!("0 {base} {RANGE}\n"))
            }
            Self::Single { uid, gid } => {
                fs::write(proc.join("uid_map"), format!("0 {uid} 1\n"))?;
                fs::write(proc.join("setgroups"), "deny")?;
                fs::write(proc.join("gid_map"), format!("0 {gid} 1\n"))
            }
            Self::Subordinate { uid, gid, sub_uid, sub_gid, count } => {
                // Both at once: each is a process of its own, and the sandbox waits for the slower one only.
                let mut first = map_command("newuidmap", pid, *uid, *sub_uid, *count).spawn()?;
                let second = map_command("newgidmap", pid, *gid, *sub_gid, *count).status();
                let first = first.wait()?;
                if first.success() && second?.success() {
                    return Ok(());
                }
                Err(io::Error::other(
                    "newuidmap or newgidmap refused the ranges of /etc/subuid and /etc/subgid",
                ))
            }
        }
    }
}

fn map_command(program: &str, pid: Pid, own: u32, sub: u32, count: u32) -> Command {
    let mut command = Command::new(format!("/usr/bin/{program}"));
    command.arg(pid.as_raw_nonzero().to_string());
    for number in [0, own, 1, 1, sub, count] {
        command.arg(number.to_string());
    }
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null());
    command
}

pub(crate) fn helpers_exist() -> bool {
    Path::new("/usr/bin/newuidmap").exists() && Path::new("/usr/bin/newgidmap").exists()
}

/// The first range of `login` (or of its number) in a file of subuid(5): first id and count.
fn subordinate(file: &str, login: &str, uid: u32) -> Option<(u32, u32)> {
    parse_subordinate(&fs::read_to_string(file).ok()?, login, uid)
}

fn parse_subordinate(text: &str, login: &str, uid: u32) -> Option<(u32, u32)> {
    let number = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|n| !n.is_empty() && (*n == login || *n == number))?;
        let (first, count) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
        let valid = !name.is_empty() && count > 0 && first > 0 && first.checked_add(count).is_some();
        valid.then_some((first, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_valid_range_of_the_login_or_its_number_counts() {
        let text = "# comment\nbob:1:\nalice:100000:65536\n1000:300000:10\n";
        assert_eq!(parse_subordinate(text, "alice", 1001), Some((100_000, 65_536)));
        assert_eq!(parse_subordinate(text, "carol", 1000), Some((300_000, 10)));
        assert_eq!(parse_subordinate(text, "bob", 5), None);
        assert_eq!(parse_subordinate("x:4294967295:2", "x", 5), None, "past the last id");
        assert_eq!(parse_subordinate(":0:10", "", 5), None);
    }

    #[test]
    fn root_is_never_the_hosts_root() {
        let map = IdMap::choose(0, 0, "root", Need::One, None);
        assert_eq!(map, IdMap::Shifted { base: ROOT_BASE });
        assert!(map.has(65_535) && !map.has(65_536));
        for _ in 0..100 {
            let IdMap::Shifted { base } = IdMap::choose(0, 0, "root", Need::One, Some(SandboxId::new()))
            else {
                panic!("not shifted");
            };
            assert!(base >= ROOT_BASE && base + RANGE <= 1 << 31 && (base - ROOT_BASE).is_multiple_of(RANGE));
        }
    }
}
