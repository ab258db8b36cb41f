//! Renders the system call policy of `model` to the JSON that engines take, and that their runtimes hand to libseccomp.
//!
//! libseccomp joins the tests of one rule by "and" and the rules of one call by "or", compares 64 bits, and does not say
//! which of two contradicting rules wins. So every condition is written as rules for what is allowed and rules for what
//! is not, which no argument meets both of, and a test of 32 bits is a comparison under a mask. A rule names an argument
//! once: of two tests of one argument runc makes two rules. Rules without tests and rules with tests do not go together:
//! libseccomp forgets the latter.
//!
//! What cannot be said there: a call with the x32 bit ends its thread, where native answers `ENOSYS`; a call of another
//! architecture ends its thread and not the process; and a call whose name the engine's libseccomp does not know yet
//! answers `ENOSYS`, whatever the policy has for it. Docker 20.10 does not pass the default's
//! number on, so that there a number between known calls that is no call answers `EPERM`; calls that exist are all named.

use agentkernel_model::seccomp::{
    ABSENT, ArgTest, CONDITIONAL, Conditional, DENIED, Refusal, SET_ID_CONDITIONAL, SeccompLevel,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use syscalls::Sysno;

/// Whether a directory that the sandbox may write is the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostFiles {
    ReadOnly,
    Writable,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";

/// What happens to calls of these names whose arguments meet all of `args`.
#[derive(Debug)]
struct Rule {
    names: Vec<&'static str>,
    /// `None` is allowed.
    refusal: Option<Refusal>,
    args: Vec<Arg>,
}

#[derive(Debug, Clone, Copy)]
struct Arg {
    index: u8,
    comparison: Comparison,
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Equal(u64),
    Above(u64),
    /// The bits under a mask are a value.
    Masked(u64, u64),
}

impl Rule {
    fn json(&self) -> Value {
        let args: Vec<Value> = self.args.iter().map(Arg::json).collect();
        let mut rule = match self.refusal {
            None => json!({ "names": self.names, "action": "SCMP_ACT_ALLOW" }),
            Some(refusal) => {
                json!({ "names": self.names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno(refusal) })
            }
        };
        if !args.is_empty() {
            rule["args"] = args.into();
        }
        rule
    }
}

impl Arg {
    fn json(&self) -> Value {
        let (op, value, second) = match self.comparison {
            Comparison::Equal(value) => ("SCMP_CMP_EQ", value, 0),
            Comparison::Above(value) => ("SCMP_CMP_GT", value, 0),
            Comparison::Masked(mask, value) => ("SCMP_CMP_MASKED_EQ", mask, value),
        };
        json!({ "index": self.index, "op": op, "value": value, "valueTwo": second })
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Allow,
    Refuse(Refusal),
    Ask(&'static Conditional),
}

/// What the agent does for a command before it takes it from the command: it limits core dumps, which rootless Podman
/// does not when it is asked to.
const OF_AGENT: [&str; 2] = ["prlimit64", "setrlimit"];

/// The policy of `level` for a whole container. Within it the agent puts each command under the exact policy.
pub(crate) fn around_agent(level: SeccompLevel) -> String {
    let mut verdicts = verdicts(level, HostFiles::ReadOnly);
    for (name, verdict) in &mut verdicts {
        if OF_AGENT.contains(name) {
            *verdict = Verdict::Allow;
        }
    }
    profile(verdicts)
}

/// The policy of `level` for this machine's architecture, as `security-opt seccomp=` takes it.
#[cfg(test)]
fn render(level: SeccompLevel, files: HostFiles) -> String {
    profile(verdicts(level, files))
}

fn profile(verdicts: BTreeMap<&'static str, Verdict>) -> String {
    let (mut allowed, mut denied, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    let mut rules = Vec::new();
    for (name, verdict) in verdicts {
        match verdict {
            Verdict::Allow => allowed.push(name),
            Verdict::Refuse(Refusal::NotPermitted) => denied.push(name),
            Verdict::Refuse(Refusal::NoSuchCall) => absent.push(name),
            Verdict::Refuse(refusal) => rules.push(always(vec![name], Some(refusal))),
            Verdict::Ask(call) => rules.extend(conditional(call)),
        }
    }
    rules.push(always(allowed, None));
    rules.push(always(denied, Some(Refusal::NotPermitted)));
    // The default says so too, but an old Docker forgets its number.
    rules.push(always(absent, Some(Refusal::NoSuchCall)));
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno(Refusal::NoSuchCall),
        "architectures": [ARCHITECTURE],
        "syscalls": rules.iter().map(Rule::json).collect::<Vec<_>>(),
    });
    profile.to_string()
}

/// The verdict of every call of this machine.
fn verdicts(level: SeccompLevel, files: HostFiles) -> BTreeMap<&'static str, Verdict> {
    let mut verdicts: BTreeMap<_, _> =
        Sysno::iter().map(|call| (call.name(), Verdict::Refuse(Refusal::NoSuchCall))).collect();
    let mut set = |name: &'static str, verdict: Verdict| {
        if name.parse::<Sysno>().is_ok() {
            verdicts.insert(name, verdict);
        }
    };
    level.allowed().for_each(|name| set(name, Verdict::Allow));
    DENIED.iter().for_each(|name| set(name, Verdict::Refuse(Refusal::NotPermitted)));
    ABSENT.iter().for_each(|name| set(name, Verdict::Refuse(Refusal::NoSuchCall)));
    CONDITIONAL.iter().for_each(|call| set(call.name, Verdict::Ask(call)));
    if files == HostFiles::Writable {
        SET_ID_CONDITIONAL.iter().for_each(|call| set(call.name, Verdict::Ask(call)));
        set("openat2", Verdict::Refuse(Refusal::NoSuchCall));
    }
    verdicts
}

fn always(names: Vec<&'static str>, refusal: Option<Refusal>) -> Rule {
    Rule { names, refusal, args: Vec::new() }
}

/// Linux's numbers, whatever this is built for.
fn errno(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::NotPermitted => 1,
        Refusal::NoSuchCall => 38,
        Refusal::NoSuchFamily => 97,
    }
}

fn conditional(call: &'static Conditional) -> Vec<Rule> {
    let rule = |refusal, args| Rule { names: vec![call.name], refusal, args };
    let allow = |args| rule(None, args);
    let deny = |args| rule(Some(call.otherwise), args);
    let (holds, fails) = both(call.test);
    let here = |term: &Masked| term.of(call.arg);
    let mut rules: Vec<Rule> = holds.iter().map(|term| allow(vec![here(term)])).collect();
    match call.unless {
        None => rules.extend(fails.iter().map(|term| deny(vec![here(term)]))),
        Some((arg, mask)) => {
            let (none, some) = bits(arg, mask);
            for term in &fails {
                rules.push(allow(vec![here(term), none]));
                rules.extend(some.iter().map(|bit| deny(vec![here(term), *bit])));
            }
        }
    }
    rules
}

/// Arguments of which the bits under `mask` are `value`.
#[derive(Debug, Clone, Copy)]
struct Masked {
    mask: u32,
    value: u32,
}

impl Masked {
    fn of(self, index: u8) -> Arg {
        Arg { index, comparison: Comparison::Masked(self.mask.into(), self.value.into()) }
    }
}

/// The arguments for which `test` holds, and those for which it does not.
fn both(test: ArgTest) -> (Vec<Masked>, Vec<Masked>) {
    match test {
        ArgTest::NoneOf { mask } => {
            let bits = (0..32).map(|bit| 1 << bit).filter(|bit| mask & bit != 0);
            (vec![Masked { mask, value: 0 }], bits.map(|bit| Masked { mask: bit, value: bit }).collect())
        }
        ArgTest::OneOf(values) => (among(values), outside(values)),
        ArgTest::NotOneOf(values) => (outside(values), among(values)),
    }
}

fn among(values: &[u32]) -> Vec<Masked> {
    values.iter().map(|value| Masked { mask: u32::MAX, value: *value }).collect()
}

/// Everything but `values`: the beginnings of numbers, each as short as can be, that none of them has.
fn outside(values: &[u32]) -> Vec<Masked> {
    let mut terms = Vec::new();
    for bit in (0..32).rev() {
        let mask = u32::MAX << bit;
        let there: BTreeSet<u32> = values.iter().map(|value| value & mask).collect();
        let beside = there.iter().map(|value| value ^ (1 << bit)).filter(|value| !there.contains(value));
        terms.extend(beside.map(|value| Masked { mask, value }));
    }
    terms
}

/// Tests that argument `index` has none of the bits of `mask`, and those of which one holds when it has any.
fn bits(index: u8, mask: u64) -> (Arg, Vec<Arg>) {
    let arg = |comparison| Arg { index, comparison };
    if mask == u64::MAX {
        // Not SCMP_CMP_NE: libseccomp 2.5 loses such a rule, depending on the order of the others.
        return (arg(Comparison::Equal(0)), vec![arg(Comparison::Above(0))]);
    }
    let any = (0..64).map(|bit| 1_u64 << bit).filter(|bit| mask & bit != 0);
    (arg(Comparison::Masked(mask, 0)), any.map(|bit| arg(Comparison::Masked(bit, bit))).collect())
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
