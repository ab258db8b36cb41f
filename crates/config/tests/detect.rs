//! Which image a command or a project gets.

use agentkernel_config::{
    ProjectFiles, Why,
    detect::{MOST_CHILDREN, dockerfile, for_command, for_project, for_server},
    procfile,
};
use agentkernel_model::{Error, Result, image::ImageRef};
use proptest::prelude::*;

struct Tree<'a> {
    names: Vec<&'a str>,
    procfile: Option<&'a str>,
}

impl ProjectFiles for Tree<'_> {
    fn has(&self, name: &str) -> Result<bool> {
        Ok(self.names.contains(&name))
    }

    fn names(&self) -> Result<Option<Vec<String>>> {
        let names = self.names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        Ok(Some(names).filter(|names| names.len() <= MOST_CHILDREN))
    }

    fn procfile(&self) -> Result<Option<String>> {
        Ok(self.procfile.map(str::to_owned))
    }
}

/// A directory that must not be looked at.
struct Unread;

impl ProjectFiles for Unread {
    fn has(&self, _: &str) -> Result<bool> {
        Err(Error::internal("the project was read"))
    }

    fn names(&self) -> Result<Option<Vec<String>>> {
        Err(Error::internal("the project was read"))
    }

    fn procfile(&self) -> Result<Option<String>> {
        Err(Error::internal("the Procfile was read"))
    }
}

fn project<'a>(names: &[&'a str]) -> Tree<'a> {
    Tree { names: names.to_vec(), procfile: None }
}

#[test]
fn a_known_command_decides_alone() {
    for (program, image) in [
        ("node", "node:22-alpine"),
        ("npx", "node:22-alpine"),
        ("python3", "python:3.12-alpine"),
        ("/usr/bin/python3", "python:3.12-alpine"),
        ("pytest", "python:3.12-alpine"),
        ("cargo", "rust:1.85-alpine"),
        ("gofmt", "golang:1.23-alpine"),
        ("rails", "ruby:3.3-alpine"),
        ("mvn", "eclipse-temurin:21-alpine"),
        ("dotnet", "mcr.microsoft.com/dotnet/sdk:8.0"),
        ("g++", "gcc:14-bookworm"),
        ("composer", "php:8.3-alpine"),
        ("mix", "elixir:1.16-alpine"),
        ("luajit", "nickblah/lua:5.4-alpine"),
        ("terraform", "hashicorp/terraform:1.10"),
        ("zsh", "alpine:3.20"),
    ] {
        let found = for_command(program, &Unread, None).unwrap();
        assert_eq!(found.image.to_string(), image, "{program}");
        assert!(matches!(found.why, Why::Command(_)), "{program}");
    }
}

/// Section 3 of the behaviour, row by row: image, files, commands.
const ROWS: [(&str, &str, &str); 14] = [
    (
        "node:22-alpine",
        "package.json yarn.lock pnpm-lock.yaml package-lock.json bun.lockb",
        "node npm npx yarn pnpm bun tsx ts-node",
    ),
    ("rust:1.85-alpine", "Cargo.toml Cargo.lock", "cargo rustc rustup rustfmt clippy"),
    ("golang:1.23-alpine", "go.mod go.sum", "go gofmt"),
    (
        "python:3.12-alpine",
        "pyproject.toml requirements.txt Pipfile setup.py setup.cfg poetry.lock uv.lock",
        "python python3 pip poetry uv pip3 pytest ruff",
    ),
    ("ruby:3.3-alpine", "Gemfile Gemfile.lock x.gemspec", "ruby bundle rails gem bundler rake"),
    (
        "eclipse-temurin:21-alpine",
        "pom.xml build.gradle build.gradle.kts settings.gradle",
        "java mvn gradle javac gradlew",
    ),
    ("eclipse-temurin:21-alpine", "Main.kt", ""),
    ("mcr.microsoft.com/dotnet/sdk:8.0", "x.csproj x.sln x.fsproj global.json", "dotnet csc fsc"),
    (
        "gcc:14-bookworm",
        "Makefile CMakeLists.txt configure x.c x.cpp x.h",
        "gcc g++ make cmake clang clang++ cc",
    ),
    ("php:8.3-alpine", "composer.json composer.lock x.php", "php composer"),
    ("elixir:1.16-alpine", "mix.exs mix.lock", "elixir mix iex"),
    ("alpine:3.20", "x.sh", "bash sh zsh ash"),
    ("nickblah/lua:5.4-alpine", "x.lua .luacheckrc", "lua luajit luarocks"),
    ("hashicorp/terraform:1.10", "x.tf x.tfvars terraform.tfstate", "terraform"),
];

#[test]
fn the_table_is_the_whole_one_and_in_its_order() {
    for (row, (image, files, commands)) in ROWS.iter().enumerate() {
        for command in commands.split_whitespace() {
            let found = for_command(command, &Unread, None).unwrap();
            assert_eq!(found.image.to_string(), *image, "{command}");
            assert_eq!(found.why, Why::Command(command.to_owned()));
        }
        for file in files.split_whitespace() {
            assert_eq!(for_project(&project(&[file]), None).unwrap().image.to_string(), *image, "{file}");
            // Beside a file of any later row it wins, whichever the directory lists first.
            for (_, later, _) in &ROWS[row + 1..] {
                let later = later.split_whitespace().next().unwrap();
                for names in [[file, later], [later, file]] {
                    assert_eq!(
                        for_project(&project(&names), None).unwrap().why,
                        Why::File(file.to_owned()),
                        "{names:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_server_is_known_by_its_project_first() {
    let by = |names: &[&'static str], program| for_server(program, &project(names)).unwrap().why;
    assert_eq!(by(&["go.mod"], Some("npm")), Why::File("go.mod".to_owned()));
    assert_eq!(by(&[], Some("/usr/bin/npm")), Why::Command("npm".to_owned()));
    assert_eq!(by(&[], Some("htop")), Why::Default);
    assert_eq!(by(&[], None), Why::Default);
    let tree = Tree { names: vec!["Procfile"], procfile: Some("web: rails s") };
    assert_eq!(for_server(Some("npm"), &tree).unwrap().why, Why::Procfile("rails".to_owned()));
}

#[test]
fn the_likeliest_dockerfile_is_taken() {
    let of = |names: &[&str]| dockerfile(&project(names)).unwrap();
    let all = [
        "Dockerfile",
        "dockerfile",
        "Dockerfile.dev",
        "Dockerfile.development",
        "Dockerfile.prod",
        "Dockerfile.production",
    ];
    for (index, name) in all.iter().enumerate() {
        let mut names = all[index..].to_vec();
        names.reverse();
        assert_eq!(of(&names), Some(*name));
    }
    assert_eq!(of(&["Dockerfile.txt", "DOCKERFILE", "my.Dockerfile"]), None);
}

#[test]
fn commands_match_exactly() {
    for program in ["python3.12", "Node", "nodejs", "cargo-nextest", "python3/"] {
        let found = for_command(program, &project(&[]), None).unwrap();
        assert_eq!(found.why, Why::Default, "{program}");
    }
}

#[test]
fn project_files_decide_in_the_order_of_the_table() {
    for (names, image) in [
        (&["requirements.txt", "package.json"][..], "node:22-alpine"),
        (&["Makefile", "Cargo.toml"], "rust:1.85-alpine"),
        (&["x.gemspec"], "ruby:3.3-alpine"),
        (&["Main.kt"], "eclipse-temurin:21-alpine"),
        (&["App.csproj"], "mcr.microsoft.com/dotnet/sdk:8.0"),
        (&["main.c", "run.sh"], "gcc:14-bookworm"),
        (&["run.sh", "init.lua"], "alpine:3.20"),
        (&[".luacheckrc"], "nickblah/lua:5.4-alpine"),
        (&["vars.tfvars"], "hashicorp/terraform:1.10"),
    ] {
        assert_eq!(for_project(&project(names), None).unwrap().image.to_string(), image, "{names:?}");
    }
}

/// A directory with known files whose children nobody may list.
struct Unlisted(&'static [&'static str]);

impl ProjectFiles for Unlisted {
    fn has(&self, name: &str) -> Result<bool> {
        Ok(self.0.contains(&name))
    }

    fn names(&self) -> Result<Option<Vec<String>>> {
        Err(Error::internal("the directory was listed"))
    }

    fn procfile(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

#[test]
fn what_a_name_tells_is_not_looked_for_in_a_listing() {
    for (name, image) in [("package.json", "node:22-alpine"), ("uv.lock", "python:3.12-alpine")] {
        let found = for_project(&Unlisted(Vec::leak(vec![name])), None).unwrap();
        assert_eq!((found.image.to_string().as_str(), found.why), (image, Why::File(name.to_owned())));
    }
    assert!(for_project(&Unlisted(&["mix.exs"]), None).is_err(), "a file of an earlier language ends in .kt");
}

#[test]
fn in_a_crowd_only_names_count() {
    let crowd: Vec<String> = (0..MOST_CHILDREN).map(|number| format!("{number}.lua")).collect();
    let mut names: Vec<&str> = crowd.iter().map(String::as_str).collect();
    assert_eq!(for_project(&project(&names), None).unwrap().image.to_string(), "nickblah/lua:5.4-alpine");
    names.push("one more");
    assert_eq!(for_project(&project(&names), None).unwrap().why, Why::Default);
    names.push("terraform.tfstate");
    assert_eq!(for_project(&project(&names), None).unwrap().image.to_string(), "hashicorp/terraform:1.10");
}

#[test]
fn a_glob_needs_more_than_its_suffix() {
    for names in [&[".c"][..], &["notes.kts"], &["c"], &["main.c.orig"]] {
        assert_eq!(for_project(&project(names), None).unwrap().why, Why::Default, "{names:?}");
    }
}

#[test]
fn then_the_procfile_then_the_configuration_then_the_default() {
    let text = "# comment\n\nrelease:\nnonsense\nworker: ./bin/python x\nweb: bundle exec rails server\n";
    let tree = Tree { names: vec!["Procfile", "README.md"], procfile: Some(text) };
    let host = ImageRef::Host;
    let found = for_project(&tree, Some(&host)).unwrap();
    assert_eq!(found.image.to_string(), "ruby:3.3-alpine");
    assert_eq!(found.why.to_string(), "the Procfile's 'bundle'");

    let silent = Tree { names: vec!["Procfile"], procfile: Some("web:\n") };
    assert_eq!(for_project(&silent, Some(&host)).unwrap().why, Why::Config);
    assert_eq!(for_project(&silent, None).unwrap().image.to_string(), "alpine:3.20");

    let beaten = Tree { names: vec!["Procfile", "go.mod"], procfile: Some(text) };
    assert_eq!(for_project(&beaten, Some(&host)).unwrap().why, Why::File("go.mod".to_owned()));
}

#[test]
fn a_file_name_cannot_drive_the_terminal() {
    assert_eq!(Why::File("\u{1b}[2J.sh".to_owned()).to_string(), "the file \\u{1b}[2J.sh");
}

proptest! {
    #[test]
    fn any_procfile_is_read(text in "(?s).{0,300}") {
        for program in procfile::programs(&text) {
            prop_assert!(!program.is_empty());
            prop_assert!(!program.contains(char::is_whitespace));
            prop_assert!(text.contains(program));
        }
    }
}
