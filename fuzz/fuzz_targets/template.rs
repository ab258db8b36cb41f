//! How a template is asked for, and templates that extend others: the input is the specifier, a line end, and the text.
#![no_main]

use agentkernel_config::template::{MAX_DEPTH, Source, Specifier, resolve};
use agentkernel_fuzz::refused;
use agentkernel_model::{Kind, Result, name::TemplateName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (specifier, text) = text.split_once('\n').unwrap_or((text, ""));
    let specifier = match specifier.parse::<Specifier>() {
        Ok(specifier) => specifier,
        Err(error) => return refused(&error, &[Kind::Invalid]),
    };
    if let Specifier::Github(place) = &specifier {
        let url = place.url();
        let path = url.strip_prefix("https://raw.githubusercontent.com/").unwrap_or_default();
        assert!(path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\')), "{url}");
        assert!(!path.split('/').any(|part| matches!(part, "" | "." | "..")), "{url}");
    }
    match resolve(&specifier, &One(text)) {
        Ok(template) => assert!(template.extends.len() <= MAX_DEPTH),
        Err(error) => refused(&error, &[Kind::Config, Kind::Unsupported, Kind::NotFound, Kind::Invalid]),
    }
});

/// Every template has the same text.
struct One<'a>(&'a str);

impl Source for One<'_> {
    fn saved(&self, _: &TemplateName) -> Result<Option<String>> {
        Ok((!self.0.is_empty()).then(|| self.0.to_owned()))
    }

    fn file(&self, _: &str) -> Result<String> {
        Ok(self.0.to_owned())
    }

    fn fetch(&self, _: &str) -> Result<String> {
        Ok(self.0.to_owned())
    }
}
