//! `[api]` of an agentkernel.toml: what `serve --config FILE` reads of it. Nothing that was only found is ever asked.

use agentkernel_model::{
    Error, Kind, Result,
    secret::{Secret, SecretName},
    text::printable,
};
use serde::Deserialize;
use std::{fmt, ops::Range, path::PathBuf};
use zeroize::Zeroizing;

/// Where a server's keys come from, and what it lets callers do.
#[derive(Debug, Default)]
pub struct ApiConfig {
    pub api_key: Option<Secret>,
    /// The variable that holds a key.
    pub api_key_env: Option<SecretName>,
    pub allow_sudo_exec: bool,
    pub control_socket: Option<PathBuf>,
}

/// Text that is wiped.
struct Hidden(Zeroizing<String>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Api {
    api_key: Option<Hidden>,
    api_key_env: Option<String>,
    #[serde(default)]
    allow_sudo_exec: bool,
    control_socket: Option<PathBuf>,
}

/// The rest of the file is other verbs' affair.
#[derive(Debug, Default, Deserialize)]
struct Document {
    api: Option<Api>,
}

impl ApiConfig {
    /// Reads the `[api]` of `text`, which error messages call `name`.
    ///
    /// # Errors
    /// [`Kind::Config`] with file, line and column; no value is repeated.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let document: Document = toml::from_str(text).map_err(|e| wrong(name, text, &e))?;
        let api = document.api.unwrap_or_default();
        Ok(Self {
            api_key: api.api_key.map(|key| Secret::new(key.0.as_bytes().to_vec())).transpose()?,
            api_key_env: api.api_key_env.map(|name| name.parse()).transpose()?,
            allow_sudo_exec: api.allow_sudo_exec,
            control_socket: api.control_socket,
        })
    }
}

/// The parser's first line names the key, and never its value.
fn wrong(name: &str, text: &str, error: &toml::de::Error) -> Error {
    let (line, column) = position(text, error.span().unwrap_or(0..0));
    let what = printable(error.message().lines().next().unwrap_or("not TOML"));
    Error::new(Kind::Config, format!("{}:{line}:{column}: {what}", printable(name)))
        .with_hint("[api] has api_key, api_key_env, allow_sudo_exec and control_socket")
}

fn position(text: &str, span: Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    (line, before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_never_shown() {
        let text = "[sandbox]\nname = 'x'\n[api]\napi_key = 'sk-hidden'\napi_key_env = 'AK_KEY'\nallow_sudo_exec = true\n";
        let api = ApiConfig::parse("f.toml", text).unwrap();
        assert_eq!(api.api_key.as_ref().unwrap().reveal(), b"sk-hidden");
        assert_eq!(api.api_key_env.as_ref().unwrap().as_str(), "AK_KEY");
        assert!(api.allow_sudo_exec && !format!("{api:?}").contains("sk-hidden"));
    }

    #[test]
    fn a_file_without_api_says_nothing() {
        let api = ApiConfig::parse("f.toml", "[sandbox]\nname = 'x'\n").unwrap();
        assert!(api.api_key.is_none() && api.api_key_env.is_none());
    }

    #[test]
    fn mistakes_are_placed_and_show_no_value() {
        for text in [
            "[api]\napi_kee = 'sk-hidden'\n",
            "[api]\napi_key = ['sk-hidden']\n",
            "[api]\napi_key = 'sk-hidden\n",
        ] {
            let error = ApiConfig::parse("f.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("f.toml:2:") && !error.contains("sk-hidden"), "{error}");
        }
    }
}
