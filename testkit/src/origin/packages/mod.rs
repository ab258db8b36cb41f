//! What package clients fetch, as files of a server: an index of Python, registries of npm and cargo, a repository of git.
//! Each has one package of the test's own making.

mod archive;
mod git;

pub use git::repository;

use agentkernel_model::{Error, Result};
use hyper::StatusCode;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt};

/// Stands in texts where the server's own address goes, such as `https://crates.test`.
const BASE: &str = "@BASE@";

/// One file of a server.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) status: StatusCode,
    /// Where a redirection leads.
    pub(super) location: Option<String>,
    pub(super) kind: &'static str,
    bytes: Vec<u8>,
    names_server: bool,
}

impl File {
    fn new(kind: &'static str, bytes: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, location: None, kind, bytes, names_server: false }
    }

    pub(super) fn bytes_at(&self, base: &str) -> Vec<u8> {
        if self.names_server {
            String::from_utf8_lossy(&self.bytes).replace(BASE, base).into_bytes()
        } else {
            self.bytes.clone()
        }
    }
}

/// Files by path. A server that has some says 404 for every other path that is no route.
#[derive(Default, Clone)]
pub struct Files(BTreeMap<String, File>);

impl Files {
    /// One file of text at `path`.
    #[must_use]
    pub fn one(path: &str, text: &str) -> Self {
        Self::default().and(path, text)
    }

    /// And another one.
    #[must_use]
    pub fn and(mut self, path: &str, text: &str) -> Self {
        self.text(path, "text/plain", text.to_owned());
        self
    }

    /// And a path that leads to the URL `to`.
    #[must_use]
    pub fn and_redirect(mut self, path: &str, to: &str) -> Self {
        let file = File::new("text/plain", b"elsewhere\n".to_vec());
        let file = File { status: StatusCode::FOUND, location: Some(to.to_owned()), ..file };
        self.0.insert(path.to_owned(), file);
        self
    }

    /// And a path that is answered with `status`.
    #[must_use]
    pub fn and_refusal(mut self, path: &str, status: StatusCode) -> Self {
        let file = File::new("text/plain", format!("{status}\n").into_bytes());
        self.0.insert(path.to_owned(), File { status, ..file });
        self
    }

    fn text(&mut self, path: &str, kind: &'static str, text: String) {
        self.0.insert(path.to_owned(), File { names_server: true, ..File::new(kind, text.into_bytes()) });
    }

    fn bytes(&mut self, path: &str, bytes: Vec<u8>) {
        self.0.insert(path.to_owned(), File::new("application/octet-stream", bytes));
    }

    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The simple index of PEP 503, with a wheel of `demo-pkg` 1.0: `pip download --index-url https://HOST/simple demo-pkg`.
///
/// # Errors
/// When memory is no place for an archive.
pub fn python_index() -> Result<Files> {
    const WHEEL: &str = "demo_pkg-1.0-py3-none-any.whl";
    let wheel = archive::zip(&[
        ("demo_pkg/__init__.py", "said = 'hello'\n"),
        ("demo_pkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n"),
        (
            "demo_pkg-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        ("demo_pkg-1.0.dist-info/RECORD", ""),
    ]);
    let sum = hex(&wheel);
    let mut files = Files::default();
    let page = format!(
        "<!DOCTYPE html><html><body><a href=\"/files/{WHEEL}#sha256={sum}\">{WHEEL}</a></body></html>"
    );
    files.text("/simple/demo-pkg/", "text/html", page);
    files.bytes(&format!("/files/{WHEEL}"), wheel);
    Ok(files)
}

/// A registry of npm with `demo-pkg` 1.0.0: `npm install --registry https://HOST/ demo-pkg`.
///
/// # Errors
/// When memory is no place for an archive.
pub fn npm_registry() -> Result<Files> {
    let manifest = json!({"name": "demo-pkg", "version": "1.0.0", "main": "index.js"});
    let manifest_text = manifest.to_string();
    let tarball = archive::tar_gz(&[
        ("package/package.json", &manifest_text),
        ("package/index.js", "module.exports = 'hello'\n"),
    ])
    .map_err(|e| Error::io("cannot make a package of npm", e))?;
    let mut version = manifest;
    version["dist"] = json!({"tarball": format!("{BASE}/demo-pkg/-/demo-pkg-1.0.0.tgz")});
    let document = json!({
        "name": "demo-pkg", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version},
    });
    let mut files = Files::default();
    files.text("/demo-pkg", "application/json", document.to_string());
    files.bytes("/demo-pkg/-/demo-pkg-1.0.0.tgz", tarball);
    Ok(files)
}

/// A sparse registry of cargo with `demo-crate` 1.0.0, for `registry = "sparse+https://HOST/"`.
///
/// # Errors
/// When memory is no place for an archive.
pub fn cargo_registry() -> Result<Files> {
    let crate_file = archive::tar_gz(&[
        (
            "demo-crate-1.0.0/Cargo.toml",
            "[package]\nname = \"demo-crate\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
        ),
        ("demo-crate-1.0.0/src/lib.rs", "pub const SAID: &str = \"hello\";\n"),
    ])
    .map_err(|e| Error::io("cannot make a crate", e))?;
    let entry = json!({
        "name": "demo-crate", "vers": "1.0.0", "deps": [], "cksum": hex(&crate_file), "features": {},
        "yanked": false,
    });
    let mut files = Files::default();
    let config = json!({"dl": format!("{BASE}/dl/{{crate}}-{{version}}.crate")});
    files.text("/config.json", "application/json", config.to_string());
    files.text("/de/mo/demo-crate", "text/plain", format!("{entry}\n"));
    files.bytes("/dl/demo-crate-1.0.0.crate", crate_file);
    Ok(files)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
