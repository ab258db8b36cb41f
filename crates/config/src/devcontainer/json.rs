//! JSON with comments and trailing commas, read with positions.

use crate::{
    bound::{self, shortened},
    source::Source,
};
use agentkernel_model::{Error, Result, text::printable};
use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Array, Object, Value},
    common::Ranged,
    parse_to_ast,
};
use std::{collections::HashSet, ops::Range};

/// Parses `source` to the object that it must be. What JSON5 has beyond comments and trailing commas is refused: editors
/// refuse it too.
pub(super) fn parse<'a>(source: Source<'a>) -> Result<Object<'a>> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(source.text, &CollectOptions::default(), &options).map_err(|error| {
        let range = error.range();
        let what = printable(&error.kind().to_string().to_lowercase());
        source
            .error(range.start..range.end, what)
            .with_hint("see https://containers.dev for how it is written")
    })?;
    match parsed.value {
        Some(Value::Object(object)) => Ok(object),
        Some(other) => Err(source
            .error(span(&other), format!("it is of type {}", type_of(&other)))
            .with_hint("a devcontainer.json is an object in { }")),
        None => Err(source.error(0..0, "it is empty").with_hint("a devcontainer.json is an object in { }")),
    }
}

pub(super) fn span(value: &impl Ranged) -> Range<usize> {
    value.start()..value.end()
}

pub(super) const fn type_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "string",
        Value::NumberLit(_) => "number",
        Value::BooleanLit(_) => "boolean",
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::NullKeyword(_) => "null",
    }
}

/// One property, with its name for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Property<'v, 'a> {
    pub(super) source: Source<'a>,
    pub(super) name: &'v str,
    pub(super) value: &'v Value<'a>,
}

impl<'v, 'a> Property<'v, 'a> {
    pub(super) fn span(&self) -> Range<usize> {
        span(self.value)
    }

    pub(super) fn wrong_type(&self, wanted: &str) -> Error {
        let (name, found) = (printable(&shortened(self.name)), type_of(self.value));
        self.source
            .error(self.span(), format!("'{name}' is of type {found}"))
            .with_hint(format!("write {wanted}"))
    }

    /// `result` of the property's value, an error with its place.
    pub(super) fn located<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.source.locate(self.span(), printable(&shortened(self.name)), &error))
    }

    /// A word or a path.
    pub(super) fn string(&self) -> Result<&'v str> {
        self.text_within(bound::LONGEST_WORD)
    }

    /// A text of at most `most` bytes, none of them NUL.
    pub(super) fn text_within(&self, most: usize) -> Result<&'v str> {
        match self.value {
            Value::StringLit(text) => self.located(bound::text(text.value.as_ref(), most)),
            _ => Err(self.wrong_type("a text in quotes")),
        }
    }

    /// The elements of a list, each under the list's name.
    pub(super) fn items(&self) -> Result<Vec<Self>> {
        match self.value {
            Value::Array(Array { elements, .. }) => {
                self.located(bound::entries(elements.len()))?;
                Ok(elements.iter().map(|value| Property { value, ..*self }).collect())
            }
            _ => Err(self.wrong_type("a list in [ ]")),
        }
    }

    /// The properties of an object, in their order.
    pub(super) fn properties(&self) -> Result<Vec<Self>> {
        match self.value {
            Value::Object(object) => {
                self.located(bound::entries(object.properties.len()))?;
                properties(self.source, object)
            }
            _ => Err(self.wrong_type("an object in { }")),
        }
    }
}

/// The properties of `object`, none of which may be there twice: readers differ in which of them counts.
pub(super) fn properties<'v, 'a>(
    source: Source<'a>,
    object: &'v Object<'a>,
) -> Result<Vec<Property<'v, 'a>>> {
    let mut seen = HashSet::new();
    let mut properties = Vec::with_capacity(object.properties.len());
    for property in &object.properties {
        let name = property.name.as_str();
        if !seen.insert(name) {
            return Err(source
                .error(span(property), format!("'{}' is written twice", printable(&shortened(name))))
                .with_hint("take one of them out"));
        }
        properties.push(Property { source, name, value: &property.value });
    }
    Ok(properties)
}
