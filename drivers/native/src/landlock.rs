//! Landlock (landlock(7)) as a second wall behind the mounts: writes below named paths only, and no signal or abstract
//! socket to anything outside, should a mount or a namespace ever be wrong.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};

/// What a kernel without Landlock, or with an older one, does not support is left out: the mounts hold without it.
pub(crate) fn enforce(writable: &[String]) -> Result<(), landlock::RulesetError> {
    let abi = ABI::V6;
    let all = AccessFs::from_all(abi);
    let read: BitFlags<AccessFs> = AccessFs::from_read(abi);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?;
    let mut ruleset = ruleset.scope(Scope::from_all(abi))?.create()?;
    if let Ok(root) = PathFd::new("/") {
        ruleset = ruleset.add_rule(PathBeneath::new(root, read))?;
    }
    // Devices such as /dev/null are written and, for terminals, controlled on a read-only /dev.
    for path in writable.iter().map(String::as_str).chain(["/dev", "/proc"]) {
        if let Ok(fd) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, all))?;
        }
    }
    ruleset.no_new_privs(false).restrict_self()?;
    Ok(())
}
