//! Looks for a value where it must not be: in the memory, the environment and the arguments of everything that runs in a
//! sandbox, and in its files.

use super::world::Guest;
use crate::bench::expect;
use agentkernel_testkit::proc;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
};

/// What is read of a memory at once.
const CHUNK: usize = 1 << 20;

/// Fails when `value`, in clear or in base64, is anywhere in the commands of the sandbox that runs `marker`: an argument of a process of it
/// that runs now. `known` must be in its memory, else the search itself is blind.
pub(crate) fn nowhere(marker: &str, value: &str, known: &str) -> Result<(), String> {
    let needles = [value.as_bytes().to_vec(), base64(value.as_bytes())];
    let mut sees = false;
    let mut searched = 0;
    for pid in beside(marker)?.into_iter().filter(|pid| !is_first(*pid)) {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            expect(!needles.iter().any(|n| has(&bytes, n)), || format!("{file} of {pid} has the value"))?;
        }
        let Some(found) = memory(pid, &needles, known.as_bytes()) else { continue };
        searched += 1;
        sees |= found.known;
        expect(!found.needle, || format!("the memory of {pid} has the value"))?;
    }
    expect(searched > 0 && sees, || format!("the search is blind: {searched} processes, {sees}"))
}

/// The same of process 1 of that sandbox, which is our own program and which nobody inside can look into.
pub(crate) fn not_in_first(marker: &str, value: &str) -> Result<(), String> {
    let first = beside(marker)?.into_iter().find(|pid| is_first(*pid)).ok_or("there is no process 1")?;
    // The name of the sandbox is in its memory wherever anything is.
    let found = memory(first, &[value.as_bytes().to_vec()], b"agentkernel");
    let found = found.ok_or("the memory of process 1 cannot be read")?;
    expect(found.known, || "the search is blind".to_owned())?;
    expect(!found.needle, || format!("process 1 ({first}) has the value in its memory"))
}

/// Whether it is process 1 of its namespace.
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|ids| ids.split_ascii_whitespace().last()) == Some("1")
}

/// The same from inside: what root of the sandbox can read.
pub(crate) fn nowhere_inside(guest: &Guest<'_>, value: &str) -> Result<(), String> {
    // The pattern does not match itself, which is in the environment and in the memory of the search.
    let (first, rest) = value.split_at(1);
    let script = format!(
        "grep -la '[{first}]{rest}' /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null
        grep -rla --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr --exclude-dir=dev '[{first}]{rest}' \
          /etc /home /root /run /tmp /var /workspace /opt /srv 2>/dev/null
        env | grep -a '[{first}]{rest}'; echo end"
    );
    let said = guest.says(&script)?;
    expect(said == "end\n", || format!("the value is inside: {said}"))
}

/// The processes of this machine in the pid namespace of the one that has `marker` among its arguments.
fn beside(marker: &str) -> Result<Vec<i32>, String> {
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

#[derive(Debug, Default)]
struct Found {
    needle: bool,
    known: bool,
}

/// `None` for a process whose memory cannot be read.
fn memory(pid: i32, needles: &[Vec<u8>], known: &[u8]) -> Option<Found> {
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

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    // Most bytes are zero: looking for the first byte is much faster than comparing windows.
    let Some((first, _)) = needle.split_first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    // Whole groups only: how the rest is written depends on what follows.
    for group in bytes.chunks_exact(3) {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        out.extend([18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize]));
    }
    out
}
