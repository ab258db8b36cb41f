//! Renders the system call policy of `model` to classic BPF (seccomp(2)).
//!
//! The filter first looks at the architecture: a call of another one (i386's `int 0x80` among them) ends the process.
//! Then a binary search over ranges of equal verdict decides by number, so that every call costs about eight
//! instructions, and the kernel caches the ones that are always allowed.

use crate::{sys::Instruction, walls::HostFiles};
use agentkernel_model::seccomp::{
    ABSENT, ArgTest, CONDITIONAL, Conditional, DENIED, Refusal, SET_ID_CONDITIONAL, SeccompLevel,
};
use std::collections::BTreeMap;
use syscalls::Sysno;

const RET_ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const RET_KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Offsets into `struct seccomp_data`. Arguments are 64 bits wide; the low half comes first on little-endian machines,
/// which is all that this project builds for.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// Numbers from here on are x32 calls on x86_64, and nothing on other machines.
const X32_BIT: u32 = 0x4000_0000;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Refuse(Refusal),
    Ask(&'static Conditional),
}

/// The filter of `level` for this machine.
pub(crate) fn compile(level: SeccompLevel, files: HostFiles) -> Vec<Instruction> {
    let foreign = if crate::mutation::off("seccomp-architecture") { RET_ALLOW } else { RET_KILL };
    let mut program = vec![load(OFFSET_ARCH), jump_equal(ARCH, 1, 0), ret(foreign), load(OFFSET_NUMBER)];
    program.extend(search(&ranges(level, files)));
    program
}

/// The verdict of every number: each entry holds from its number up to the next entry's.
fn ranges(level: SeccompLevel, files: HostFiles) -> Vec<(u32, Verdict)> {
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    let mut set = |name: &str, verdict: Verdict| {
        if let Ok(call) = name.parse::<Sysno>() {
            verdicts.insert(u32::try_from(call.id()).unwrap_or(u32::MAX), verdict);
        }
    };
    level.allowed().for_each(|name| set(name, Verdict::Allow));
    DENIED.iter().for_each(|name| set(name, Verdict::Refuse(Refusal::NotPermitted)));
    ABSENT.iter().for_each(|name| set(name, Verdict::Refuse(Refusal::NoSuchCall)));
    CONDITIONAL.iter().for_each(|c| set(c.name, Verdict::Ask(c)));
    if files == HostFiles::Writable && !crate::mutation::off("set-id") {
        SET_ID_CONDITIONAL.iter().for_each(|c| set(c.name, Verdict::Ask(c)));
        set("openat2", Verdict::Refuse(Refusal::NoSuchCall));
    }
    if crate::mutation::off("seccomp-clone-flags") {
        set("clone", Verdict::Allow);
    }
    if crate::mutation::off("seccomp-core-limit") {
        set("prlimit64", Verdict::Allow);
        set("setrlimit", Verdict::Allow);
    }
    if crate::mutation::off("seccomp-clone3") {
        set("clone3", Verdict::Allow);
    }
    if crate::mutation::off("seccomp-tiocsti") {
        set("ioctl", Verdict::Allow);
    }
    if crate::mutation::off("seccomp-sockets") {
        set("socket", Verdict::Allow);
        set("socketpair", Verdict::Allow);
    }
    if crate::mutation::off("seccomp-personality") {
        set("personality", Verdict::Allow);
    }
    for name in DENIED.iter().chain(&ABSENT).chain(&agentkernel_model::seccomp::TRACING) {
        if crate::mutation::off_call(name) {
            set(name, Verdict::Allow);
        }
    }
    let unlisted = crate::mutation::off("seccomp-unlisted");
    let unknown = if unlisted { Verdict::Allow } else { Verdict::Refuse(Refusal::NoSuchCall) };
    let mut ranges = vec![(0, unknown)];
    let mut push = |from: u32, verdict: Verdict| {
        // An empty range, whose number is claimed after all.
        ranges.pop_if(|(last, _)| *last == from);
        if ranges.last().is_none_or(|(_, v)| *v != verdict) {
            ranges.push((from, verdict));
        }
    };
    for (number, verdict) in verdicts {
        push(number, verdict);
        push(number + 1, unknown);
    }
    push(X32_BIT, if crate::mutation::off("seccomp-x32") { Verdict::Allow } else { unknown });
    ranges
}

/// A binary search over `ranges`, whose accumulator holds the number.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let below = search(low);
    // Over what is below to what is above; where that is too far for a short jump, by a long one.
    let mut program = match u8::try_from(below.len()) {
        Ok(over) => vec![jump_at_least(high[0].0, over, 0)],
        Err(_) => vec![
            jump_at_least(high[0].0, 0, 1),
            Instruction { code: op(libc::BPF_JMP | libc::BPF_JA), jt: 0, jf: 0, k: length(&below) },
        ],
    };
    program.extend(below);
    program.extend(search(high));
    program
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![ret(RET_ALLOW)],
        Verdict::Refuse(refusal) => vec![ret(refuse(refusal))],
        Verdict::Ask(call) => ask(call),
    }
}

fn ask(call: &Conditional) -> Vec<Instruction> {
    let otherwise = ret(refuse(call.otherwise));
    let mut program = Vec::new();
    if let Some((arg, mask)) = call.unless {
        program.extend(none_of_64(arg, mask));
    }
    program.push(load(OFFSET_ARGS + 8 * u32::from(call.arg)));
    match call.test {
        ArgTest::NoneOf { mask } => {
            program.push(Instruction {
                code: op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K),
                jt: 1,
                jf: 0,
                k: mask,
            });
            program.extend([ret(RET_ALLOW), otherwise]);
        }
        ArgTest::OneOf(values) => program.extend(any_of(values, ret(RET_ALLOW), otherwise)),
        ArgTest::NotOneOf(values) => program.extend(any_of(values, otherwise, ret(RET_ALLOW))),
    }
    program
}

/// Allows when `arg` has none of the bits of `mask`, in either half; else goes on behind.
fn none_of_64(arg: u8, mask: u64) -> Vec<Instruction> {
    let bits = op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);
    let at = OFFSET_ARGS + 8 * u32::from(arg);
    let (low, high) = (mask & u64::from(u32::MAX), mask >> 32);
    let half = |half: u64| u32::try_from(half).unwrap_or(u32::MAX);
    vec![
        load(at),
        Instruction { code: bits, jt: 3, jf: 0, k: half(low) },
        load(at + 4),
        Instruction { code: bits, jt: 1, jf: 0, k: half(high) },
        ret(RET_ALLOW),
    ]
}

/// `hit` when the accumulator is one of `values`, else `miss`.
fn any_of(values: &[u32], hit: Instruction, miss: Instruction) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(values.len() + 2);
    for (i, value) in values.iter().enumerate() {
        // Over the remaining tests and `miss`, onto `hit`.
        program.push(jump_equal(*value, u8::try_from(values.len() - i).unwrap_or(u8::MAX), 0));
    }
    program.extend([miss, hit]);
    program
}

fn refuse(refusal: Refusal) -> u32 {
    let errno = match refusal {
        Refusal::NotPermitted => libc::EPERM,
        Refusal::NoSuchCall => libc::ENOSYS,
        Refusal::NoSuchFamily => libc::EAFNOSUPPORT,
    };
    libc::SECCOMP_RET_ERRNO | errno.cast_unsigned()
}

fn op(code: u32) -> u16 {
    u16::try_from(code).unwrap_or(0)
}

fn load(offset: u32) -> Instruction {
    Instruction { code: op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: offset }
}

fn ret(value: u32) -> Instruction {
    Instruction { code: op(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k: value }
}

fn jump_equal(k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), jt, jf, k }
}

fn jump_at_least(k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K), jt, jf, k }
}

fn length(program: &[Instruction]) -> u32 {
    u32::try_from(program.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
