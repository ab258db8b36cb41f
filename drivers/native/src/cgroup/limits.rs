//! What each limit is in the files of a control group.

use super::Version;
use agentkernel_model::limits::Limits;
use std::{fs, io, path::Path};

/// File and value of each limit of one controller.
pub(super) fn settings(kind: Version, controller: &str, limits: &Limits) -> Vec<(&'static str, String)> {
    const PERIOD_MICROS: u64 = 100_000;
    let mut settings = Vec::new();
    match (controller, kind) {
        ("memory", Version::V1) => {
            if let Some(limit) = limits.memory.filter(|_| !crate::mutation::off("memory-limit")) {
                settings.push(("memory.limit_in_bytes", limit.value().bytes().to_string()));
            }
        }
        ("memory", Version::V2 | Version::Scope) => {
            if let Some(limit) = limits.memory.filter(|_| !crate::mutation::off("memory-limit")) {
                settings.push(("memory.max", limit.value().bytes().to_string()));
                settings.push(("memory.swap.max", "0".to_owned()));
            }
        }
        ("cpu", _) => {
            if let Some(limit) = limits.cpus {
                let quota = u64::from(limit.value().milli()) * PERIOD_MICROS / 1000;
                match kind {
                    Version::V1 => settings.push(("cpu.cfs_quota_us", quota.max(1000).to_string())),
                    Version::V2 | Version::Scope => {
                        settings.push(("cpu.max", format!("{} {PERIOD_MICROS}", quota.max(1000))))
                    }
                }
            }
        }
        ("pids", _) => {
            // Init is one more than what was asked for.
            if let Some(limit) = limits.pids.filter(|_| !crate::mutation::off("pids-limit")) {
                settings.push(("pids.max", limit.value().saturating_add(1).to_string()));
            }
        }
        _ => {}
    }
    settings
}

/// Whether `file` of a v2 group limits to `wanted` or less: the kernel rounds to whole pages, and systemd chooses other
/// periods.
pub(super) fn holds(dir: &Path, file: &str, wanted: &str) -> bool {
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<u64>().ok());
    let pair = |text: &str| {
        let mut words = text.split_whitespace();
        Some((number(words.next())?, number(words.next()).unwrap_or(1)))
    };
    match fs::read_to_string(dir.join(file)) {
        Ok(text) => match (pair(&text), pair(wanted)) {
            (Some((value, period)), Some((most, per))) => {
                u128::from(value) * u128::from(per) <= u128::from(most) * u128::from(period)
            }
            _ => false,
        },
        // A kernel without swap needs no limit of it.
        Err(e) => file == "memory.swap.max" && e.kind() == io::ErrorKind::NotFound,
    }
}
