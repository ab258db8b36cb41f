//! JSON that belongs to others: looked at with positions, and changed in place, so that all else stays as it is written.

use super::unmarked;
use crate::{bound::shortened, source::Source};
use agentkernel_model::{Error, Result, text::printable};
use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Object, ObjectProp, Value},
    common::Ranged,
    cst::{CstInputValue, CstObject, CstRootNode},
    parse_to_ast,
};

/// What may be in it beside JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum Dialect {
    /// Nothing.
    Strict,
    /// Comments.
    Commented,
}

impl Dialect {
    const fn options(self) -> ParseOptions {
        ParseOptions {
            allow_comments: matches!(self, Self::Commented),
            allow_trailing_commas: false,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        }
    }
}

/// What stands at the two names, from the top.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// The value as plain JSON.
    Value(serde_json::Value),
}

/// Looks for `names[0]`, which must be an object where it is there, and in it for `names[1]`.
///
/// # Errors
/// For broken JSON, and where something else than an object or a name twice stands on the way.
pub(super) fn find(source: Source<'_>, names: [&str; 2], dialect: Dialect) -> Result<Found> {
    let parsed =
        parse_to_ast(source.text, &CollectOptions::default(), &dialect.options()).map_err(|error| {
            let range = error.range();
            let what = printable(&error.kind().to_string().to_lowercase());
            source.error(range.start..range.end, what).with_hint("mend the file, or move it away")
        })?;
    let top = match &parsed.value {
        Some(Value::Object(object)) => object,
        Some(other) => return Err(no_object(source, other, "it")),
        None => return Ok(Found::Nothing),
    };
    let Some(outer) = one(source, top, names[0])? else { return Ok(Found::Nothing) };
    let Value::Object(outer) = &outer.value else {
        return Err(no_object(source, &outer.value, &format!("'{}'", names[0])));
    };
    let inner = one(source, outer, names[1])?;
    Ok(inner.map_or(Found::Nothing, |inner| Found::Value(inner.value.clone().into())))
}

/// The property `name`: readers differ in which of two counts.
fn one<'v, 'a>(source: Source<'_>, object: &'v Object<'a>, name: &str) -> Result<Option<&'v ObjectProp<'a>>> {
    let mut named = object.properties.iter().filter(|property| property.name.as_str() == name);
    let first = named.next();
    if let Some(second) = named.next() {
        return Err(source
            .error(second.start()..second.end(), format!("'{}' is written twice", shortened(name)))
            .with_hint("take one of them out"));
    }
    Ok(first)
}

fn no_object(source: Source<'_>, value: &Value<'_>, what: &str) -> Error {
    source
        .error(value.start()..value.end(), format!("{what} is no object"))
        .with_hint("write an object in { }, or move the file away")
}

/// `text` with `value` at the two names. [`find`] has looked at it.
///
/// # Errors
/// Where `text` is not what [`find`] takes.
pub(super) fn put(text: &str, names: [&str; 2], value: CstInputValue, dialect: Dialect) -> Result<String> {
    let (mark, plain) = unmarked(text);
    let root = CstRootNode::parse(plain, &dialect.options())
        .map_err(|error| Error::internal("a file that was read cannot be read").with_source(error))?;
    let top = root.object_value_or_set();
    let outer = top.object_value_or_set(names[0]);
    set(&outer, names[1], value);
    let mut written = root.to_string();
    if !written.ends_with('\n') && text.trim().is_empty() {
        written.push('\n');
    }
    Ok(format!("{mark}{written}"))
}

fn set(object: &CstObject, name: &str, value: CstInputValue) {
    match object.get(name) {
        Some(property) => property.set_value(value),
        None => {
            object.append(name, value);
        }
    }
}

/// An object for [`put`].
pub(super) fn object(fields: impl IntoIterator<Item = (&'static str, CstInputValue)>) -> CstInputValue {
    CstInputValue::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
