//! Typed reads out of one table of the configuration, each error with its position.

use crate::source::Source;
use agentkernel_model::{Error, Result, suggest, text::printable};
use std::{ops::Range, ops::RangeInclusive, str::FromStr};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One `[name]` table; absent tables read as empty ones.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    source: Source<'a>,
    name: &'static str,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    /// The table `name` of `root`, of which every key must be among `keys`; `all` are the keys of all tables, as
    /// `table.key`, for the suggestion.
    pub(crate) fn open(
        source: Source<'a>,
        root: &'a DeTable<'a>,
        name: &'static str,
        all: &[&'static str],
    ) -> Result<Self> {
        let Some(value) = root.get(name) else { return Ok(Self { source, name, table: None }) };
        let table = value.get_ref().as_table().ok_or_else(|| {
            source
                .error(value.span(), format!("'{name}' must be a table, not {}", value.get_ref().type_str()))
                .with_hint(format!("write [{name}] on a line of its own, its keys below"))
        })?;
        let known: Vec<&str> = all.iter().filter_map(|full| key_within(full, name)).collect();
        for (key, _) in table {
            if !known.contains(&key.get_ref().as_ref()) {
                return Err(unknown_key(source, key, name, &known, all));
            }
        }
        Ok(Self { source, name, table: Some(table) })
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    /// A text, read by the grammar of `T`.
    pub(crate) fn parsed<T: FromStr<Err = Error>>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = value.get_ref().as_str().ok_or_else(|| self.wrong_type(key, value, "a text in quotes"))?;
        self.grammar(key, value.span(), text).map(Some)
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.get_ref().as_bool().map(Some).ok_or_else(|| self.wrong_type(key, value, "true or false"))
    }

    /// A whole number within `range`.
    pub(crate) fn integer(&self, key: &str, range: RangeInclusive<u32>) -> Result<Option<u32>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number =
            value.get_ref().as_integer().ok_or_else(|| self.wrong_type(key, value, "a whole number"))?;
        let parsed = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| range.contains(n));
        parsed.map(Some).ok_or_else(|| {
            let shown = printable(number.as_str());
            self.source.error(value.span(), format!("'{}.{key}' is {shown}", self.name)).with_hint(format!(
                "write a number from {} to {}",
                range.start(),
                range.end()
            ))
        })
    }

    /// A list of texts, or of whole numbers written without quotes, each read by the grammar of `T`.
    pub(crate) fn list<T: FromStr<Err = Error>>(&self, key: &str) -> Result<Vec<T>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let items = value.get_ref().as_array().ok_or_else(|| self.wrong_type(key, value, "a list in [ ]"))?;
        let mut parsed = Vec::with_capacity(items.len());
        for item in items.iter() {
            let text = match item.get_ref() {
                DeValue::String(text) => text.as_ref(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
                _ => return Err(self.wrong_type(key, item, "a list of texts in quotes")),
            };
            parsed.push(self.grammar(key, item.span(), text)?);
        }
        Ok(parsed)
    }

    fn grammar<T: FromStr<Err = Error>>(&self, key: &str, span: Range<usize>, text: &str) -> Result<T> {
        text.parse().map_err(|error: Error| {
            let place = self.source.error(span, format!("'{}.{key}': {}", self.name, error.message()));
            match error.hint() {
                Some(hint) => place.with_hint(hint),
                None => place,
            }
        })
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> Error {
        let found = value.get_ref().type_str();
        self.source
            .error(value.span(), format!("'{}.{key}' is of type {found}", self.name))
            .with_hint(format!("write {wanted}"))
    }
}

/// `key` of `table.key` when the table is `section`.
fn key_within<'k>(full: &'k str, section: &str) -> Option<&'k str> {
    full.strip_prefix(section)?.strip_prefix('.')
}

/// Refuses tables and stray keys at the top that no section is named after.
pub(crate) fn check_top(source: Source<'_>, root: &DeTable<'_>, all: &[&'static str]) -> Result<()> {
    let mut sections: Vec<&str> = all.iter().filter_map(|full| full.split('.').next()).collect();
    sections.dedup();
    for (key, value) in root {
        let name = key.get_ref().as_ref();
        if sections.contains(&name) {
            continue;
        }
        let kind = if value.get_ref().is_table() { "table" } else { "key" };
        let error = source.error(key.span(), format!("unknown {kind} '{}'", printable(name)));
        let moved = all.iter().find(|full| full.split('.').nth(1) == Some(name));
        return Err(match moved {
            Some(full) if kind == "key" => error.with_hint(format!("did you mean '{full}'?")),
            _ => error.with_hint(suggest::hint(name, &sections)),
        });
    }
    Ok(())
}

fn unknown_key(
    source: Source<'_>,
    key: &Spanned<std::borrow::Cow<'_, str>>,
    section: &str,
    known: &[&str],
    all: &[&'static str],
) -> Error {
    let name = key.get_ref().as_ref();
    let error = source.error(key.span(), format!("unknown key '{}' in [{section}]", printable(name)));
    // The key that was meant: a typo of one here, else the same word in another table, else all of this table.
    if let Some(near) = suggest::nearest(name, known.iter().copied()) {
        return error.with_hint(format!("did you mean '{near}'?"));
    }
    if let Some(full) = all.iter().find(|full| full.split('.').nth(1) == Some(name)) {
        return error.with_hint(format!("did you mean '{full}'?"));
    }
    error.with_hint(format!("one of: {}", known.join(", ")))
}
