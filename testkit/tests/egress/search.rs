//! Looks for a value where it must not be: in the memory, the environment and the arguments of everything that runs in a
//! sandbox, and in its files.

use super::world::Guest;
use crate::bench::expect;
use agentkernel_testkit::inside::{beside, has, is_first, memory};
use std::fs;

/// Fails when `value`, in clear or in base64, is anywhere in the commands of the sandbox that runs `marker`: an argument of a process of it
/// that runs now. `known` must be in its memory, else the search itself is blind.
pub(crate) fn nowhere(marker: &str, value: &str, known: &str) -> Result<(), String> {
    let needles = [value.as_bytes().to_vec(), base64(value.as_bytes())];
    let mut sees = false;
    let mut searched = 0;
    let others: Vec<i32> = beside(marker)?.into_iter().filter(|pid| !is_first(*pid)).collect();
    for (pid, file) in others.iter().flat_map(|pid| ["environ", "cmdline"].map(|file| (pid, file))) {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        expect(!needles.iter().any(|n| has(&bytes, n)), || format!("{file} of {pid} has the value"))?;
    }
    for pid in others {
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

/// The same from inside: what root of the sandbox can read.
pub(crate) fn nowhere_inside(guest: &Guest<'_>, value: &str) -> Result<(), String> {
    // The pattern does not match itself, which is in the environment and in the memory of the search.
    let (first, rest) = value.split_at(1);
    let script = format!(
        "grep --version | grep -q GNU || exit 3
        grep -la '[{first}]{rest}' /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null
        grep -rla --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr --exclude-dir=dev '[{first}]{rest}' \
          /etc /home /root /run /tmp /var /workspace /opt /srv 2>/dev/null
        env | grep -a '[{first}]{rest}'; echo end"
    );
    let said = guest.says(&script)?;
    expect(said == "end\n", || format!("the value is inside: {said}"))
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
