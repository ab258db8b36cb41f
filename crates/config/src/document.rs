//! The tables of one configuration: which there are, and that each is known.

use crate::{
    bound::{self, shortened},
    key::{self, Form, KEYS, Key, Shape, TABLES, Table},
    section::{Section, refusal, unknown_key},
    source::Source,
};
use agentkernel_model::{Error, Result, suggest, text::printable};
use std::{borrow::Cow, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Keys by which other programs take a credential in clear.
const CREDENTIALS: [&str; 3] = ["api_key", "token_id", "token_secret"];

/// A parsed text whose tables and top keys are all known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document<'a> {
    source: Source<'a>,
    root: &'a DeTable<'a>,
}

/// The sections of a document that configure parts which this version lacks.
#[derive(Debug, Default)]
pub(crate) struct Unused {
    pub(crate) sections: Vec<String>,
    /// The keys in them that hold a credential in clear.
    pub(crate) credentials: Vec<String>,
}

impl<'a> Document<'a> {
    /// # Errors
    /// A table or a key at the top that is not known.
    pub(crate) fn new(source: Source<'a>, root: &'a DeTable<'a>) -> Result<Self> {
        for (name, value) in in_order(root) {
            let word = name.get_ref().as_ref();
            match (key::find("", word), at_top().find(|table| table.name == word)) {
                (Some(Key { form: Form::Refused(needs), .. }), _) => {
                    return Err(refusal(source, name.span(), word, needs));
                }
                (Some(_), _) | (_, Some(_)) => {}
                (None, None) => return Err(unknown_top(source, name, value)),
            }
        }
        Ok(Self { source, root })
    }

    /// `[name]`; an absent one reads as an empty one.
    ///
    /// # Errors
    /// When it is no table, or has an unknown or refused key.
    pub(crate) fn section(&self, name: &'static str) -> Result<Section<'a>> {
        let Some(value) = self.root.get(name) else { return Ok(Section::absent(self.source, name)) };
        let table = value.get_ref().as_table().ok_or_else(|| self.not_a_table(name, value))?;
        Section::open(self.source, name, value.span(), table)
    }

    /// Each `[[name]]`; `None` when the list is not written at all.
    ///
    /// # Errors
    /// When it is no list of tables, or one has an unknown or refused key.
    pub(crate) fn list(&self, name: &'static str) -> Result<Option<Vec<Section<'a>>>> {
        let Some(value) = self.root.get(name) else { return Ok(None) };
        let items = value.get_ref().as_array().ok_or_else(|| self.not_a_list(name, value))?;
        bound::entries(items.len()).map_err(|error| self.source.locate(value.span(), name, &error))?;
        let mut sections = Vec::with_capacity(items.len());
        for item in items.iter() {
            let table = item.get_ref().as_table().ok_or_else(|| self.not_a_list(name, item))?;
            sections.push(Section::open(self.source, name, item.span(), table)?);
        }
        Ok(Some(sections))
    }

    /// A top key that is a table of free keys.
    ///
    /// # Errors
    /// When it is no table of texts.
    pub(crate) fn map<T>(
        &self,
        name: &'static str,
        make: impl Fn(&str, &str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let root = Section::top(self.source, self.root);
        root.map(name, make)
    }

    /// What is written and has no effect in this version.
    ///
    /// # Errors
    /// When one of these is not even a table.
    pub(crate) fn unused(&self) -> Result<Unused> {
        let mut unused = Unused::default();
        for (key, value) in in_order(self.root) {
            let Some(table) = at_top().find(|table| key.get_ref() == table.name) else { continue };
            match table.shape {
                Shape::Keys | Shape::List | Shape::Nested => continue,
                Shape::Unused if !value.get_ref().is_table() => {
                    return Err(self.not_a_table(table.name, value));
                }
                Shape::UnusedList if !is_list_of_tables(value) => {
                    return Err(self.not_a_list(table.name, value));
                }
                Shape::Unused | Shape::UnusedList => {}
            }
            unused.sections.push(table.name.to_owned());
            credentials(&mut vec![table.name], value, &mut unused.credentials);
        }
        Ok(unused)
    }

    fn not_a_table(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Error {
        let found = value.get_ref().type_str();
        self.source
            .error(value.span(), format!("'{name}' must be a table, not {found}"))
            .with_hint(format!("write [{name}] on a line of its own, its keys below"))
    }

    fn not_a_list(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Error {
        let found = value.get_ref().type_str();
        self.source
            .error(value.span(), format!("'{name}' must be a list of tables, not {found}"))
            .with_hint(format!("write [[{name}]] on a line of its own for each, its keys below"))
    }
}

fn is_list_of_tables(value: &Spanned<DeValue<'_>>) -> bool {
    value.get_ref().as_array().is_some_and(|items| items.iter().all(|item| item.get_ref().is_table()))
}

/// Looks for credentials below `path`. The parser's nesting limit bounds the depth.
fn credentials<'a>(path: &mut Vec<&'a str>, value: &'a Spanned<DeValue<'a>>, found: &mut Vec<String>) {
    /// As many as a person reads.
    const MOST: usize = 10;
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in in_order(table) {
                path.push(key.get_ref());
                if !CREDENTIALS.contains(&key.get_ref().as_ref()) || !value.get_ref().is_str() {
                    credentials(path, value, found);
                } else if found.len() < MOST {
                    let shown: Vec<String> = path.iter().map(|part| printable(&shortened(part))).collect();
                    found.push(shown.join("."));
                }
                path.pop();
            }
        }
        DeValue::Array(items) => items.iter().for_each(|item| credentials(path, item, found)),
        _ => {}
    }
}

/// One key and its value.
pub(crate) type Entry<'a> = (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

/// The entries of a table as they stand in the text.
pub(crate) fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| start(key.span()));
    entries
}

const fn start(span: Range<usize>) -> usize {
    span.start
}

fn unknown_top(source: Source<'_>, name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Error {
    let word = &shortened(name.get_ref());
    let is_table = value.get_ref().is_table() || is_list_of_tables(value);
    if !is_table {
        return unknown_key(source, name, "");
    }
    let known: Vec<&str> = at_top().map(|Table { name, .. }| *name).chain(top_maps()).collect();
    source
        .error(name.span(), format!("unknown table '{}'", printable(word)))
        .with_hint(suggest::hint(word, &known))
}

/// The tables that stand on their own.
fn at_top() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().filter(|table| table.shape != Shape::Nested)
}

fn top_maps() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(|key| key.table.is_empty() && !key.is_refused()).map(|key| key.name)
}
