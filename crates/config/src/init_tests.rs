//! What `init` writes reads back, and so does what it offers.

use super::*;
use crate::template::{Source, builtin, resolve};
use agentkernel_model::{Error, Result, name::TemplateName};

struct Nothing;

impl Source for Nothing {
    fn saved(&self, _: &TemplateName) -> Result<Option<String>> {
        Ok(None)
    }

    fn file(&self, _: &str) -> Result<String> {
        Err(Error::internal("a file was read"))
    }

    fn fetch(&self, _: &str) -> Result<String> {
        Err(Error::internal("something was fetched"))
    }
}

fn name() -> SandboxName {
    "my-project".parse().unwrap()
}

#[test]
fn it_reads_back_with_each_template() {
    for (template, _) in builtin() {
        let template = resolve(&template.parse().unwrap(), &Nothing).unwrap();
        let text = text(&name(), Some(Agent::Gemini), Some(&template));
        let read = Config::parse("agentkernel.toml", &text).unwrap();
        let mut expected = template.config;
        expected.template = Default::default();
        expected.name = Some(name());
        expected.agent = Some(Agent::Gemini);
        assert_eq!(read, expected, "{text}");
    }
}

#[test]
fn without_a_template_only_the_name_is_said() {
    let text = text(&name(), None, None);
    assert!(text.starts_with("#:schema https://raw.githubusercontent.com/thrashr888/agentkernel/main/docs/agentkernel.schema.json\n"));
    let read = Config::parse("agentkernel.toml", &text).unwrap();
    assert_eq!(read, Config { name: Some(name()), ..Config::default() });
}

#[test]
fn what_is_offered_is_right_when_it_is_uncommented() {
    let offered: String = text(&name(), None, None)
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let read = Config::parse("agentkernel.toml", &offered).unwrap();
    assert!(
        read.image.is_some() && read.git.is_some() && read.env.len() == 1 && read.workspace.path.is_some()
    );
    assert_eq!(read.ports.len(), 1);
}

#[test]
fn every_offer_is_a_row_of_the_table() {
    for (table, key, _) in OFFERED {
        assert!(TABLES.contains(&table));
        assert!(
            key.is_empty() || key::find(table, key).is_some_and(|key| !key.is_refused()),
            "{table}.{key}"
        );
    }
}

#[test]
fn the_name_of_a_template_cannot_leave_its_comment() {
    let template = Template {
        name: "x\nsecurity.profile = 'permissive'".to_owned(),
        origin: crate::template::Origin::File,
        config: Config::default(),
        extends: Vec::new(),
    };
    let read = Config::parse("f", &text(&name(), None, Some(&template))).unwrap();
    assert_eq!(read.profile, None);
}
