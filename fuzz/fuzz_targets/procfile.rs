//! Procfiles.
#![no_main]

use agentkernel_config::procfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let programs: Vec<&str> = procfile::programs(text).collect();
    assert!(programs.len() <= text.lines().count());
    for program in programs {
        assert!(!program.is_empty() && !program.contains(char::is_whitespace), "{program:?}");
    }
});
