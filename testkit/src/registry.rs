//! A real registry on loopback: Debian's docker-registry, with a place of its own and gone with its handle.

mod push;
mod server;

use crate::oci::{Image, Layout};
use agentkernel_model::{Error, Result};
use server::Server;
use std::{fs, path::Path};

/// Registries that the fixtures have images of.
const MIRRORED: [&str; 2] = ["docker.io", "mcr.microsoft.com"];

/// A running registry. Dropping it ends the server and removes what was pushed; the server also ends when this
/// process does.
#[derive(Debug)]
pub struct Registry {
    // In this order: what the server writes to is removed when it is gone.
    server: Server,
    place: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty registry on a free port and returns when it answers.
    ///
    /// # Errors
    /// [`Unavailable`](agentkernel_model::Kind::Unavailable) without docker-registry on this machine, and with what
    /// it wrote when it does not start.
    pub fn start() -> Result<Self> {
        let place = tempfile::Builder::new().prefix("agentkernel-registry-").tempdir();
        let place = place.map_err(|e| Error::io("cannot make a directory for the registry", e))?;
        let (config, storage) = (place.path().join("config.yml"), place.path().join("storage"));
        // JSON is YAML, and quotes paths as they must be. The secret guards uploads between several servers: there is one.
        let text = serde_json::json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": false}},
            "storage": {
                "filesystem": {"rootdirectory": storage},
                "delete": {"enabled": true},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": {"addr": "127.0.0.1:0", "secret": "loopback"},
        });
        fs::write(&config, text.to_string())
            .map_err(|e| Error::io(format!("cannot write '{}'", config.display()), e))?;
        Ok(Self { server: Server::start(&config)?, place })
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Such as `http://127.0.0.1:41231`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Puts `image` into the registry, under its repository and tag. What is there already is not sent again.
    ///
    /// # Errors
    /// When the registry refuses, or a blob cannot be read.
    pub fn push(&self, image: &Image) -> Result<()> {
        push::push(&self.url(), image)
    }

    /// Puts every image of a layout into the registry.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_layout(&self, layout: &Layout) -> Result<()> {
        layout.images()?.iter().try_for_each(|image| self.push(image))
    }

    /// The text of a `registries.toml` by which pulls from the well-known registries come here and go nowhere else.
    #[must_use]
    pub fn settings(&self) -> String {
        let mirror =
            |name: &str| format!("[\"{name}\"]\nmirrors = [\"{}\"]\nmirrors_only = true\n", self.url());
        MIRRORED.map(mirror).join("\n")
    }

    /// Writes [`Self::settings`] to `path`, whose directory is made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_settings(&self, path: &Path) -> Result<()> {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(path, self.settings()))
            .map_err(|e| Error::io(format!("cannot write '{}'", path.display()), e))
    }

    /// The last lines that the server wrote, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.server.log()
    }

    /// Where the server keeps blobs, for tests that break some.
    #[must_use]
    pub fn storage(&self) -> std::path::PathBuf {
        self.place.path().join("storage")
    }
}

/// Puts `image` into the registry at `url`, such as `http://127.0.0.1:5000`.
///
/// # Errors
/// As [`Registry::push`].
pub fn push_to(url: &str, image: &Image) -> Result<()> {
    push::push(url.trim_end_matches('/'), image)
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
