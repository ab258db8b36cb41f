//! The table of languages: their images, the files of their projects, their commands.

use agentkernel_model::{Error, Result, image::ImageRef, suggest, text::printable};
use std::str::FromStr;

/// One row. Its place in [`LANGUAGES`] decides between languages whose files lie side by side.
#[derive(Debug)]
pub(crate) struct Language {
    pub(crate) image: &'static str,
    /// Names of direct children of the project; `*.x` matches by suffix.
    pub(crate) files: &'static [&'static str],
    /// Base names of programs.
    pub(crate) commands: &'static [&'static str],
}

/// What runs when nothing is recognised.
pub(crate) const DEFAULT_IMAGE: &str = "alpine:3.20";

const JAVA: &str = "eclipse-temurin:21-alpine";

pub(crate) const LANGUAGES: [Language; 14] = [
    Language {
        image: "node:22-alpine",
        files: &["package.json", "yarn.lock", "pnpm-lock.yaml", "package-lock.json", "bun.lockb"],
        commands: &["node", "npm", "npx", "yarn", "pnpm", "bun", "tsx", "ts-node"],
    },
    Language {
        image: "rust:1.85-alpine",
        files: &["Cargo.toml", "Cargo.lock"],
        commands: &["cargo", "rustc", "rustup", "rustfmt", "clippy"],
    },
    Language { image: "golang:1.23-alpine", files: &["go.mod", "go.sum"], commands: &["go", "gofmt"] },
    Language {
        image: "python:3.12-alpine",
        files: &[
            "pyproject.toml",
            "requirements.txt",
            "Pipfile",
            "setup.py",
            "setup.cfg",
            "poetry.lock",
            "uv.lock",
        ],
        commands: &["python", "python3", "pip", "poetry", "uv", "pip3", "pytest", "ruff"],
    },
    Language {
        image: "ruby:3.3-alpine",
        files: &["Gemfile", "Gemfile.lock", "*.gemspec"],
        commands: &["ruby", "bundle", "rails", "gem", "bundler", "rake"],
    },
    Language {
        image: JAVA,
        files: &["pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle"],
        commands: &["java", "mvn", "gradle", "javac", "gradlew"],
    },
    // Kotlin has no command of its own: its projects are built by Java's.
    Language { image: JAVA, files: &["*.kt"], commands: &[] },
    Language {
        image: "mcr.microsoft.com/dotnet/sdk:8.0",
        files: &["*.csproj", "*.sln", "*.fsproj", "global.json"],
        commands: &["dotnet", "csc", "fsc"],
    },
    Language {
        image: "gcc:14-bookworm",
        files: &["Makefile", "CMakeLists.txt", "configure", "*.c", "*.cpp", "*.h"],
        commands: &["gcc", "g++", "make", "cmake", "clang", "clang++", "cc"],
    },
    Language {
        image: "php:8.3-alpine",
        files: &["composer.json", "composer.lock", "*.php"],
        commands: &["php", "composer"],
    },
    Language {
        image: "elixir:1.16-alpine",
        files: &["mix.exs", "mix.lock"],
        commands: &["elixir", "mix", "iex"],
    },
    Language { image: DEFAULT_IMAGE, files: &["*.sh"], commands: &["bash", "sh", "zsh", "ash"] },
    Language {
        image: "nickblah/lua:5.4-alpine",
        files: &["*.lua", ".luacheckrc"],
        commands: &["lua", "luajit", "luarocks"],
    },
    Language {
        image: "hashicorp/terraform:1.10",
        files: &["*.tf", "*.tfvars", "terraform.tfstate"],
        commands: &["terraform"],
    },
];

/// The words of `sandbox.runtime`.
pub(crate) const RUNTIMES: [&str; 9] =
    ["base", "python", "node", "go", "rust", "ruby", "java", "c", "dotnet"];

fn runtime_image(runtime: &str) -> Option<&'static str> {
    Some(match runtime {
        "base" => DEFAULT_IMAGE,
        "python" => "python:3.12-alpine",
        "node" => "node:22-alpine",
        "go" => "golang:1.23-alpine",
        "rust" => "rust:1.85-alpine",
        "ruby" => "ruby:3.3-alpine",
        "java" => JAVA,
        "c" => "gcc:14-bookworm",
        "dotnet" => "mcr.microsoft.com/dotnet/sdk:8.0",
        _ => return None,
    })
}

/// The image that a `sandbox.runtime` stands for.
#[derive(Debug)]
pub(crate) struct Runtime(ImageRef);

impl Runtime {
    pub(crate) fn into_image(self) -> ImageRef {
        self.0
    }
}

impl FromStr for Runtime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match runtime_image(text) {
            Some(image) => image.parse().map(Self),
            None => Err(Error::invalid(format!("'{}' is not a runtime", printable(text)))
                .with_hint(suggest::hint(text, &RUNTIMES))),
        }
    }
}

/// The language that a program belongs to, by its exact base name.
pub(crate) fn of_command(base_name: &str) -> Option<&'static Language> {
    LANGUAGES.iter().find(|language| language.commands.contains(&base_name))
}

impl Language {
    /// Whole names of files that speak for it, the likeliest first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().copied().filter(|pattern| !pattern.starts_with('*'))
    }

    pub(crate) fn has_suffixes(&self) -> bool {
        self.suffixes().next().is_some()
    }

    /// Whether a child of a project speaks for this language by the end of its name.
    pub(crate) fn claims_by_suffix(&self, name: &str) -> bool {
        // A file called just `.c` is hidden, not C.
        self.suffixes().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
    }

    fn suffixes(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().filter_map(|pattern| pattern.strip_prefix('*'))
    }
}
