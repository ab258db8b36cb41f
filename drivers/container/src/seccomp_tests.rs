use super::*;

const LEVELS: [SeccompLevel; 2] = [SeccompLevel::Restrictive, SeccompLevel::Moderate];
const FILES: [HostFiles; 2] = [HostFiles::ReadOnly, HostFiles::Writable];

/// `None` is allowed.
type Answer = Option<u32>;

/// What the policy says, read from the model's tables and not from what was rendered.
fn expected(level: SeccompLevel, files: HostFiles, name: &str, args: [u64; 6]) -> Answer {
    let writable = files == HostFiles::Writable;
    if writable && name == "openat2" {
        return Some(38);
    }
    let set_id = SET_ID_CONDITIONAL.iter().filter(|_| writable).find(|call| call.name == name);
    if let Some(call) = set_id.or_else(|| CONDITIONAL.iter().find(|call| call.name == name)) {
        let arg = args[usize::from(call.arg)] as u32;
        let holds = match call.test {
            ArgTest::NoneOf { mask } => arg & mask == 0,
            ArgTest::OneOf(values) => values.contains(&arg),
            ArgTest::NotOneOf(values) => !values.contains(&arg),
        };
        let excused = call.unless.is_some_and(|(arg, mask)| args[usize::from(arg)] & mask == 0);
        return match call.otherwise {
            _ if holds || excused => None,
            Refusal::NotPermitted => Some(1),
            Refusal::NoSuchCall => Some(38),
            Refusal::NoSuchFamily => Some(97),
        };
    }
    if ABSENT.contains(&name) {
        Some(38)
    } else if DENIED.contains(&name) {
        Some(1)
    } else if level.allowed().any(|allowed| allowed == name) {
        None
    } else {
        Some(38)
    }
}

/// A profile as libseccomp reads it: any rule of the call whose tests all hold.
struct Engine {
    rules: BTreeMap<String, Vec<Value>>,
    default: u32,
}

impl Engine {
    fn new(text: &str) -> Self {
        let profile: Value = serde_json::from_str(text).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let mut rules: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for rule in profile["syscalls"].as_array().unwrap() {
            for name in rule["names"].as_array().unwrap() {
                rules.entry(name.as_str().unwrap().to_owned()).or_default().push(rule.clone());
            }
        }
        Self { rules, default: profile["defaultErrnoRet"].as_u64().unwrap() as u32 }
    }

    fn answer(&self, name: &str, args: [u64; 6]) -> Answer {
        let rules = self.rules.get(name).map_or(&[][..], Vec::as_slice);
        let mut answers: Vec<Answer> = rules.iter().filter(|rule| meets(rule, args)).map(action).collect();
        answers.dedup();
        assert!(answers.len() <= 1, "{name} {args:x?}: contradicting rules {answers:?}");
        answers.pop().unwrap_or(Some(self.default))
    }
}

fn meets(rule: &Value, args: [u64; 6]) -> bool {
    rule["args"].as_array().into_iter().flatten().all(|test| {
        let number = |key: &str| test[key].as_u64().unwrap();
        let arg = args[number("index") as usize];
        match test["op"].as_str().unwrap() {
            "SCMP_CMP_EQ" => arg == number("value"),
            "SCMP_CMP_GT" => arg > number("value"),
            "SCMP_CMP_MASKED_EQ" => arg & number("value") == number("valueTwo"),
            op => panic!("{op}"),
        }
    })
}

fn action(rule: &Value) -> Answer {
    match rule["action"].as_str().unwrap() {
        "SCMP_ACT_ALLOW" => None,
        "SCMP_ACT_ERRNO" => Some(rule["errnoRet"].as_u64().unwrap() as u32),
        action => panic!("{action}"),
    }
}

/// Everything that some condition looks at, what is next to it, and the same with something in the upper half.
fn interesting() -> Vec<u64> {
    let mut low: BTreeSet<u32> = BTreeSet::from([0, 1, 3, 5, 0o644, 0o755, u32::MAX]);
    low.extend((0..32).map(|bit| 1_u32 << bit));
    for call in CONDITIONAL.iter().chain(&SET_ID_CONDITIONAL) {
        match call.test {
            ArgTest::NoneOf { mask } => low.extend([mask, !mask, mask | 17]),
            ArgTest::OneOf(values) | ArgTest::NotOneOf(values) => {
                low.extend(values.iter().flat_map(|v| [*v, v ^ 1, v.wrapping_sub(1), v | 1 << 31]));
            }
        }
        low.extend(call.unless.map(|(_, mask)| mask as u32));
    }
    let above = [0, 1 << 32, 1 << 63, u64::MAX << 32];
    low.iter().flat_map(|low| above.map(|above| above | u64::from(*low))).collect()
}

#[test]
fn every_call_is_decided_as_the_policy_says() {
    let values = interesting();
    for (level, files) in LEVELS.into_iter().flat_map(|level| FILES.map(|files| (level, files))) {
        let engine = Engine::new(&render(level, files));
        for call in Sysno::iter() {
            let name = call.name();
            let ask = |args| {
                let expected = expected(level, files, name, args);
                assert_eq!(engine.answer(name, args), expected, "{level:?} {files:?} {name} {args:x?}");
            };
            ask([0; 6]);
            ask([u64::MAX; 6]);
            for call in CONDITIONAL.iter().chain(&SET_ID_CONDITIONAL).filter(|call| call.name == name) {
                let second = call.unless.map_or(usize::from(call.arg), |(arg, _)| usize::from(arg));
                // All pairs would be many; the second argument's are the ones around its own mask.
                let mask = call.unless.map_or(0, |(_, mask)| mask);
                for first in &values {
                    for other in [0, mask, mask & mask.wrapping_neg(), 1 << 32, !mask, 1] {
                        let mut args = [0; 6];
                        args[second] = other;
                        args[usize::from(call.arg)] = *first;
                        ask(args);
                    }
                }
            }
        }
    }
}

#[test]
fn a_rule_names_an_argument_once() {
    // Of two tests of one argument runc makes two rules, which would mean "or".
    for files in FILES {
        let profile: Value = serde_json::from_str(&render(SeccompLevel::Moderate, files)).unwrap();
        for rule in profile["syscalls"].as_array().unwrap() {
            let tests = rule["args"].as_array().into_iter().flatten();
            let indices: Vec<_> = tests.map(|test| test["index"].as_u64().unwrap()).collect();
            let distinct: BTreeSet<_> = indices.iter().collect();
            assert_eq!(distinct.len(), indices.len(), "{rule}");
        }
    }
}

#[test]
fn a_call_is_ruled_with_tests_or_without() {
    // A rule without tests makes libseccomp forget those with tests.
    for files in FILES {
        let engine = Engine::new(&render(SeccompLevel::Moderate, files));
        for (name, rules) in &engine.rules {
            let bare = rules.iter().filter(|rule| rule["args"].is_null()).count();
            assert!(bare == 0 || rules.len() == 1, "{name}");
        }
        for call in Sysno::iter() {
            assert!(engine.rules.contains_key(call.name()), "{call}: an old Docker would say EPERM");
        }
    }
}

#[test]
fn nothing_is_allowed_for_other_architectures() {
    let profile: Value = serde_json::from_str(&render(SeccompLevel::Moderate, HostFiles::ReadOnly)).unwrap();
    let expected = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };
    assert_eq!(profile["architectures"], serde_json::json!([expected]));
    assert!(profile.get("archMap").is_none());
}

#[test]
fn what_is_outside_of_some_values_is_everything_else() {
    let sets: [&[u32]; 5] = [&[0], &[u32::MAX], &[4], &[1, 2, 10, 16], &[0, 8, 0x2_0000, u32::MAX]];
    for values in sets {
        let terms = outside(values);
        let covered: u64 = terms.iter().map(|term| 1_u64 << term.mask.count_zeros()).sum();
        assert_eq!(covered + values.len() as u64, 1 << 32, "{values:x?}");
        for value in values {
            assert!(!terms.iter().any(|term| value & term.mask == term.value), "{value:x}");
        }
    }
}

#[test]
fn the_profile_is_no_burden() {
    let profile = render(SeccompLevel::Moderate, HostFiles::Writable);
    assert!(profile.len() < 64 << 10, "{} bytes", profile.len());
}

/// Writes the profiles where a person wants to hand them to an engine or to libseccomp.
#[test]
fn profiles_can_be_looked_at() {
    let Some(into) = std::env::var_os("AGENTKERNEL_TEST_SECCOMP_DIR") else { return };
    for (level, files) in LEVELS.into_iter().flat_map(|level| FILES.map(|files| (level, files))) {
        let name = format!("{level:?}-{files:?}.json").to_lowercase();
        std::fs::write(std::path::Path::new(&into).join(name), render(level, files)).unwrap();
    }
}
