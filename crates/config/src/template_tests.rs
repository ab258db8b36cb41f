//! Built-in templates, and how templates are found and extend each other.

use super::*;
use crate::workspace::Share;
use agentkernel_model::{
    policy::{NetworkSwitch, Profile},
    size::ByteSize,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Texts by name, path or URL.
#[derive(Default)]
struct Shelf(BTreeMap<&'static str, String>);

impl Shelf {
    fn with(mut self, name: &'static str, text: &str) -> Self {
        self.0.insert(name, text.to_owned());
        self
    }

    fn get(&self, key: &str) -> Result<String> {
        self.0.get(key).cloned().ok_or_else(|| Error::new(Kind::NotFound, format!("no {key}")))
    }
}

impl Source for Shelf {
    fn saved(&self, name: &TemplateName) -> Result<Option<String>> {
        Ok(self.0.get(name.as_str()).cloned())
    }

    fn file(&self, path: &str) -> Result<String> {
        self.get(path)
    }

    fn fetch(&self, url: &str) -> Result<String> {
        self.get(url)
    }
}

fn template(text: &str, shelf: &Shelf) -> Result<Template> {
    resolve(&text.parse()?, shelf)
}

const SEED: &str = "python node rust go ruby java dotnet php elixir c-cpp shell terraform python-ci node-ci rust-ci \
                    data-science web-dev fullstack";

#[test]
fn the_templates_of_the_seed_are_built_in() {
    let names: Vec<&str> = builtin().map(|(name, _)| name).collect();
    assert_eq!(names, SEED.split_whitespace().collect::<Vec<_>>());
    for (name, text) in builtin() {
        let found = template(name, &Shelf::default()).unwrap();
        assert_eq!(found.origin, Origin::BuiltIn);
        let Config { image, template, ports, network, profile, .. } = &found.config;
        assert!(image.is_some(), "{name} has no image");
        let TemplateInfo {
            description: Some(description),
            category: Some(_),
            help_text: Some(help),
            extends: None,
        } = template
        else {
            panic!("{name}: {template:?}");
        };
        assert!(!description.contains('\n') && help.contains("agentkernel exec NAME"), "{name}");
        assert_eq!(found.config.validate(), [], "{name}");
        assert!(*profile != Some(Profile::Permissive) && found.config.mounts.is_empty(), "{name}");
        assert!(found.config.name.is_none() && found.config.backend.is_none(), "{name}");
        // What a script needs from outside is said.
        if found.config.init_script.is_some() {
            assert!(*network != Some(NetworkSwitch::Off) && text.contains("eeds the network"), "{name}");
        }
        assert!(ports.iter().all(|port| port.host >= 1024), "{name}");
    }
}

#[test]
fn images_are_those_of_detection() {
    for (name, program) in [
        ("python", "python"),
        ("node", "npm"),
        ("rust", "cargo"),
        ("go", "go"),
        ("ruby", "bundle"),
        ("java", "java"),
        ("dotnet", "dotnet"),
        ("php", "php"),
        ("elixir", "mix"),
        ("c-cpp", "g++"),
        ("shell", "sh"),
        ("terraform", "terraform"),
        ("python-ci", "python"),
        ("node-ci", "node"),
        ("rust-ci", "cargo"),
        ("web-dev", "node"),
        ("fullstack", "node"),
    ] {
        let image = crate::languages::of_command(program).unwrap().image;
        let found = template(name, &Shelf::default()).unwrap();
        assert_eq!(found.config.image.unwrap().to_string(), image, "{name}");
    }
}

#[test]
fn templates_for_ci_are_tight_and_extend_their_language() {
    for language in ["python", "node", "rust"] {
        let found = template(&format!("{language}-ci"), &Shelf::default()).unwrap();
        assert_eq!(found.extends, [language.parse().unwrap()]);
        assert_eq!(found.config.profile, Some(Profile::Restrictive));
        assert_eq!(found.config.workspace.share, Some(Share::View));
    }
    let chain = template("fullstack", &Shelf::default()).unwrap();
    assert_eq!(chain.extends, ["web-dev".parse().unwrap(), "node".parse().unwrap()]);
    assert_eq!(chain.config.memory, Some(ByteSize::from_mib(3072)));
    assert_eq!(chain.config.env.len(), 4);
}

#[test]
fn the_documentation_names_each() {
    let page = include_str!("../../../docs/templates.md");
    for (name, text) in builtin() {
        let info = Config::parse(name, text).unwrap().template;
        let row = format!("| `{name}` | {} |", info.description.unwrap());
        assert!(page.contains(&row), "docs/templates.md has no row {row}");
    }
}

#[test]
fn each_kind_of_specifier_has_its_source() {
    let shelf = Shelf::default()
        .with("mine", "[template]\nextends = 'python'")
        .with("node", "sandbox.base_image = 'host'")
        .with("./t.toml", "sandbox.runtime = 'go'")
        .with("https://raw.githubusercontent.com/o-1/r.x/HEAD/a/b.toml", "sandbox.runtime = 'ruby'")
        .with("https://raw.githubusercontent.com/o/r/v1.2/x/t", "[template]\nextends = 'mine'");
    for (specifier, origin, image) in [
        ("mine", Origin::Saved, "python:3.12-alpine"),
        ("node", Origin::Saved, "host"),
        ("web-dev", Origin::BuiltIn, "host"),
        ("./t.toml", Origin::File, "golang:1.23-alpine"),
        ("github:o-1/r.x/a/b.toml", Origin::Fetched, "ruby:3.3-alpine"),
        ("github:o/r/t@v1.2/x", Origin::Fetched, "python:3.12-alpine"),
    ] {
        let found = template(specifier, &shelf).unwrap();
        assert_eq!(
            (found.origin, found.config.image.unwrap().to_string().as_str()),
            (origin, image),
            "{specifier}"
        );
        assert_eq!(found.name, specifier);
    }
}

#[test]
fn mistakes_name_the_template_and_the_place() {
    let shelf = Shelf::default().with("bad", "\nx = 1").with("t.toml", "sandbox.nam = ''");
    for (specifier, kind, message) in [
        ("bad", Kind::Config, "template bad:2:1: unknown key 'x'"),
        ("t.toml", Kind::Config, "t.toml:1:9: unknown key 'nam' in [sandbox]"),
        ("pyton", Kind::NotFound, "there is no template 'pyton'"),
        ("../x", Kind::NotFound, "no ../x"),
        ("..", Kind::Invalid, "'..' is not a valid template name"),
        ("github:a/b", Kind::Invalid, "'github:a/b' is not a file on GitHub"),
    ] {
        let error = template(specifier, &shelf).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    }
    assert_eq!(template("pyton", &shelf).unwrap_err().hint(), Some("did you mean 'python'?"));
}

#[test]
fn circles_and_long_chains_are_refused_by_name() {
    let shelf = Shelf::default()
        .with("a", "template.extends = 'b'")
        .with("b", "template.extends = 'c'")
        .with("c", "template.extends = 'b'")
        .with("self", "template.extends = 'self'")
        .with("python", "template.extends = 'python'");
    for (name, chain) in [("a", "a -> b -> c -> b"), ("self", "self -> self"), ("python", "python -> python")]
    {
        let error = template(name, &shelf).unwrap_err();
        assert_eq!(error.to_string(), format!("templates extend each other: {chain}"));
        assert_eq!(error.kind(), Kind::Config);
    }
    let names = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
    let mut long = Shelf::default().with("n8", "sandbox.runtime = 'go'");
    for pair in names.windows(2) {
        long = long.with(pair[0], &format!("template.extends = '{}'", pair[1]));
    }
    assert_eq!(template("n1", &long).unwrap().extends.len(), 7);
    let error = template("n0", &long).unwrap_err().to_string();
    assert_eq!(error, format!("more than 8 templates extend each other: {}", names.join(" -> ")));
}

#[test]
fn hostile_places_on_github_are_refused() {
    for text in [
        "github:",
        "github:a/b/",
        "github:a/b//c",
        "github:a/b/../c",
        "github:a/b/./c",
        "github:a/b/c@",
        "github:a/b/c@..",
        "github:a/b/c@x/../y",
        "github:-a/b/c",
        "github:a.b/b/c",
        "github:a/../c",
        "github:a/b/c?x",
        "github:a/b/c#x",
        "github:a/b/c%2e",
        "github:a/b/c d",
        "github:a/b/c@x@y",
        "github:a/b/ü",
        "github:a@evil/b/c",
        "github:a/b/c\n",
    ] {
        assert!(text.parse::<Specifier>().is_err(), "{text}");
    }
    let pinned: Specifier = format!("github:a/b/c@{}", "0a".repeat(20)).parse().unwrap();
    assert!(matches!(pinned, Specifier::Github(place) if place.is_pinned()));
}

proptest! {
    #[test]
    fn a_url_stays_in_its_repository(text in "(github:)?[a-z./@:%?#\\\\ -]{0,24}") {
        match text.parse::<Specifier>() {
            Ok(Specifier::Github(place)) => {
                let url = place.url();
                let rest = url.strip_prefix("https://raw.githubusercontent.com/").unwrap();
                prop_assert!(rest.split('/').count() >= 4);
                prop_assert!(!rest.split('/').any(|part| matches!(part, "" | "." | "..")));
                prop_assert!(!rest.contains(['?', '#', '%', '\\', ' ', '@', ':']));
                prop_assert_eq!(place.to_string(), text);
            }
            Ok(Specifier::Name(name)) => prop_assert!(!name.as_str().contains(['/', '.'])),
            Ok(Specifier::Path(path)) => prop_assert_eq!(path, text),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Invalid),
        }
    }
}
