//! The images that can be made, under the names that people know, and what goes into each.
//!
//! Programs are those of Debian 12. Where the well-known image has a newer version, the name stays and the version is
//! Debian's; each image says so in `/etc/agentkernel-fixture`.

use agentkernel_model::{Error, Kind, Result, suggest};

/// How much work an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Made in every run of CI.
    Light,
    /// More than a hundred megabytes to download.
    Heavy,
}

/// What an image stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// The tools of busybox, as in images made from Alpine.
    Busybox,
    /// Nothing: a package of the recipe brings the shell.
    Plain,
}

/// What no package brings: in the real image or in Debian, a script makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    Link { path: &'static str, target: &'static str },
    File { path: &'static str, mode: u32, text: &'static str },
    Directory { path: &'static str, mode: u32, owner: u64 },
}

/// An account beside the usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) id: u64,
    pub(super) home: &'static str,
}

/// What one image is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    pub name: &'static str,
    pub weight: Weight,
    pub(super) base: Base,
    /// Packages by layer, lowest first; each layer has what those below it have not.
    pub(super) layers: &'static [&'static [&'static str]],
    pub(super) extras: &'static [Extra],
    pub(super) users: &'static [User],
    pub(super) entrypoint: &'static [&'static str],
    pub(super) command: &'static [&'static str],
    pub(super) env: &'static [(&'static str, &'static str)],
    pub(super) workdir: &'static str,
}

const PATH: (&str, &str) = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
const UTF8: (&str, &str) = ("LANG", "C.UTF-8");

/// The C library below everything, in a layer that many images share.
const LIBC: &[&str] = &["libc-bin", "libc6"];
/// A shell and the usual tools, for what is not made from Alpine.
const TOOLS: &[&str] = &[
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "mawk",
    "sed",
    "tar",
    "util-linux",
];
const TOOL_LINKS: [Extra; 2] = [
    Extra::Link { path: "usr/bin/awk", target: "mawk" },
    Extra::Directory { path: "var/lib/apt/lists/partial", mode: 0o755, owner: 0 },
];

const PLAIN: Recipe = Recipe {
    name: "",
    weight: Weight::Light,
    base: Base::Busybox,
    layers: &[],
    extras: &[],
    users: &[],
    entrypoint: &[],
    command: &["/bin/sh"],
    env: &[PATH],
    workdir: "",
};

/// Takes a first word that is an option, or no program, as arguments of node.
const NODE_ENTRYPOINT: &str = "#!/bin/sh
set -e
if [ $# -gt 0 ]; then
  case $1 in
    -*) set -- node \"$@\" ;;
    *) command -v \"$1\" >/dev/null 2>&1 || set -- node \"$@\" ;;
  esac
fi
exec \"$@\"
";

/// Takes a first word that is an option as arguments of the server.
const POSTGRES_ENTRYPOINT: &str = "#!/bin/sh
set -e
case ${1:-} in
  -*) set -- postgres \"$@\" ;;
esac
exec \"$@\"
";

/// Takes a first word that is an option as arguments of php.
const PHP_ENTRYPOINT: &str = "#!/bin/sh
set -e
case ${1:-} in
  -*) set -- php \"$@\" ;;
esac
exec \"$@\"
";

/// A link at the top of an image is what Debian's alternatives would have made.
pub const RECIPES: [Recipe; 13] = [
    Recipe { name: "alpine:3.20", ..PLAIN },
    Recipe {
        name: "ubuntu:24.04",
        base: Base::Plain,
        layers: &[TOOLS, &["apt", "dpkg"]],
        extras: &TOOL_LINKS,
        command: &["/bin/bash"],
        ..PLAIN
    },
    Recipe {
        name: "postgres:16-alpine",
        layers: &[LIBC, &["postgresql-client"]],
        extras: &[
            Extra::File {
                path: "usr/local/bin/docker-entrypoint.sh",
                mode: 0o755,
                text: POSTGRES_ENTRYPOINT,
            },
            Extra::Directory { path: "var/lib/postgresql/data", mode: 0o700, owner: 70 },
        ],
        users: &[User { name: "postgres", id: 70, home: "/var/lib/postgresql" }],
        entrypoint: &["docker-entrypoint.sh"],
        command: &["postgres"],
        env: &[PATH, UTF8, ("PGDATA", "/var/lib/postgresql/data")],
        ..PLAIN
    },
    Recipe {
        name: "python:3.12-alpine",
        layers: &[LIBC, &["python3", "python3-pip", "python3-pytest"]],
        extras: &[
            Extra::Link { path: "usr/local/bin/python", target: "/usr/bin/python3" },
            Extra::Link { path: "usr/local/bin/pytest", target: "/usr/bin/pytest-3" },
        ],
        command: &["python3"],
        env: &[PATH, UTF8],
        ..PLAIN
    },
    Recipe {
        name: "node:22-alpine",
        layers: &[LIBC, &["nodejs", "npm"]],
        extras: &[
            Extra::File { path: "usr/local/bin/docker-entrypoint.sh", mode: 0o755, text: NODE_ENTRYPOINT },
            Extra::Directory { path: "home/node", mode: 0o755, owner: 1000 },
        ],
        users: &[User { name: "node", id: 1000, home: "/home/node" }],
        entrypoint: &["docker-entrypoint.sh"],
        command: &["node"],
        ..PLAIN
    },
    Recipe {
        name: "ruby:3.3-alpine",
        layers: &[LIBC, &["ruby", "bundler", "ruby-minitest"]],
        extras: &[Extra::Directory { path: "usr/local/bundle", mode: 0o1777, owner: 0 }],
        command: &["irb"],
        env: &[
            ("PATH", "/usr/local/bundle/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            UTF8,
            ("GEM_HOME", "/usr/local/bundle"),
            ("BUNDLE_SILENCE_ROOT_WARNING", "1"),
            ("BUNDLE_APP_CONFIG", "/usr/local/bundle"),
        ],
        ..PLAIN
    },
    Recipe {
        name: "golang:1.23-alpine",
        weight: Weight::Heavy,
        layers: &[LIBC, &["golang-go"]],
        extras: &[
            Extra::Link { path: "usr/local/go", target: "/usr/lib/go" },
            Extra::Directory { path: "go/bin", mode: 0o1777, owner: 0 },
            Extra::Directory { path: "go/src", mode: 0o1777, owner: 0 },
        ],
        env: &[
            (
                "PATH",
                "/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("GOPATH", "/go"),
            ("GOTOOLCHAIN", "local"),
        ],
        workdir: "/go",
        ..PLAIN
    },
    Recipe {
        name: "rust:1.85-alpine",
        weight: Weight::Heavy,
        layers: &[LIBC, &["gcc", "libc6-dev"], &["rustc", "cargo"]],
        extras: &[
            Extra::Link { path: "usr/local/bin/cc", target: "/usr/bin/gcc" },
            Extra::Directory { path: "usr/local/cargo/bin", mode: 0o755, owner: 0 },
        ],
        env: &[
            ("PATH", "/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("CARGO_HOME", "/usr/local/cargo"),
        ],
        ..PLAIN
    },
    Recipe {
        name: "eclipse-temurin:21-alpine",
        weight: Weight::Heavy,
        layers: &[LIBC, &["default-jdk-headless"]],
        extras: &[Extra::Link { path: "opt/java/openjdk", target: "/usr/lib/jvm/default-java" }],
        command: &["jshell"],
        env: &[
            ("PATH", "/opt/java/openjdk/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            UTF8,
            ("JAVA_HOME", "/opt/java/openjdk"),
        ],
        ..PLAIN
    },
    Recipe {
        name: "gcc:14-bookworm",
        base: Base::Plain,
        layers: &[TOOLS, &["gcc", "g++", "libc6-dev", "make"], &["cmake"]],
        extras: &[
            TOOL_LINKS[0],
            Extra::Link { path: "usr/bin/cc", target: "gcc" },
            Extra::Link { path: "usr/bin/c++", target: "g++" },
        ],
        command: &["bash"],
        ..PLAIN
    },
    Recipe {
        name: "php:8.3-alpine",
        layers: &[LIBC, &["php-cli"], &["composer"]],
        extras: &[
            Extra::Link { path: "usr/bin/php", target: "php8.2" },
            Extra::Link { path: "usr/local/bin/php", target: "/usr/bin/php" },
            Extra::File {
                path: "etc/php/8.2/cli/conf.d/20-agentkernel.ini",
                mode: 0o644,
                text: "extension=ctype\nextension=iconv\nextension=phar\nextension=posix\nextension=tokenizer\n",
            },
            Extra::File { path: "usr/local/bin/docker-php-entrypoint", mode: 0o755, text: PHP_ENTRYPOINT },
        ],
        entrypoint: &["docker-php-entrypoint"],
        command: &["php", "-a"],
        ..PLAIN
    },
    Recipe {
        name: "elixir:1.16-alpine",
        weight: Weight::Heavy,
        layers: &[LIBC, &["elixir"]],
        command: &["iex"],
        env: &[PATH, UTF8],
        ..PLAIN
    },
    Recipe {
        name: "nickblah/lua:5.4-alpine",
        layers: &[LIBC, &["lua5.4"]],
        extras: &[
            Extra::Link { path: "usr/local/bin/lua", target: "/usr/bin/lua5.4" },
            Extra::Link { path: "usr/local/bin/luac", target: "/usr/bin/luac5.4" },
        ],
        command: &["lua"],
        ..PLAIN
    },
];

/// The recipe of `name`: a whole name, or its repository's last part, such as `python`.
///
/// # Errors
/// [`Kind::NotFound`], with the nearest name.
pub fn find(name: &str) -> Result<&'static Recipe> {
    let short = |recipe: &Recipe| {
        let repository = recipe.name.split(':').next().unwrap_or_default();
        repository.rsplit('/').next().unwrap_or_default().to_owned()
    };
    RECIPES.iter().find(|r| r.name == name || short(r) == name).ok_or_else(|| {
        let names: Vec<&str> = RECIPES.iter().map(|r| r.name).collect();
        Error::new(Kind::NotFound, format!("there is no fixture image '{name}'"))
            .with_hint(suggest::hint(name, &names))
    })
}
