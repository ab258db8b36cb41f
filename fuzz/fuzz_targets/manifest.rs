//! Manifests and indexes of images.
#![no_main]

use agentkernel_fuzz::refused;
use agentkernel_image::parse_manifest;
use agentkernel_model::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = parse_manifest(bytes) {
        refused(&error, &[Kind::Invalid, Kind::Unsupported, Kind::Denied]);
    }
});
