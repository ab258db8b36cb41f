//! Grammars of sizes, processor shares and durations.

use crate::{Error, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A number of bytes: `512`, `512MB`, `2g`, `1.5GiB`. Units are powers of 1,024, as in `docker run --memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn from_mib(mib: u32) -> Self {
        Self((mib as u64) << 20)
    }

    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = || {
            Error::invalid(format!("'{}' is not a size", printable(text)))
                .with_hint("write a number and a unit, such as 512MB or 2GB")
        };
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(fail()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let parts_ok = !whole.is_empty()
            && fraction.len() <= 6
            && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
            && (fraction.is_empty() != number.contains('.'));
        if !parts_ok {
            return Err(fail());
        }
        let unit = 1_u64 << shift;
        let whole = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(fail)?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| fail())?);
        let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().map_err(|_| fail())? };
        let part = u64::try_from(part * u128::from(unit) / scale).map_err(|_| fail())?;
        whole.checked_add(part).map(Self).ok_or_else(fail)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GB"), (20, "MB"), (10, "KB")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A share of processors in thousandths: `0.5`, `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(u32);

impl Cpus {
    /// The least share that schedulers honour: one hundredth of a processor.
    pub const MIN: Self = Self(10);
    pub const MAX: Self = Self(1_024_000);

    #[must_use]
    pub const fn from_whole(cpus: u16) -> Self {
        Self(cpus as u32 * 1000)
    }

    #[must_use]
    pub const fn from_milli(milli: u32) -> Self {
        Self(milli)
    }

    #[must_use]
    pub const fn milli(self) -> u32 {
        self.0
    }
}

impl FromStr for Cpus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = || {
            Error::invalid(format!("'{}' is not a number of processors", printable(text)))
                .with_hint("write a number from 0.01 to 1024, such as 0.5 or 2")
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 3 || whole.len() > 5 {
            return Err(fail());
        }
        let milli: u32 = format!("{whole}{fraction:0<3}").parse().map_err(|_| fail())?;
        let cpus = Self(milli);
        if (Self::MIN..=Self::MAX).contains(&cpus) { Ok(cpus) } else { Err(fail()) }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

/// Parses `90`, `45s`, `30m`, `1h`, `3d` and compounds such as `2h30m`; bare numbers are seconds.
///
/// # Errors
/// [`crate::Kind::Invalid`] for anything else, and for more than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let fail = || {
        Error::invalid(format!("'{}' is not a duration", printable(text)))
            .with_hint("write a number with a unit, such as 45s, 30m, 1h, 3d or 2h30m")
    };
    let mut total = 0_u64;
    let mut last_unit = u64::MAX;
    let mut rest = text;
    if text.is_empty() {
        return Err(fail());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| fail())?;
        let unit = match tail.bytes().next() {
            None if total == 0 && last_unit == u64::MAX => 1,
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3_600,
            Some(b'd') => 86_400,
            _ => return Err(fail()),
        };
        if unit >= last_unit {
            return Err(fail());
        }
        last_unit = unit;
        total = number.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(fail)?;
        rest = tail.get(1..).unwrap_or("");
    }
    if total > 100 * 366 * 86_400 { Err(fail()) } else { Ok(Duration::from_secs(total)) }
}
