//! `[secrets]`: which secrets of the vault go to which host. Values have no place in a file.

use crate::{bound, document::in_order, section::Section, source::Source};
use agentkernel_model::{
    Error, Result,
    secret::{HeaderName, Held, HostPattern, SecretGrant, SecretName},
    suggest,
    text::printable,
};
use toml::{Spanned, de::DeValue};

/// The name of the table.
pub(crate) const TABLE: &str = "secrets";
const FIELDS: [&str; 2] = ["host", "header"];
const FORMS: &str =
    "write KEY = \"api.example.com\", or KEY = { host = \"api.example.com\", header = \"X-Api-Key\" }";

/// The grants, in the order in which they stand in `top`, the document.
///
/// # Errors
/// For what is no name, no host or no header, with its place. No error repeats what was written: it may be a value.
pub(crate) fn read(source: Source<'_>, top: &Section<'_>) -> Result<Vec<SecretGrant>> {
    let Some(value) = top.get(TABLE) else { return Ok(Vec::new()) };
    let table = value.get_ref().as_table();
    let table = table.ok_or_else(|| {
        let found = value.get_ref().type_str();
        source.error(value.span(), format!("'{TABLE}' is of type {found}")).with_hint(FORMS)
    })?;
    bound::entries(table.len()).map_err(|error| source.locate(value.span(), TABLE, &error))?;
    let grant = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let text: &std::borrow::Cow<'_, str> = key.get_ref();
        let name: SecretName = text.parse().map_err(|error| source.locate(key.span(), TABLE, &error))?;
        one(source, name, value)
    };
    in_order(table).into_iter().map(grant).collect()
}

fn one(source: Source<'_>, name: SecretName, value: &Spanned<DeValue<'_>>) -> Result<SecretGrant> {
    let path = format!("{TABLE}.{name}");
    let (mut host, mut header) = (None, None);
    match value.get_ref() {
        DeValue::String(text) => host = Some(parsed::<HostPattern>(source, &path, "a host", text, value)?),
        DeValue::Table(table) => {
            for (field, value) in in_order(table) {
                let text = |what: &str| {
                    let wrong = || source.error(value.span(), format!("'{path}' has {what} that is no text"));
                    value.get_ref().as_str().ok_or_else(|| wrong().with_hint(FORMS))
                };
                match field.get_ref().as_ref() {
                    "host" => host = Some(parsed(source, &path, "a host", text("a host")?, value)?),
                    "header" => {
                        header =
                            Some(parsed::<HeaderName>(source, &path, "a header", text("a header")?, value)?);
                    }
                    other => {
                        let shown = printable(&bound::shortened(other));
                        return Err(source
                            .error(field.span(), format!("unknown key '{shown}' in '{path}'"))
                            .with_hint(suggest::hint(other, &FIELDS)));
                    }
                }
            }
        }
        _ => {
            return Err(source
                .error(value.span(), format!("'{path}' is neither a host nor a table"))
                .with_hint(FORMS));
        }
    }
    Ok(SecretGrant { name, held: Held::Vault, host, header })
}

fn parsed<T: std::str::FromStr<Err = Error>>(
    source: Source<'_>,
    path: &str,
    what: &str,
    text: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<T> {
    text.parse().map_err(|_| {
        source.error(value.span(), format!("'{path}' has {what} that is none")).with_hint(format!(
            "{FORMS}; a value has no place in a file: agentkernel secret set {}",
            path.rsplit('.').next().unwrap_or_default()
        ))
    })
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
