//! What `--volume` says, and the names and paths in it.
#![no_main]

use agentkernel_fuzz::refused;
use agentkernel_model::{
    Kind,
    mount::VolumeArg,
    name::{SandboxName, VolumeName},
    path::GuestPath,
};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match VolumeArg::parse(text, Path::new("/home/somebody/project")) {
        Ok(volume) => {
            let target = volume.target().as_str();
            contained(target);
            for kernel in ["/proc", "/dev", "/sys"] {
                let inside = target.strip_prefix(kernel).is_some_and(|r| r.is_empty() || r.starts_with('/'));
                assert!(!inside, "{target}");
            }
            assert_ne!(target, "/");
            if let VolumeArg::Host(mount) = &volume {
                assert!(mount.source.is_absolute());
            }
        }
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    match text.parse::<GuestPath>() {
        Ok(path) => {
            contained(path.as_str());
            assert_eq!(path.as_str().parse::<GuestPath>().ok().as_ref(), Some(&path));
        }
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    // Names become names of directories.
    if text.parse::<VolumeName>().is_ok() || text.parse::<SandboxName>().is_ok() {
        assert!(!text.contains(['/', '\0']) && !matches!(text, "" | "." | ".."), "{text}");
    }
});

fn contained(path: &str) {
    assert!(path.starts_with('/'), "{path}");
    assert!(!path.split('/').any(|part| matches!(part, "." | "..")), "{path}");
    assert!(!path.chars().any(char::is_control), "{path:?}");
}
