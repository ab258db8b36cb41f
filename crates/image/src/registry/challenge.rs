//! `WWW-Authenticate`: what a registry wants to see (RFC 7235).

use reqwest::{
    Url,
    header::{HeaderMap, WWW_AUTHENTICATE},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    /// A token that `realm` gives out for `service`.
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

/// Longer values are nobody's.
const MAX_LEN: usize = 8 << 10;

/// The challenge to answer: a token where that is possible, else a password; `None` when neither is wanted.
pub(crate) fn read(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges: Vec<Challenge> =
        values.filter(|text| text.len() <= MAX_LEN).flat_map(split).filter_map(understand).collect();
    let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(challenges.first()).cloned()
}

struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

fn understand(raw: Raw) -> Option<Challenge> {
    if raw.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !raw.scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |name: &str| {
        let found = raw.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    Some(Challenge::Bearer { realm: Url::parse(&value("realm")?).ok()?, service: value("service") })
}

/// One header may hold several challenges: a word without `=` begins one.
fn split(text: &str) -> Vec<Raw> {
    let mut challenges: Vec<Raw> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let end = rest.find(['=', ' ', '\t', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        let (Some(value), Some(current)) = (after.strip_prefix('='), challenges.last_mut()) else {
            // A value without a scheme, or `=` out of place: skip one character rather than stay.
            rest = after.strip_prefix('=').unwrap_or(after);
            if !word.is_empty() {
                challenges.push(Raw { scheme: word.to_owned(), parameters: Vec::new() });
            }
            continue;
        };
        let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
        current.parameters.push((word.to_owned(), value));
        rest = after;
    }
}

/// A quoted string or a word, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
#[path = "challenge_tests.rs"]
mod tests;
