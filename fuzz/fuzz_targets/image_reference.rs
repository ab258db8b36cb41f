//! Image references and digests.
#![no_main]

use agentkernel_fuzz::refused;
use agentkernel_model::{
    Kind,
    image::{Digest, ImageRef, Reference},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Reference>() {
        Ok(reference) => {
            let shown = reference.to_string();
            assert_eq!(shown.parse::<Reference>().ok().as_ref(), Some(&reference), "{shown}");
            assert!(reference.tag().is_some() || reference.digest().is_some());
            let parts = [reference.registry(), reference.repository(), reference.tag().unwrap_or("x")];
            assert!(parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic())));
            // Both become parts of URLs and of names of files.
            assert!(!reference.repository().split('/').any(|part| matches!(part, "" | "." | "..")));
        }
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!((digest.hex().len(), digest.as_str()), (64, text));
    }
    assert_eq!(text.parse::<ImageRef>().is_ok(), text == "host" || text.parse::<Reference>().is_ok());
});
