//! `agentkernel template VERB`.

use crate::{context::Context, settings, templates::Library};
use agentkernel_config::{
    Config, export,
    template::{self, Origin, Specifier, Template},
    trust,
};
use agentkernel_engine::{Engine, templates::Replace};
use agentkernel_model::{
    Error, Kind, Result,
    name::{SandboxName, TemplateName},
    text::printable,
};
use clap::{Args, Subcommand};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel template list
  agentkernel sandbox create my-project --template python
  agentkernel template save --from my-sandbox my-custom-template
  agentkernel template add my-template ./template.toml
  agentkernel template add github:owner/repository/templates/web.toml
  agentkernel template remove my-template

A template is an agentkernel.toml with a name. A saved one comes before a built-in one of the same name.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Show the templates there are
    #[command(visible_alias = "ls")]
    List(List),
    /// Save what a sandbox was made from as a template
    Save(Save),
    /// Save a file, or one of a repository on GitHub, as a template
    Add(Add),
    /// Remove a saved template
    #[command(visible_alias = "rm")]
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel template list\n  agentkernel template list --json")]
pub(crate) struct List {
    /// Answer with one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel template save --from my-sandbox my-custom-template")]
pub(crate) struct Save {
    /// The sandbox
    #[arg(long, value_name = "SANDBOX")]
    from: SandboxName,

    /// The name of the template
    name: TemplateName,

    /// Replace a template of that name
    #[arg(short, long)]
    force: bool,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentkernel template add my-template ./template.toml\n  agentkernel template add github:owner/repository/templates/web.toml"
)]
pub(crate) struct Add {
    /// NAME PATH, or github:OWNER/REPO/PATH[@REF], whose file name is its name
    #[arg(value_name = "NAME PATH | GITHUB", num_args = 1..=2, required = true)]
    what: Vec<String>,

    /// Replace a template of that name
    #[arg(short, long)]
    force: bool,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel template remove my-template")]
pub(crate) struct Remove {
    /// The template
    name: TemplateName,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// A template as programs see it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    profile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Saved<'a> {
    saved: &'a TemplateName,
    /// What a template that others wrote would not get had it only been found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asks_for: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Removed<'a> {
    removed: &'a TemplateName,
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::List(verb) => verb.json,
            Self::Save(verb) => verb.json,
            Self::Add(verb) => verb.json,
            Self::Remove(verb) => verb.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::List(verb) => verb.execute(context),
            Self::Save(verb) => verb.execute(context),
            Self::Add(verb) => verb.execute(context),
            Self::Remove(verb) => verb.execute(context),
        }
        .map(|()| 0)
    }
}

impl List {
    fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let cwd = settings::current_dir()?;
        let library = Library { engine: &engine, cwd: &cwd };
        let saved = engine.saved_templates()?;
        let builtin = template::builtin().map(|(name, _)| name.to_owned());
        let mut names: Vec<String> = saved.iter().map(ToString::to_string).collect();
        names.extend(builtin.filter(|name| !saved.iter().any(|own| own.as_str() == name)));
        let rows: Vec<Row> = names.into_iter().map(|name| row(name, &library)).collect();
        if self.json {
            return context.printer.json(&rows);
        }
        let dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), printable);
        let line = |row: &Row| {
            let says = row.error.as_ref().map(|e| format!("unusable: {e}"));
            vec![
                row.name.clone(),
                row.source.to_owned(),
                dash(&row.image),
                row.profile.clone(),
                dash(&row.memory),
                dash(&says.or_else(|| row.description.clone())),
            ]
        };
        let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
        context.printer.table(&["NAME", "SOURCE", "IMAGE", "PROFILE", "MEMORY", "DESCRIPTION"], &lines)
    }
}

/// One that is broken is listed, with the reason: the others can still be used.
fn row(name: String, library: &Library<'_>) -> Row {
    let found = name.parse().and_then(|specifier: Specifier| template::resolve(&specifier, library));
    match found {
        Ok(Template { origin, config, .. }) => Row {
            name,
            source: if origin == Origin::BuiltIn { "built-in" } else { "saved" },
            image: config.image.as_ref().map(ToString::to_string),
            profile: config.profile.unwrap_or_default().to_string(),
            memory: config.memory.map(|memory| memory.to_string()),
            description: config.template.description,
            category: config.template.category,
            error: None,
        },
        Err(error) => Row {
            name,
            source: "saved",
            image: None,
            profile: "-".to_owned(),
            memory: None,
            description: None,
            category: None,
            error: Some(error.to_string()),
        },
    }
}

impl Save {
    fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let info = context.block_on(engine.info(&self.from))?;
        let spec = info.spec.as_ref().ok_or_else(|| {
            Error::new(Kind::Conflict, format!("what '{}' was made from cannot be read", self.from))
        })?;
        let meta = export::Meta {
            name: None,
            labels: super::sandbox::labels(&info)?,
            description: info.description.clone(),
            ttl: info.ttl(),
            backend: None,
            template: agentkernel_config::TemplateInfo {
                description: Some(format!("saved from {}", self.from)),
                ..Default::default()
            },
            home: context.settings.home.clone(),
        };
        let text = export::to_toml(spec, &meta)?;
        save(&engine, &self.name, &text, self.force)?;
        tell(context, &self.name, Vec::new(), self.json)
    }
}

impl Add {
    fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let cwd = settings::current_dir()?;
        let (name, specifier) = match self.what.as_slice() {
            [name, path] => (name.parse()?, path.parse::<Specifier>()?),
            [only, ..] => {
                let specifier: Specifier = only.parse()?;
                (file_name(only)?, specifier)
            }
            [] => return Err(Error::invalid("there is nothing to add")),
        };
        let library = Library { engine: &engine, cwd: &cwd };
        let text = match &specifier {
            Specifier::Path(path) => template::Source::file(&library, path)?,
            Specifier::Github(place) => template::Source::fetch(&library, &place.url())?,
            Specifier::Name(other) => {
                return Err(Error::invalid(format!("'{other}' is no path"))
                    .with_hint(format!("agentkernel template add {name} ./{other}.toml")));
            }
        };
        // What cannot be used is not saved.
        let config = Config::parse(&printable(&specifier.to_string()), &text)?;
        // From now on it is this user's own: the last moment to say what that means.
        let asks_for = match &specifier {
            Specifier::Github(_) => trust::restrict(config, None).ignored,
            _ => Vec::new(),
        };
        save(&engine, &name, &text, self.force)?;
        if !asks_for.is_empty() && !self.json {
            context.printer.note(format_args!(
                "{} was written by others and asks for {}; a saved template gets what it asks for",
                printable(&specifier.to_string()),
                asks_for.join(", ")
            ));
        }
        tell(context, &name, asks_for, self.json)
    }
}

/// The name that a file gives its template.
fn file_name(text: &str) -> Result<TemplateName> {
    let path = text.split('@').next().unwrap_or(text);
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".toml").unwrap_or(file).parse().map_err(|e: Error| {
        Error::invalid(format!("'{}' gives the template no name", printable(text)))
            .with_source(e)
            .with_hint(format!("agentkernel template add NAME {}", printable(text)))
    })
}

fn save(engine: &Engine, name: &TemplateName, text: &str, force: bool) -> Result<()> {
    engine.save_template(name, text, if force { Replace::Yes } else { Replace::No })
}

fn tell(context: &Context, name: &TemplateName, asks_for: Vec<String>, json: bool) -> Result<()> {
    if json {
        return context.printer.json(&Saved { saved: name, asks_for });
    }
    context.printer.text(format_args!("saved template '{name}'; use it with --template {name}"))
}

impl Remove {
    fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let name = self.name;
        if !engine.remove_template(&name)? {
            let builtin = template::builtin().any(|(known, _)| known == name.as_str());
            return Err(match builtin {
                true => Error::new(Kind::Denied, format!("template '{name}' is built in"))
                    .with_hint("a saved template of the same name takes its place"),
                false => Error::new(Kind::NotFound, format!("there is no template '{name}'"))
                    .with_hint("agentkernel template list"),
            });
        }
        if self.json {
            return context.printer.json(&Removed { removed: &name });
        }
        context.printer.text(format_args!("removed template '{name}'"))
    }
}
