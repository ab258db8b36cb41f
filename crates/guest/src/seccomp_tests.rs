use super::*;

/// Runs a filter as the kernel would; what the instructions of this module need.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let (mut a, mut pc) = (0_u32, 0_usize);
    loop {
        let i = &program[pc];
        pc += 1;
        let code = u32::from(i.code);
        if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
            a = match i.k {
                0 => number,
                4 => arch,
                k if k >= 16 && k % 8 == 0 => args[(k as usize - 16) / 8] as u32,
                k if k >= 16 && k % 8 == 4 => (args[(k as usize - 16) / 8] >> 32) as u32,
                k => panic!("load of offset {k}"),
            };
            continue;
        }
        if code == libc::BPF_RET | libc::BPF_K {
            return i.k;
        }
        if code == libc::BPF_JMP | libc::BPF_JA {
            pc += i.k as usize;
            continue;
        }
        let hit = match code - libc::BPF_JMP - libc::BPF_K {
            libc::BPF_JEQ => a == i.k,
            libc::BPF_JGE => a >= i.k,
            libc::BPF_JSET => a & i.k != 0,
            other => panic!("jump {other:#x}"),
        };
        pc += usize::from(if hit { i.jt } else { i.jf });
    }
}

fn call(level: SeccompLevel, name: &str, args: [u64; 6]) -> u32 {
    let number = name.parse::<Sysno>().unwrap().id() as u32;
    run(&compile(level, HostFiles::ReadOnly), ARCH, number, args)
}

const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

#[test]
fn every_listed_call_gets_its_verdict() {
    for level in [SeccompLevel::Restrictive, SeccompLevel::Moderate] {
        for name in level.allowed().filter(|n| n.parse::<Sysno>().is_ok()) {
            assert_eq!(call(level, name, [0; 6]), RET_ALLOW, "{name}");
        }
        for name in DENIED.iter().filter(|n| n.parse::<Sysno>().is_ok()) {
            assert_eq!(call(level, name, [0; 6]), EPERM, "{name}");
        }
        for name in ABSENT {
            assert_eq!(call(level, name, [0; 6]), ENOSYS, "{name}");
        }
    }
    assert_eq!(call(SeccompLevel::Restrictive, "ptrace", [0; 6]), ENOSYS);
    assert_eq!(call(SeccompLevel::Moderate, "ptrace", [0; 6]), RET_ALLOW);
}

#[test]
fn arguments_decide_where_the_policy_says_so() {
    let level = SeccompLevel::Moderate;
    assert_eq!(call(level, "clone", [17, 0, 0, 0, 0, 0]), RET_ALLOW);
    for namespace in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(call(level, "clone", [namespace | 17, 0, 0, 0, 0, 0]), EPERM, "{namespace:#x}");
    }
    assert_eq!(call(level, "ioctl", [0, 0x5413, 0, 0, 0, 0]), RET_ALLOW);
    assert_eq!(call(level, "ioctl", [0, 0x5412, 0, 0, 0, 0]), EPERM);
    // The kernel looks at the low half only; a filter that compared all 64 bits would let this through.
    assert_eq!(call(level, "ioctl", [0, 0x1_0000_5412, 0, 0, 0, 0]), EPERM);
    assert_eq!(call(level, "socket", [2, 1, 0, 0, 0, 0]), RET_ALLOW);
    let no_family = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
    for family in [17, 31, 38, 40] {
        assert_eq!(call(level, "socket", [family, 1, 0, 0, 0, 0]), no_family);
    }
    assert_eq!(call(level, "personality", [0x40_0000, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(call(level, "personality", [0xffff_ffff, 0, 0, 0, 0, 0]), RET_ALLOW);
}

#[test]
fn foreign_doors_are_closed() {
    let program = compile(SeccompLevel::Moderate, HostFiles::Writable);
    assert_eq!(run(&program, 0x4000_0003, 4, [0; 6]), RET_KILL, "i386");
    for number in [X32_BIT, X32_BIT | 1, X32_BIT | 59, 0xffff_ffff] {
        assert_eq!(run(&program, ARCH, number, [0; 6]), ENOSYS, "{number:#x}");
    }
    assert_eq!(run(&program, ARCH, 4000, [0; 6]), ENOSYS, "a call that does not exist yet");
}

#[test]
fn the_kernel_accepts_the_length() {
    let length = compile(SeccompLevel::Moderate, HostFiles::Writable).len();
    // Installing it costs time by length at every start; neighbours of one verdict are one range.
    assert!(length < 400, "{length} instructions");
}

#[test]
fn set_id_files_cannot_be_made_where_the_host_would_see_them() {
    let program = compile(SeccompLevel::Moderate, HostFiles::Writable);
    let go = |name: &str, args| run(&program, ARCH, name.parse::<Sysno>().unwrap().id() as u32, args);
    for (name, arg) in [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mknodat", 2), ("creat", 1)] {
        let mut args = [0; 6];
        args[arg] = 0o755;
        assert_eq!(go(name, args), RET_ALLOW, "{name}");
        for bit in [0o4755, 0o2755] {
            args[arg] = bit;
            assert_eq!(go(name, args), EPERM, "{name}");
        }
    }
    let creat = 0o100;
    assert_eq!(go("openat", [0, 0, creat, 0o644, 0, 0]), RET_ALLOW);
    assert_eq!(go("openat", [0, 0, creat, 0o4755, 0, 0]), EPERM);
    assert_eq!(go("openat", [0, 0, 0o20_200_000, 0o4755, 0, 0]), EPERM, "O_TMPFILE");
    assert_eq!(
        go("openat", [0, 0, 0, 0o4755, 0, 0]),
        RET_ALLOW,
        "no file is made: the mode is whatever was there"
    );
    assert_eq!(go("openat2", [0; 6]), ENOSYS);
    assert_eq!(
        call(SeccompLevel::Moderate, "chmod", [0, 0o4755, 0, 0, 0, 0]),
        RET_ALLOW,
        "nothing is shared"
    );
}

#[test]
fn the_core_limit_can_be_read_and_not_set() {
    let level = SeccompLevel::Moderate;
    assert_eq!(call(level, "prlimit64", [0, 4, 0, 1, 0, 0]), RET_ALLOW);
    assert_eq!(call(level, "prlimit64", [0, 4, 0x7fff, 0, 0, 0]), EPERM);
    assert_eq!(
        call(level, "prlimit64", [0, 4, 0x1_0000_0000, 0, 0, 0]),
        EPERM,
        "a pointer whose low half is 0"
    );
    assert_eq!(call(level, "prlimit64", [0, 7, 0x7fff, 0, 0, 0]), RET_ALLOW);
    assert_eq!(call(level, "setrlimit", [4, 0x7fff, 0, 0, 0, 0]), EPERM);
}
