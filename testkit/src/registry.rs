//! A real registry on loopback: Debian's docker-registry, with a place of its own and gone with its handle.

mod push;
mod server;
mod valve;

pub use valve::Valve;

use crate::{
    oci::{Image, Layout},
    origin::{Authority, Certificate},
};
use agentkernel_model::{Error, Result};
use server::Server;
use std::{fs, net::SocketAddr, path::Path};

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
        let server = serve(place.path(), "config", &serde_json::json!({}))?;
        Ok(Self { server, place })
    }

    /// Another server of the same images, which speaks TLS with a certificate of `authority` for `names`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn secured(
        &self,
        authority: &Authority,
        names: &[&str],
        certificate: Certificate,
    ) -> Result<Secured> {
        let (chain, key) = authority.pair(names, certificate)?;
        let kind = format!("{certificate:?}");
        let write = |what: &str, text: &str| {
            let path = self.place.path().join(format!("{kind}.{what}"));
            fs::write(&path, text).map_err(|e| Error::io(format!("cannot write '{}'", path.display()), e))?;
            Ok::<_, Error>(path)
        };
        let tls = serde_json::json!({"certificate": write("crt", &chain)?, "key": write("key", &key)?});
        Ok(Secured(serve(self.place.path(), &kind, &tls)?))
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
        settings(&self.url())
    }

    /// A relay before this registry that lets so many bytes of its answers pass.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn valve(&self, bytes: u64) -> Result<Valve> {
        Valve::before(self.server.address(), bytes)
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

/// As [`Registry::settings`], for one that answers at `url`.
#[must_use]
pub fn settings(url: &str) -> String {
    let mirror = |name: &str| format!("[\"{name}\"]\nmirrors = [\"{url}\"]\nmirrors_only = true\n");
    MIRRORED.map(mirror).join("\n")
}

/// A server with TLS, of a registry's images. Dropping it ends it.
#[derive(Debug)]
pub struct Secured(Server);

impl Secured {
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// The last lines that it wrote, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.0.log()
    }
}

/// A server of the images in `place`. `tls` holds what its configuration says of that; empty for none.
fn serve(place: &Path, name: &str, tls: &serde_json::Value) -> Result<Server> {
    let (config, storage) = (place.join(format!("{name}.yml")), place.join("storage"));
    // JSON is YAML, and quotes paths as they must be. The secret guards uploads between several servers: one takes any.
    let text = serde_json::json!({
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": false}},
        "storage": {
            "filesystem": {"rootdirectory": storage},
            "delete": {"enabled": true},
            "maintenance": {"uploadpurging": {"enabled": false}},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "loopback", "tls": tls},
    });
    fs::write(&config, text.to_string())
        .map_err(|e| Error::io(format!("cannot write '{}'", config.display()), e))?;
    Server::start(&config)
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
