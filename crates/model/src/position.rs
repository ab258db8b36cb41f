//! Where a reader of a command's two outputs is.

use crate::{Error, Result, text::printable};
use std::{fmt, str::FromStr};

/// How many bytes of each output came before. As text two numbers with a hyphen between, such as `120-45`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPosition {
    pub stdout: u64,
    pub stderr: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stdout, self.stderr)
    }
}

impl FromStr for LogPosition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            // What a file can have at most.
            is_number.then(|| digits.parse().ok()).flatten().filter(|n| i64::try_from(*n).is_ok())
        };
        let both = text.split_once('-').and_then(|(out, err)| Some((number(out)?, number(err)?)));
        let (stdout, stderr) = both.ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            Error::invalid(format!("'{}' is no position in the output of a command", printable(&shown)))
                .with_hint("it is the id of an event, such as 120-45; without one everything is told")
        })?;
        Ok(Self { stdout, stderr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_spelling() {
        let position: LogPosition = "120-9223372036854775807".parse().unwrap();
        assert_eq!(position, LogPosition { stdout: 120, stderr: i64::MAX as u64 });
        assert_eq!(position.to_string().parse::<LogPosition>().unwrap(), position);
        for wrong in
            ["", "-", "1", "1-", "-1", "+1-2", "1-2-3", "1--2", " 1-2", "1-9223372036854775808", "\u{661}-1"]
        {
            assert!(wrong.parse::<LogPosition>().is_err(), "{wrong}");
        }
    }
}
