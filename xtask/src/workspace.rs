//! The workspace as `cargo metadata` tells it, with the role that each package has in the house.

use crate::{Outcome, cargo::cargo};
use serde_json::Value;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where a package stands; decides what it may import and call. The table is in [`crate::check::layers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// `crates/NAME`.
    Crate(String),
    /// `drivers/NAME`.
    Driver(String),
    /// `sdk/NAME`: clients of the HTTP API; they import nothing of ours.
    Sdk,
    Testkit,
    Xtask,
    /// A place that the plan of the house does not know.
    Unplanned,
}

impl Role {
    pub(crate) fn of(root: &Path, dir: &Path) -> Self {
        let relative = dir.strip_prefix(root).unwrap_or(dir);
        let parts: Vec<_> = relative.components().map(|c| c.as_os_str().to_string_lossy()).collect();
        match parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().as_slice() {
            ["crates", name] => Self::Crate((*name).to_owned()),
            ["drivers", name] => Self::Driver((*name).to_owned()),
            ["sdk", _] => Self::Sdk,
            ["testkit"] => Self::Testkit,
            ["xtask"] => Self::Xtask,
            _ => Self::Unplanned,
        }
    }

    pub(crate) fn is_crate(&self, name: &str) -> bool {
        matches!(self, Self::Crate(own) if own == name)
    }

    pub(crate) fn is_driver(&self) -> bool {
        matches!(self, Self::Driver(_))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crate(name) => f.write_str(name),
            Self::Driver(name) => write!(f, "drivers/{name}"),
            Self::Sdk => f.write_str("sdk"),
            Self::Testkit => f.write_str("testkit"),
            Self::Xtask => f.write_str("xtask"),
            Self::Unplanned => f.write_str("(not in the plan)"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    Normal,
    Build,
    Dev,
}

#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
    /// The directory of a path dependency: one of ours.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) role: Role,
    pub(crate) dependencies: Vec<Dependency>,
    /// The root source files of every target, with whether the target is a test, bench or example.
    pub(crate) roots: Vec<(PathBuf, TargetKind)>,
    /// Names of the integration tests.
    pub(crate) tests: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetKind {
    Product,
    Test,
}

impl Package {
    pub(crate) fn manifest(&self) -> PathBuf {
        self.dir.join("Cargo.toml")
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
}

impl Workspace {
    /// Asks cargo; needs no network when the lock file is complete.
    pub(crate) fn load() -> Outcome<Self> {
        let output = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
        if !output.status.success() {
            return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Self::parse(&serde_json::from_slice(&output.stdout)?)
    }

    pub(crate) fn parse(metadata: &Value) -> Outcome<Self> {
        let path = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).ok_or_else(|| format!("cargo metadata has no {key}"))
        };
        let root = path("workspace_root")?;
        let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
        let packages = packages.iter().map(|p| package(&root, p)).collect::<Outcome<Vec<_>>>()?;
        Ok(Self { root, packages })
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.name == name)
    }

    /// `path` as it is shown to people.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

fn package(root: &Path, value: &Value) -> Outcome<Package> {
    let name = value["name"].as_str().ok_or("a package has no name")?.to_owned();
    let manifest = value["manifest_path"].as_str().ok_or("a package has no manifest_path")?;
    let dir = Path::new(manifest).parent().ok_or("a manifest has no directory")?.to_owned();
    let dependencies = value["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let targets = value["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Package {
        role: Role::of(root, &dir),
        dependencies: dependencies.iter().filter_map(dependency).collect(),
        roots: targets.iter().filter_map(root_file).collect(),
        tests: targets
            .iter()
            .filter(|t| has_kind(t, &["test"]))
            .filter_map(|t| t["name"].as_str().map(str::to_owned))
            .collect(),
        name,
        dir,
    })
}

fn dependency(value: &Value) -> Option<Dependency> {
    let kind = match value["kind"].as_str() {
        Some("dev") => DependencyKind::Dev,
        Some("build") => DependencyKind::Build,
        _ => DependencyKind::Normal,
    };
    Some(Dependency {
        name: value["name"].as_str()?.to_owned(),
        kind,
        path: value["path"].as_str().map(PathBuf::from),
    })
}

fn root_file(target: &Value) -> Option<(PathBuf, TargetKind)> {
    let kind =
        if has_kind(target, &["test", "bench", "example"]) { TargetKind::Test } else { TargetKind::Product };
    Some((target["src_path"].as_str()?.into(), kind))
}

fn has_kind(target: &Value, kinds: &[&str]) -> bool {
    let own = target["kind"].as_array().map(Vec::as_slice).unwrap_or_default();
    own.iter().filter_map(Value::as_str).any(|kind| kinds.contains(&kind))
}
