//! Templates: configurations with a name, of which one can extend another. Texts are supplied by a [`Source`].

mod builtin;
mod info;
mod specifier;

pub use builtin::builtin;
pub use info::TemplateInfo;
pub use specifier::{Github, Specifier};

use crate::file::Config;
use agentkernel_model::{Error, Kind, Result, name::TemplateName, suggest, text::printable};

/// The most templates of which each extends the next.
pub const MAX_DEPTH: usize = 8;

/// Where the texts of templates come from. Whoever implements it bounds what is read by [`crate::file::MAX_LEN`].
pub trait Source {
    /// The template that somebody saved under `name`; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn saved(&self, name: &TemplateName) -> Result<Option<String>>;

    /// The file at `path`, as it was typed.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn file(&self, path: &str) -> Result<String>;

    /// What is at `url`, an https URL made by [`Github::url`].
    ///
    /// # Errors
    /// When it cannot be fetched.
    fn fetch(&self, url: &str) -> Result<String>;
}

/// Where a template was found. One that was fetched was written by others and can change: it goes through
/// [`crate::trust::restrict`] unless somebody trusts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    Saved,
    File,
    Fetched,
}

/// A template with everything that it extends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// As it was asked for.
    pub name: String,
    pub origin: Origin,
    /// All of it; its `template` holds what the template says about itself.
    pub config: Config,
    /// The templates that it extends, nearest first.
    pub extends: Vec<TemplateName>,
}

/// Reads the template that `specifier` names and those that it extends. A name is looked up among the saved ones, then
/// among the built-in ones.
///
/// # Errors
/// [`Kind::NotFound`] for a name that nobody knows; [`Kind::Config`] for a malformed template, for templates that extend
/// each other, and for more than [`MAX_DEPTH`] of them; what `source` fails with.
pub fn resolve(specifier: &Specifier, source: &dyn Source) -> Result<Template> {
    let (origin, mut config) = match specifier {
        Specifier::Name(name) => by_name(name, source)?,
        Specifier::Path(path) => (Origin::File, Config::parse(path, &source.file(path)?)?),
        Specifier::Github(place) => {
            (Origin::Fetched, Config::parse(&place.to_string(), &source.fetch(&place.url())?)?)
        }
    };
    let mut chain = vec![specifier.to_string()];
    let mut extends = Vec::new();
    while let Some(base) = config.template.extends.take() {
        let again = chain.iter().any(|name| name == base.as_str());
        chain.push(base.as_str().to_owned());
        let shown = || chain.iter().map(|name| printable(name)).collect::<Vec<_>>().join(" -> ");
        if again {
            return Err(Error::new(Kind::Config, format!("templates extend each other: {}", shown()))
                .with_hint("take 'extends' out of one of them"));
        }
        if chain.len() > MAX_DEPTH {
            return Err(Error::new(
                Kind::Config,
                format!("more than {MAX_DEPTH} templates extend each other: {}", shown()),
            )
            .with_hint("write what they say into one of them"));
        }
        config = config.over(by_name(&base, source)?.1);
        extends.push(base);
    }
    Ok(Template { name: specifier.to_string(), origin, config, extends })
}

fn by_name(name: &TemplateName, source: &dyn Source) -> Result<(Origin, Config)> {
    let place = format!("template {name}");
    if let Some(text) = source.saved(name)? {
        return Ok((Origin::Saved, Config::parse(&place, &text)?));
    }
    if let Some((_, text)) = builtin().find(|(known, _)| *known == name.as_str()) {
        return Ok((Origin::BuiltIn, Config::parse(&place, text)?));
    }
    let known: Vec<&str> = builtin().map(|(known, _)| known).collect();
    let hint = match suggest::nearest(name.as_str(), known) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "agentkernel template list".to_owned(),
    };
    Err(Error::new(Kind::NotFound, format!("there is no template '{name}'")).with_hint(hint))
}

#[cfg(test)]
#[path = "../template_tests.rs"]
mod tests;
