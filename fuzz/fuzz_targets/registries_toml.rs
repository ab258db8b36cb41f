//! registries.toml.
#![no_main]

use agentkernel_fuzz::refused;
use agentkernel_image::Registries;
use agentkernel_model::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Registries::parse("registries.toml", text) {
        refused(&error, &[Kind::Config]);
    }
});
