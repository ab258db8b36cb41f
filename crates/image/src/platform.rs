//! Which machines an image is for.

use agentkernel_model::{Error, Kind, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An operating system and a processor, such as `linux/amd64` or `linux/arm64/v8`, in the words of Go as OCI has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Linux on this machine's processor.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// # Errors
    /// [`Kind::Invalid`] when a part is empty, long, or holds anything but letters, digits, `.`, `_` and `-`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Result<Self> {
        let word = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let variant = variant.filter(|v| !v.is_empty());
        if word(os) && word(architecture) && variant.is_none_or(word) {
            let variant = variant.map(str::to_owned);
            return Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant });
        }
        let shown = [os, architecture, variant.unwrap_or_default()].join("/");
        Err(Error::invalid(format!("'{}' is not a platform", printable(shown.trim_end_matches('/'))))
            .with_hint("a platform is written as linux/amd64 or linux/arm64/v8"))
    }

    /// How well an image for `offered` suits this machine: less is better, `None` not at all. Images that need more of a
    /// processor than its first generation has (amd64/v3, arm64/v9) are for those who name them.
    #[must_use]
    pub fn fit(&self, offered: &Self) -> Option<u8> {
        if (&self.os, &self.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        let basic = match self.architecture.as_str() {
            "amd64" => "v1",
            "arm64" => "v8",
            "arm" => "v7",
            _ => "",
        };
        let wanted = self.variant.as_deref().unwrap_or(basic);
        match offered.variant.as_deref() {
            Some(variant) if variant == wanted => Some(0),
            None => Some(1),
            Some(variant) if variant == basic => Some(2),
            Some(_) => None,
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, '/');
        let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Self::new(os, architecture, parts.next())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

/// The error when an image offers `offered` and nothing for `wanted`.
pub(crate) fn missing<'a>(
    image: &str,
    wanted: &Platform,
    offered: impl Iterator<Item = &'a Platform>,
) -> Error {
    let mut list: Vec<String> = offered.map(Platform::to_string).collect();
    list.sort();
    list.dedup();
    let list = if list.is_empty() { "no platform at all".to_owned() } else { list.join(", ") };
    Error::new(Kind::Unsupported, format!("image '{image}' is not for {wanted}; it offers {list}"))
        .with_hint("take another tag, or build the image for this machine")
}

#[cfg(test)]
#[path = "platform_tests.rs"]
mod tests;
