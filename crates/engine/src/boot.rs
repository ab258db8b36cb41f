//! Which boot of the machine this is, and who this process is.

/// The kernel's id of this boot; `None` where the kernel has none.
pub(crate) fn id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// This process, for people who read a record.
pub(crate) fn this_process() -> String {
    format!("process {}", std::process::id())
}
