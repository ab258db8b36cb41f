//! Typed reads out of one table of the configuration, each error with its position.

use crate::{
    bound::{self, shortened},
    document::in_order,
    key::{self, Form, KEYS, Key},
    source::Source,
};
use agentkernel_model::{Error, Result, suggest, text::printable};
use std::{borrow::Cow, ops::Range, str::FromStr};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One table, whose keys are all known.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    source: Source<'a>,
    name: &'static str,
    /// Where it stands, for what is wrong with it as a whole.
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    pub(crate) const fn absent(source: Source<'a>, name: &'static str) -> Self {
        Self { source, name, span: 0..0, table: None }
    }

    /// The document itself, for the keys that are tables.
    pub(crate) const fn top(source: Source<'a>, root: &'a DeTable<'a>) -> Self {
        Self { source, name: "", span: 0..0, table: Some(root) }
    }

    /// # Errors
    /// A key of `table` that is unknown or refused.
    pub(crate) fn open(
        source: Source<'a>,
        name: &'static str,
        span: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Result<Self> {
        for (word, _) in in_order(table) {
            match key::find(name, word.get_ref()) {
                None => return Err(unknown_key(source, word, name)),
                Some(key) => {
                    if let Form::Refused(needs) = key.form {
                        return Err(refusal(source, word.span(), &key.to_string(), needs));
                    }
                }
            }
        }
        Ok(Self { source, name, span, table: Some(table) })
    }

    /// The table `key` in this one, whose whole name is `name`; an absent one reads as an empty one.
    ///
    /// # Errors
    /// When it is no table, or has an unknown or refused key.
    pub(crate) fn section(&self, key: &str, name: &'static str) -> Result<Self> {
        let Some(value) = self.get(key) else { return Ok(Section::absent(self.source, name)) };
        let table = value.get_ref().as_table().ok_or_else(|| self.wrong_type(key, value, "a table"))?;
        Section::open(self.source, name, value.span(), table)
    }

    /// A mistake of the table as a whole.
    pub(crate) fn error(&self, what: impl std::fmt::Display) -> Error {
        self.source.error(self.span.clone(), what)
    }

    /// A mistake at the value of `key`.
    pub(crate) fn error_at(&self, key: &str, what: impl std::fmt::Display) -> Error {
        let span = self.get(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.source.error(span, what)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// A word or a path, made into something by `make`.
    pub(crate) fn text<T>(&self, key: &str, make: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
        self.long_text(key, |text| make(bound::text(text, bound::LONGEST_WORD)?))
    }

    /// A text of at most `most` bytes, none of them NUL.
    pub(crate) fn text_within(&self, key: &str, most: usize) -> Result<Option<String>> {
        self.long_text(key, |text| bound::text(text, most).map(str::to_owned))
    }

    /// A text as long as the file may be, made into something by `make`.
    pub(crate) fn long_text<T>(&self, key: &str, make: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = value.get_ref().as_str().ok_or_else(|| self.wrong_type(key, value, "a text in quotes"))?;
        self.located(key, value, make(text)).map(Some)
    }

    /// A text, read by the grammar of `T`.
    pub(crate) fn parsed<T: FromStr<Err = Error>>(&self, key: &str) -> Result<Option<T>> {
        self.text(key, str::parse)
    }

    /// A text or a whole number, read as the text that was written.
    pub(crate) fn text_or_number<T>(
        &self,
        key: &str,
        make: impl FnOnce(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return Err(self.wrong_type(key, value, "a text in quotes or a whole number")),
        };
        self.located(key, value, word(text).and_then(make)).map(Some)
    }

    /// A number with or without a fraction, read by the grammar of `T`.
    pub(crate) fn number<T: FromStr<Err = Error>>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err(self.wrong_type(key, value, "a number")),
        };
        self.located(key, value, word(text).and_then(str::parse)).map(Some)
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.get_ref().as_bool().map(Some).ok_or_else(|| self.wrong_type(key, value, "true or false"))
    }

    /// A whole number within the range of its row.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<u32>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number =
            value.get_ref().as_integer().ok_or_else(|| self.wrong_type(key, value, "a whole number"))?;
        let (least, most) = match key::find(self.name, key).map(|key| key.form) {
            Some(Form::Whole { least, most }) => (least, most),
            _ => (0, u32::MAX),
        };
        let parsed =
            u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| (least..=most).contains(n));
        parsed.map(Some).ok_or_else(|| {
            let shown = printable(&shortened(number.as_str()));
            self.source
                .error(value.span(), format!("'{}' is {shown}", self.full(key)))
                .with_hint(format!("write a number from {least} to {most}"))
        })
    }

    /// A list of texts, or of whole numbers written without quotes, each read by the grammar of `T`; `None` when the key
    /// is not written.
    pub(crate) fn list<T: FromStr<Err = Error>>(&self, key: &str) -> Result<Option<Vec<T>>> {
        self.list_of(key, str::parse)
    }

    /// As [`Section::list`], each made into something by `make`.
    pub(crate) fn list_of<T>(&self, key: &str, make: impl Fn(&str) -> Result<T>) -> Result<Option<Vec<T>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let items = value.get_ref().as_array().ok_or_else(|| self.wrong_type(key, value, "a list in [ ]"))?;
        self.located(key, value, bound::entries(items.len()))?;
        let mut parsed = Vec::with_capacity(items.len());
        for item in items.iter() {
            let text = match item.get_ref() {
                DeValue::String(text) => text.as_ref(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
                _ => return Err(self.wrong_type(key, item, "a list of texts in quotes")),
            };
            parsed.push(self.located(key, item, word(text).and_then(&make))?);
        }
        Ok(Some(parsed))
    }

    /// A table of free keys with texts, in the order in which they stand.
    pub(crate) fn map<T>(&self, key: &str, make: impl Fn(&str, &str) -> Result<T>) -> Result<Vec<T>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let wanted = "a table whose values are texts in quotes";
        let table = value.get_ref().as_table().ok_or_else(|| self.wrong_type(key, value, wanted))?;
        self.located(key, value, bound::entries(table.len()))?;
        let mut made = Vec::with_capacity(table.len());
        for (name, value) in in_order(table) {
            let path = format!("{key}.{}", printable(&shortened(name.get_ref())));
            let text =
                value.get_ref().as_str().ok_or_else(|| self.wrong_type(&path, value, "a text in quotes"))?;
            let entry =
                word(name.get_ref()).and_then(|name| make(name, bound::text(text, bound::LONGEST_SCRIPT)?));
            made.push(self.located(&path, value, entry)?);
        }
        Ok(made)
    }

    fn located<T>(&self, key: &str, value: &Spanned<DeValue<'_>>, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.source.locate(value.span(), self.full(key), &error))
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> Error {
        let found = value.get_ref().type_str();
        self.source
            .error(value.span(), format!("'{}' is of type {found}", self.full(key)))
            .with_hint(format!("write {wanted}"))
    }
}

fn word(text: &str) -> Result<&str> {
    bound::text(text, bound::LONGEST_WORD)
}

/// The refusal of something that is known and that this version cannot enforce.
pub(crate) fn refusal(source: Source<'_>, span: Range<usize>, key: &str, needs: &str) -> Error {
    source
        .unsupported(span, format!("'{key}' needs {needs}, which this version does not have"))
        .with_hint("leave it out: a policy that cannot be enforced is refused")
}

/// The refusal of a key, with the one that was meant.
pub(crate) fn unknown_key(source: Source<'_>, key: &Spanned<Cow<'_, str>>, table: &str) -> Error {
    let name = &shortened(key.get_ref());
    let place = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
    let error = source.error(key.span(), format!("unknown key '{}'{place}", printable(name)));
    let usable = |key: &&Key| !key.is_refused();
    let known: Vec<&str> = key::of_table(table).filter(usable).map(|key| key.name).collect();
    // The key that was meant: a typo of one here, else the same word in another table, else all of this table.
    if !table.is_empty()
        && let Some(near) = suggest::nearest(name, known.iter().copied())
    {
        return error.with_hint(format!("did you mean '{near}'?"));
    }
    if let Some(full) = KEYS.iter().filter(usable).find(|key| key.name == name) {
        return error.with_hint(format!("did you mean '{full}'?"));
    }
    if table.is_empty() {
        return error.with_hint("write it below the [table] that it belongs to");
    }
    if known.is_empty() {
        return error.with_hint(format!("[{table}] has no keys that this version obeys"));
    }
    error.with_hint(format!("one of: {}", known.join(", ")))
}
