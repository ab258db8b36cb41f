//! Durations, sizes and processor shares.
#![no_main]

use agentkernel_fuzz::refused;
use agentkernel_model::{
    Kind,
    size::{ByteSize, Cpus, parse_duration},
};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse_duration(text) {
        Ok(duration) => assert!(duration <= CENTURY && !text.is_empty()),
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    match text.parse::<ByteSize>() {
        Ok(size) => assert_eq!(size.to_string().parse::<ByteSize>().ok(), Some(size)),
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    match text.parse::<Cpus>() {
        Ok(cpus) => {
            assert!((Cpus::MIN..=Cpus::MAX).contains(&cpus));
            assert_eq!(cpus.to_string().parse::<Cpus>().ok(), Some(cpus));
        }
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
});
