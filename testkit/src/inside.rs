//! Processes of a sandbox as the machine sees them, and what is in their memory.

use crate::proc;
use std::{
    fs::{self, File},
    io::BufRead as _,
    os::unix::fs::FileExt as _,
};

/// What is read of a memory at once.
const CHUNK: usize = 1 << 20;

/// The processes of this machine in the pid namespace of the one that has `marker` among its arguments.
///
/// # Errors
/// When there is none.
pub fn beside(marker: &str) -> Result<Vec<i32>, String> {
    let all = proc::all().map_err(|e| e.to_string())?;
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(i32::try_from(std::process::id()).unwrap_or(0));
    let marked = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        has(&words, marker.as_bytes()) && namespace(*pid) != own
    };
    let inside = all.iter().find(|pid| marked(pid)).and_then(|pid| namespace(*pid));
    let inside = inside.ok_or_else(|| format!("no process of a sandbox has '{marker}'"))?;
    Ok(all.into_iter().filter(|pid| namespace(*pid).as_ref() == Some(&inside)).collect())
}

/// Whether it is process 1 of its namespace.
#[must_use]
pub fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|ids| ids.split_ascii_whitespace().last()) == Some("1")
}

/// What of what was looked for is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    pub needle: bool,
    pub known: bool,
}

/// Whether one of `needles`, and whether `known`, is in the memory of `pid` that can be written; `None` where it cannot be
/// read.
#[must_use]
pub fn memory(pid: i32, needles: &[Vec<u8>], known: &[u8]) -> Option<Found> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let file = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut found = Found::default();
    let longest = needles.iter().map(Vec::len).chain([known.len()]).max()?;
    let mut buffer = vec![0; CHUNK + longest];
    for (start, end) in maps.lines().filter_map(writable) {
        let mut at = start;
        while at < end {
            let wanted = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            // A region can be gone by now, or have no pages that can be read.
            let Ok(count @ 1..) = file.read_at(&mut buffer[..wanted], at) else { break };
            let bytes = &buffer[..count];
            found.needle |= needles.iter().any(|needle| has(bytes, needle));
            found.known |= has(bytes, known);
            // What lies across the border of two chunks is in the second.
            at += if count > longest { (count - longest) as u64 } else { count as u64 };
            if at + longest as u64 >= end && count == wanted {
                break;
            }
        }
    }
    Some(found)
}

/// A line of maps that can be written, whatever it is of.
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    words.next().filter(|flags| flags.starts_with("rw"))?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

/// Whether `needle` is in `bytes`.
#[must_use]
pub fn has(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((first, others)) = needle.split_first() else { return false };
    let mut rest = bytes;
    // The search of the standard library is fast however this program was built.
    while let Ok(1..) = rest.skip_until(*first) {
        if rest.starts_with(others) {
            return true;
        }
    }
    false
}
