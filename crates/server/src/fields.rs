//! What callers write in single fields, as values of the model; errors name the field.

use agentkernel_engine::request::Pool;
use agentkernel_model::{Error, Result, mount::VolumeArg, size};
use std::{path::Path, str::FromStr, time::Duration};

/// `text` of the field `field`.
pub(crate) fn parsed<T: FromStr<Err = Error>>(field: &str, text: &str) -> Result<T> {
    text.parse().map_err(|e: Error| {
        let error = Error::new(e.kind(), format!("{field}: {}", e.message()));
        match e.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    })
}

pub(crate) fn each<T: FromStr<Err = Error>>(field: &str, texts: Option<Vec<String>>) -> Result<Vec<T>> {
    texts.unwrap_or_default().iter().map(|text| parsed(field, text)).collect()
}

/// What `--volume` says; a relative path is of nobody's directory.
pub(crate) fn volumes(texts: Option<Vec<String>>) -> Result<Vec<VolumeArg>> {
    texts.unwrap_or_default().iter().map(|text| VolumeArg::parse(text, Path::new("/"))).collect()
}

/// What the clients of the reference implementation send for no choice.
pub(crate) fn backend(text: Option<String>) -> Option<String> {
    text.filter(|name| !matches!(name.as_str(), "" | "auto" | "automatic"))
}

/// `fast`, which is true without it.
pub(crate) fn pool(fast: Option<bool>) -> Pool {
    if fast.unwrap_or(true) { Pool::Use } else { Pool::Avoid }
}

/// Such as `1h`; `0` is none.
pub(crate) fn duration(field: &str, text: &str) -> Result<Duration> {
    size::parse_duration(text).map_err(|e| Error::invalid(format!("{field}: {}", e.message())))
}

/// A number of milliseconds; 0 is no limit.
pub(crate) fn timeout(milliseconds: Option<u64>) -> Option<Duration> {
    milliseconds.map(Duration::from_millis).filter(|limit| !limit.is_zero())
}
