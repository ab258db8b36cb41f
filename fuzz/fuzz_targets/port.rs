//! Published ports.
#![no_main]

use agentkernel_fuzz::refused;
use agentkernel_model::{Kind, port::PublishedPort};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<PublishedPort>() {
        Ok(port) => {
            assert_ne!(port.guest, 0);
            assert_eq!(port.to_string().parse::<PublishedPort>().ok(), Some(port));
        }
        Err(error) => refused(&error, &[Kind::Invalid, Kind::Unsupported]),
    }
});
