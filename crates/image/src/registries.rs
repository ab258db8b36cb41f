//! `registries.toml`: what this machine's owner says about registries.
//!
//! ```toml
//! pull = "missing"                            # or "always", "never"
//!
//! ["docker.io"]
//! mirrors = ["https://mirror.example.com", "http://127.0.0.1:5000"]
//!
//! ["registry.example.com"]
//! blocked = true
//!
//! ["quay.io"]
//! mirrors = ["https://mirror.example.com"]
//! mirrors_only = true                         # the registry itself is never asked
//! ```

use crate::registry::Origin;
use agentkernel_model::{Error, Kind, Result, image::Reference, suggest, text::printable};
use std::{collections::BTreeMap, ops::Range, str::FromStr};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The longest file that is read, in bytes.
pub const MAX_REGISTRIES: usize = 1 << 20;
const KEYS: [&str; 3] = ["mirrors", "mirrors_only", "blocked"];
const PULL: [&str; 3] = ["missing", "always", "never"];

/// The rules of one machine. The default has none: every registry is asked itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    pull: PullPolicy,
    rules: BTreeMap<String, Rule>,
}

/// When an image is pulled that a run needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it is not here.
    #[default]
    Missing,
    /// Every time, to see whether its name means something else by now.
    Always,
    Never,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rule {
    mirrors: Vec<Origin>,
    access: Access,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Access {
    #[default]
    Open,
    MirrorsOnly,
    Blocked,
}

impl Registries {
    /// Reads `text`, which error messages call `name`.
    ///
    /// # Errors
    /// [`Kind::Config`] with file, line and column for broken TOML, unknown keys and bad values.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let source = Source { name, text };
        if text.len() > MAX_REGISTRIES {
            return Err(source.error(0, "the file is longer than 1 MiB"));
        }
        let root = DeTable::parse(text).map_err(|e| {
            let what = printable(e.message().lines().next().unwrap_or("not TOML"));
            source
                .error(e.span().map_or(0, |span| span.start), &what)
                .with_hint("see https://toml.io for how TOML is written")
        })?;
        let mut read = Self::default();
        for (key, value) in root.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("pull", _) => read.pull = source.pull(value)?,
                (host, DeValue::Table(table)) => {
                    let rule = source.rule(host, key.span(), table)?;
                    read.rules.insert(host.to_owned(), rule);
                }
                (other, _) => {
                    let what = format!("unknown key '{}'", printable(other));
                    let hint = match suggest::nearest(other, ["pull"]) {
                        Some(near) => format!("did you mean '{near}'?"),
                        None => "at the top there is 'pull', and a table for each registry, such as [\"docker.io\"]"
                            .to_owned(),
                    };
                    return Err(source.error(key.span().start, &what).with_hint(hint));
                }
            }
        }
        Ok(read)
    }

    #[must_use]
    pub const fn pull_policy(&self) -> PullPolicy {
        self.pull
    }

    /// Where to ask before `registry` itself, in this order.
    pub(crate) fn mirrors(&self, registry: &str) -> &[Origin] {
        self.rules.get(registry).map_or(&[], |rule| &rule.mirrors)
    }

    /// Every place that the owner wrote down: mirrors, and registries that have a table and are not blocked.
    pub(crate) fn places(&self) -> impl Iterator<Item = Origin> {
        self.rules
            .iter()
            .filter(|(_, rule)| rule.access != Access::Blocked)
            .flat_map(|(registry, rule)| rule.mirrors.iter().cloned().chain(Origin::https(registry).ok()))
    }

    /// Whether the registry itself is asked, when its mirrors have nothing.
    pub(crate) fn asks_itself(&self, registry: &str) -> bool {
        self.rules.get(registry).is_none_or(|rule| rule.access == Access::Open)
    }

    /// # Errors
    /// [`Kind::Denied`] when the machine's owner has blocked it, or left it without any mirror to ask.
    pub(crate) fn admit(&self, registry: &str) -> Result<()> {
        match self.rules.get(registry).map(|rule| rule.access) {
            Some(Access::Blocked) => {
                Err(Error::new(Kind::Denied, format!("registry '{registry}' is blocked on this machine"))
                    .with_hint("see 'blocked' in agentkernel's registries.toml"))
            }
            Some(Access::MirrorsOnly) if self.mirrors(registry).is_empty() => Err(Error::new(
                Kind::Denied,
                format!("registry '{registry}' is to be asked through mirrors only, and has none"),
            )
            .with_hint("see 'mirrors' in agentkernel's registries.toml")),
            _ => Ok(()),
        }
    }
}

impl FromStr for PullPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "missing" => Ok(Self::Missing),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(Error::invalid(format!("'{}' is not a pull policy", printable(text)))
                .with_hint(suggest::hint(text, &PULL))),
        }
    }
}

/// The text, for errors with their place in it.
#[derive(Clone, Copy)]
struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// `NAME:LINE:COLUMN: what`, both counted from 1, the column in characters.
    fn error(&self, at: usize, what: &str) -> Error {
        let mut end = at.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Error::new(Kind::Config, format!("{}:{line}:{column}: {what}", printable(self.name)))
    }

    /// `error`, which is about the value at `at`, with its place.
    fn placed(&self, at: Range<usize>, error: &Error) -> Error {
        let placed = self.error(at.start, error.message());
        match error.hint() {
            Some(hint) => placed.with_hint(hint),
            None => placed,
        }
    }

    fn pull(&self, value: &Spanned<DeValue<'_>>) -> Result<PullPolicy> {
        let text = self.text_of("pull", value)?;
        text.parse().map_err(|e| self.placed(value.span(), &e))
    }

    fn text_of<'v>(&self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str> {
        value.get_ref().as_str().ok_or_else(|| {
            let what = format!("'{key}' is of type {}", value.get_ref().type_str());
            self.error(value.span().start, &what).with_hint("write a text in quotes")
        })
    }

    fn rule(&self, host: &str, at: Range<usize>, table: &DeTable<'_>) -> Result<Rule> {
        // A registry is what a reference may name as one.
        let reference = format!("{host}/x").parse::<Reference>();
        if !reference.is_ok_and(|r| r.registry() == host) {
            let what = format!("'{}' is not a registry", printable(host));
            return Err(self
                .error(at.start, &what)
                .with_hint("write it as images name it, in quotes: [\"docker.io\"], [\"localhost:5000\"]"));
        }
        let mut rule = Rule::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "mirrors" => rule.mirrors = self.mirrors(value)?,
                "blocked" if self.boolean("blocked", value)? => rule.access = Access::Blocked,
                "mirrors_only" if self.boolean("mirrors_only", value)? => {
                    // To block says more, in whatever order the two stand.
                    if rule.access == Access::Open {
                        rule.access = Access::MirrorsOnly;
                    }
                }
                "blocked" | "mirrors_only" => {}
                other => {
                    let what = format!("unknown key '{}' in [\"{host}\"]", printable(other));
                    let hint = suggest::hint(other, &KEYS);
                    return Err(self.error(key.span().start, &what).with_hint(hint));
                }
            }
        }
        Ok(rule)
    }

    fn boolean(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<bool> {
        value.get_ref().as_bool().ok_or_else(|| {
            let what = format!("'{key}' is of type {}", value.get_ref().type_str());
            self.error(value.span().start, &what).with_hint("write true or false")
        })
    }

    fn mirrors(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Origin>> {
        let Some(list) = value.get_ref().as_array() else {
            let what = format!("'mirrors' is of type {}", value.get_ref().type_str());
            return Err(self
                .error(value.span().start, &what)
                .with_hint("write a list in [ ], such as [\"https://mirror.example.com\"]"));
        };
        let mirror = |item: &Spanned<DeValue<'_>>| {
            self.text_of("mirrors", item)?.parse().map_err(|e| self.placed(item.span(), &e))
        };
        list.iter().map(mirror).collect()
    }
}

#[cfg(test)]
#[path = "registries_tests.rs"]
mod tests;
