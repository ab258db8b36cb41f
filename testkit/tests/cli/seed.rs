//! The lines of the promise, as they stand there: Quick Start, `run`, Auto-Detection, Templates, Maintenance, the vault, Configuration. Images of
//! those names come from a registry on loopback; their programs say which image they are of and how they were called. What
//! the programs themselves do is for `scripts/run-examples.sh`.

use agentkernel_testkit::{
    TestEnv,
    env::{Finished, Invocation, product_binary},
    oci::{Image, ImageConfig, LayerWriter},
    registry::Registry,
};
use serde_json::Value;
use std::path::Path;

const NODE: &str = "node:22-alpine";
const PYTHON: &str = "python:3.12-alpine";
const RUBY: &str = "ruby:3.3-alpine";
const RUST: &str = "rust:1.85-alpine";
const GO: &str = "golang:1.23-alpine";
const POSTGRES: &str = "postgres:16-alpine";
const UBUNTU: &str = "ubuntu:24.04";

const IMAGES: [(&str, &[&str]); 7] = [
    (NODE, &["node", "npm"]),
    (PYTHON, &["python3", "pytest"]),
    (RUBY, &["ruby", "bundle"]),
    (RUST, &["cargo"]),
    (GO, &["go"]),
    (POSTGRES, &["psql"]),
    (UBUNTU, &["apt-get"]),
];

fn image(env: &TestEnv, number: usize, reference: &str, programs: &[&str]) -> Image {
    let place = env.directory("layers");
    let mut layer = LayerWriter::create(place.join(number.to_string())).unwrap();
    layer.busybox().unwrap();
    for program in programs {
        let text = format!("#!/bin/sh\necho \"{reference}: {program} $*\"\n");
        layer.file(&format!("usr/bin/{program}"), 0o755, text.as_bytes()).unwrap();
    }
    let path = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    let config = ImageConfig { env: path.to_vec(), ..ImageConfig::default() };
    Image::new(reference.parse().unwrap(), &config, &[layer.finish().unwrap()])
}

struct World {
    env: TestEnv,
    _registry: Registry,
}

impl World {
    fn new() -> Self {
        let (env, registry) = (TestEnv::new(), Registry::start().unwrap());
        for (number, (reference, programs)) in IMAGES.iter().enumerate() {
            registry.push(&image(&env, number, reference, programs)).unwrap();
        }
        env.registries(&registry.settings());
        Self { env, _registry: registry }
    }

    /// Without this machine's engines, which are not the test's.
    fn agentkernel(&self, words: &[&str]) -> Invocation {
        let nowhere = "unix:///nonexistent/engine.sock";
        self.env.agentkernel(words).env("DOCKER_HOST", nowhere).env("CONTAINER_HOST", nowhere)
    }

    /// A line without its first word, split as a shell splits it.
    fn line(&self, line: &str) -> Finished {
        self.agentkernel(&words(line)).run()
    }

    /// A line that goes well.
    fn ok(&self, line: &str) -> Finished {
        self.line(line).ok()
    }

    /// A line that goes well and prints one.
    fn prints(&self, line: &str, printed: &str) {
        self.ok(line).prints(format!("{printed}\n"));
    }

    fn names(&self) -> Vec<String> {
        let list = self.agentkernel(&["sandbox", "list", "--json"]).run().ok().json();
        list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    }

    fn dry_run(&self, program: &str) -> Value {
        self.agentkernel(&["run", "--dry-run", "--json", "--", program]).run().ok().json()
    }
}

/// Words apart from what stands in double quotes, which is one.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (number, part) in line.split('"').enumerate() {
        if number % 2 == 1 { words.push(part) } else { words.extend(part.split_whitespace()) }
    }
    words
}

#[test]
fn quick_start_runs_as_it_is_written() {
    let world = World::new();
    let said = |image: &str, rest: &str| format!("{image}: {rest}");
    let hello = "console.log('Hello from sandbox!')";
    world.prints(
        "run python3 -c \"print('Hello from sandbox!')\"",
        &said(PYTHON, "python3 -c print('Hello from sandbox!')"),
    );
    world.prints(&format!("run node -e \"{hello}\""), &said(NODE, &format!("node -e {hello}")));
    world.prints(
        "run ruby -e \"puts 'Hello from sandbox!'\"",
        &said(RUBY, "ruby -e puts 'Hello from sandbox!'"),
    );
    world.prints("run npm test", &said(NODE, "npm test"));
    world.prints("run cargo build", &said(RUST, "cargo build"));
    world.prints("run pytest", &said(PYTHON, "pytest "));
    world.ok("sandbox create my-project --template python");
    world.ok("sandbox start my-project");
    world.prints("exec my-project -- pytest", &said(PYTHON, "pytest "));
    world.prints("run --image postgres:16-alpine psql --version", &said(POSTGRES, "psql --version"));
    assert_eq!(world.names(), ["my-project"]);
    world.ok("sandbox remove my-project");
    world.env.assert_nothing_left();
}

#[test]
fn lines_of_run_run_as_they_are_written() {
    let world = World::new();
    world.env.file("project/script.py", "");
    for (line, image) in
        [("python3 script.py", PYTHON), ("npm install", NODE), ("cargo test", RUST), ("go build", GO)]
    {
        world.prints(&format!("run {line}"), &format!("{image}: {line}"));
    }
    world.prints("run --image ubuntu:24.04 apt-get --version", &format!("{UBUNTU}: apt-get --version"));
    world.prints("run --keep npm test", &format!("{NODE}: npm test"));
    let kept = world.names();
    assert_eq!(kept.len(), 1, "{kept:?}");
    world.prints(&format!("exec {} -- npm test", kept[0]), &format!("{NODE}: npm test"));
    world.ok(&format!("sandbox remove {}", kept[0]));
    world.env.file("project/agentkernel.toml", format!("[sandbox]\nbase_image = \"{PYTHON}\"\n"));
    // A named file's image wins over what the command says.
    let named = world.line("run --config ./agentkernel.toml npm test").code(127);
    assert!(named.err().contains("npm"), "{named}");
    world.prints("run --config ./agentkernel.toml pytest", &format!("{PYTHON}: pytest "));
    world.env.assert_nothing_left();
}

/// Languages, files and commands as the table has them.
const TABLE: [(&str, &str, &str); 14] = [
    (NODE, "package.json yarn.lock pnpm-lock.yaml", "node npm npx yarn pnpm bun"),
    (PYTHON, "pyproject.toml requirements.txt Pipfile", "python python3 pip poetry uv"),
    (RUST, "Cargo.toml", "cargo rustc"),
    (GO, "go.mod", "go gofmt"),
    (RUBY, "Gemfile", "ruby bundle rails"),
    ("eclipse-temurin:21-alpine", "pom.xml build.gradle", "java mvn gradle"),
    ("eclipse-temurin:21-alpine", "main.kt", ""),
    ("mcr.microsoft.com/dotnet/sdk:8.0", "main.csproj main.sln", "dotnet"),
    ("gcc:14-bookworm", "Makefile CMakeLists.txt", "gcc g++ make cmake"),
    ("php:8.3-alpine", "composer.json", "php composer"),
    ("elixir:1.16-alpine", "mix.exs", "elixir mix"),
    ("nickblah/lua:5.4-alpine", "main.lua", "lua luajit"),
    ("hashicorp/terraform:1.10", "main.tf main.tfvars", "terraform"),
    ("alpine:3.20", "main.sh", "bash sh zsh"),
];

#[test]
fn the_table_of_languages_is_what_is_detected() {
    let world = World { env: TestEnv::new(), _registry: Registry::start().unwrap() };
    for (image, files, commands) in TABLE {
        for command in commands.split_whitespace() {
            assert_eq!(world.dry_run(command)["spec"]["image"], image, "{command}");
        }
        for file in files.split_whitespace() {
            let path = world.env.file(&format!("project/{file}"), "");
            assert_eq!(world.dry_run("./x")["spec"]["image"], image, "{file}");
            std::fs::remove_file(path).unwrap();
        }
    }
    // The command is asked before the project, and the project's files before its Procfile and its configuration.
    world.env.file("project/agentkernel.toml", format!("[sandbox]\nbase_image = \"{POSTGRES}\"\n"));
    assert_eq!(world.dry_run("./x")["spec"]["image"], POSTGRES);
    let procfile = "web: bundle exec rails server -p $PORT\nworker: python manage.py runworker\n";
    world.env.file("project/Procfile", procfile);
    assert_eq!(world.dry_run("./x")["spec"]["image"], RUBY);
    world.env.file("project/go.mod", "");
    assert_eq!(world.dry_run("./x")["spec"]["image"], GO);
    assert_eq!(world.dry_run("npm")["spec"]["image"], NODE);
}

#[test]
fn lines_of_templates_run_as_they_are_written() {
    let world = World::new();
    let list = world.ok("template list").out();
    assert!(list.contains("python") && list.contains("fullstack"), "{list}");
    world.ok("sandbox create my-project --template python");
    world.ok("sandbox create ci --template rust-ci");
    world.ok("sandbox create my-sandbox --template node");
    world.ok("sandbox start my-sandbox");
    world.ok("template save --from my-sandbox my-custom-template");
    let path = world.env.file("template.toml", format!("[sandbox]\nbase_image = \"{RUBY}\"\n"));
    world.ok(&format!("template add my-template {}", path.display()));
    let run = world.line("run --template my-custom-template npm test");
    // The size of the template is in a file of ours now, and refused where a user cannot have it enforced.
    match run.code {
        Some(0) => drop(run.prints(format!("{NODE}: npm test\n"))),
        _ if world.env.is_root() => panic!("{run}"),
        _ => drop(run.code(125).error_with_hint(&["memory"])),
    }
    world.prints("run --template my-template bundle", &format!("{RUBY}: bundle "));
    world.ok("template remove my-template");
    let list = world.ok("template list").out();
    assert!(list.contains("my-custom-template") && !list.contains("my-template"), "{list}");
    for name in ["my-project", "ci", "my-sandbox"] {
        world.ok(&format!("sandbox remove {name}"));
    }
    world.env.assert_nothing_left();
}

#[test]
fn lines_of_maintenance_run_as_they_are_written() {
    let world = World::new();
    world.ok("sandbox create my-project --template python");
    world.ok("run npm test");
    world.ok("sandbox gc");
    world.ok("sandbox gc --dry-run");
    assert_eq!(world.names(), ["my-project"], "it has not expired");
    world.ok("doctor");
    let stats = world.ok("stats").out();
    assert!(stats.contains(NODE), "{stats}");
    let benchmark = world.ok("benchmark").out();
    assert!(benchmark.contains("native"), "{benchmark}");
    // Of what cannot be measured the reason is told.
    let engines = world.line("benchmark --backends docker,podman").code(125);
    let told = format!("{}{}", engines.out(), engines.err());
    assert!(told.contains("docker") && told.contains("podman"), "{engines}");

    let script = Path::new("/usr/bin/script");
    if !script.exists() {
        println!("skipped: there is no script(1) to make a terminal on which 'clean --all' asks");
        return;
    }
    let command = format!("{} sandbox clean --all", product_binary().display());
    world.env.program(script, &["-qec", &command, "/dev/null"]).input("y\n").run().ok();
    assert_eq!(world.names(), [""; 0]);
    let images = world.env.agentkernel(&["images", "list", "--all", "--json"]).run().ok().json();
    assert_eq!(images, Value::Array(Vec::new()));
    world.env.assert_nothing_left();
}

#[test]
fn lines_of_the_vault_run_as_they_are_written() {
    let world = World::new();
    let set = world.ok("secret set ANTHROPIC_API_KEY sk-ant-...");
    assert!(set.err().contains("list of processes") && !set.err().contains("sk-ant-..."), "{set}");
    world.prints("secret get ANTHROPIC_API_KEY", "sk-ant-...");
    let list = world.ok("secret list");
    assert!(list.out().contains("ANTHROPIC_API_KEY") && list.out().contains("api.anthropic.com"), "{list}");
    assert!(!list.out().contains("sk-ant-..."), "{list}");
    world.ok("secret delete ANTHROPIC_API_KEY");
    world.line("secret get ANTHROPIC_API_KEY").code(125).error_with_hint(&["ANTHROPIC_API_KEY"]);
    world.env.assert_nothing_left();
}

const CONFIGURATION: &str = r#"[sandbox]
name = "my-project"
base_image = "python:3.12-alpine" # Explicit Docker image
[agent]
preferred = "claude" # claude, gemini, codex, opencode
[resources]
vcpus = 2
memory_mb = 1024
[security]
profile = "restrictive" # permissive, moderate, restrictive
network = false # Override: disable network
"#;

#[test]
fn the_configuration_is_taken_as_it_is_written() {
    let world = World::new();
    world.env.file("project/agentkernel.toml", CONFIGURATION);
    let run = world.line("run pytest");
    // Limits that somebody wrote are refused where a user cannot have them enforced.
    if !world.env.is_root() && run.code == Some(125) {
        run.error_with_hint(&["memory"]);
        return;
    }
    run.ok().prints(format!("{PYTHON}: pytest \n"));
    let shown = world.dry_run("./x");
    let (spec, policy) = (&shown["spec"], &shown["spec"]["policy"]);
    assert_eq!(spec["image"], PYTHON, "{shown}");
    assert_eq!((&policy["profile"], &policy["network"]), (&"restrictive".into(), &"off".into()), "{shown}");
    assert_eq!(policy["limits"]["memory"]["required"], 1024 << 20, "{shown}");
    assert_eq!(policy["limits"]["cpus"]["required"], 2000, "{shown}");
    world.env.assert_nothing_left();
}
