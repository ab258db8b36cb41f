//! Switches that take one defence away, so that the escape suite can prove that each attempt is stopped by its own
//! defence. Compiled in by the feature `mutations` only: in a release both functions are constant `false`.

/// Whether the defence `name` is taken away.
#[cfg(feature = "mutations")]
pub fn off(name: &str) -> bool {
    std::env::var_os("AGENTKERNEL_MUTATION").is_some_and(|chosen| chosen == name)
}

/// Whether the filter lets the call `name` through, as the mutation `seccomp:NAME`.
#[cfg(feature = "mutations")]
pub fn off_call(name: &str) -> bool {
    std::env::var("AGENTKERNEL_MUTATION").is_ok_and(|chosen| chosen.strip_prefix("seccomp:") == Some(name))
}

#[cfg(not(feature = "mutations"))]
pub const fn off(_name: &str) -> bool {
    false
}

#[cfg(not(feature = "mutations"))]
pub const fn off_call(_name: &str) -> bool {
    false
}
