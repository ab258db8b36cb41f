'use strict';

/** The words of `text`, the most frequent first, then by the alphabet. */
function count(text) {
  const counts = new Map();
  for (const word of text.split(/\s+/).filter(Boolean)) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
}

module.exports = { count };
