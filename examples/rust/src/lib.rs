//! Counts the words of a text.

use std::{cmp::Reverse, collections::BTreeMap};

/// The words of `text`, the most frequent first, then by the alphabet.
pub fn count(text: &str) -> Vec<(&str, usize)> {
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_insert(0) += 1;
    }
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_by_key(|(_, times)| Reverse(*times));
    words
}
