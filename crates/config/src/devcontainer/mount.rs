//! `mounts` of a devcontainer.json, as Docker's `--mount` writes them or as objects.

use super::json::Property;
use agentkernel_model::{Error, Result, mount::Access, text::printable};
use jsonc_parser::ast::Value;

/// One mount as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) kind: String,
    pub(super) source: Option<String>,
    pub(super) target: String,
    pub(super) access: Access,
}

pub(super) fn read(property: &Property<'_, '_>) -> Result<Written> {
    let pairs: Vec<(String, String)> = match property.value {
        Value::StringLit(_) => property
            .string()?
            .split(',')
            .map(|part| part.split_once('=').unwrap_or((part, "true")))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect(),
        Value::Object(_) => property
            .properties()?
            .iter()
            .map(|part| match part.value {
                Value::BooleanLit(flag) => Ok((part.name.to_owned(), flag.value.to_string())),
                _ => Ok((part.name.to_owned(), part.string()?.to_owned())),
            })
            .collect::<Result<_>>()?,
        _ => return Err(property.wrong_type("a text or an object")),
    };
    property.located(from_pairs(pairs))
}

fn from_pairs(pairs: Vec<(String, String)>) -> Result<Written> {
    let (mut kind, mut source, mut target, mut access) = ("volume".to_owned(), None, None, Access::ReadWrite);
    for (key, value) in pairs {
        match key.as_str() {
            "type" => kind = value,
            "source" | "src" => source = Some(value).filter(|text| !text.is_empty()),
            "target" | "destination" | "dst" => target = Some(value),
            "readonly" | "ro" => {
                access = match value.as_str() {
                    "false" | "0" => Access::ReadWrite,
                    _ => Access::ReadOnly,
                }
            }
            // Hints about speed, which mean nothing on Linux.
            "consistency" | "external" => {}
            _ => {
                return Err(Error::invalid(format!(
                    "the option '{}' of a mount is not known",
                    printable(&key)
                ))
                .with_hint("write source, target, type and readonly"));
            }
        }
    }
    let target = target.ok_or_else(|| {
        Error::invalid("a mount has no target").with_hint("write source=HOST_PATH,target=PATH,type=bind")
    })?;
    Ok(Written { kind, source, target, access })
}
