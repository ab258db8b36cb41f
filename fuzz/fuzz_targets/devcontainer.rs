//! devcontainer.json.
#![no_main]

use agentkernel_config::{
    devcontainer::{Project, parse},
    trust,
};
use agentkernel_fuzz::refused;
use agentkernel_model::Kind;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let project = Project { name: "project", folder: ".devcontainer" };
    let container = match parse(".devcontainer/devcontainer.json", text, project) {
        Ok(container) => container,
        Err(error) => return refused(&error, &[Kind::Config, Kind::Unsupported]),
    };
    for note in &container.notes {
        assert!(!note.chars().any(char::is_control), "{note:?}");
    }
    let found = trust::restrict(container.config, None).config;
    assert!(found.ports.is_empty() && found.mounts.is_empty() && found.workspace.path.is_none());
    if let Err(error) = found.ingredients(Path::new("/home/somebody/project")) {
        refused(&error, &[Kind::Invalid, Kind::Config, Kind::Unsupported]);
    }
});
