//! Landlock (landlock(7)) as a second wall behind the mounts: writes below named paths only, no program from outside the
//! root, and no signal or abstract socket to anything outside, should a mount or a namespace ever be wrong.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

/// Whether the wall stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wall {
    /// With whatever of it this kernel knows.
    Standing,
    /// This kernel has no Landlock.
    Absent,
}

/// Puts the calling thread behind the wall. `None` when it should have been possible and was not.
pub(crate) fn enforce(writable: &[String]) -> Option<Wall> {
    let abi = ABI::V6;
    let all = AccessFs::from_all(abi);
    let read: BitFlags<AccessFs> = AccessFs::from_read(abi);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all).ok()?;
    let mut ruleset = ruleset.scope(Scope::from_all(abi)).ok()?.create().ok()?;
    if let Ok(root) = PathFd::new("/") {
        ruleset = ruleset.add_rule(PathBeneath::new(root, read)).ok()?;
    }
    // Devices such as /dev/null are written and, for terminals, controlled on a read-only /dev.
    for path in writable.iter().map(String::as_str).chain(["/dev", "/proc"]) {
        if let Ok(fd) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, all)).ok()?;
        }
    }
    let status = ruleset.no_new_privs(false).restrict_self().ok()?;
    Some(if status.ruleset == RulesetStatus::NotEnforced { Wall::Absent } else { Wall::Standing })
}
