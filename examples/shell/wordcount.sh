#!/bin/sh
# Prints the most frequent words of a file.
set -eu
tr -s ' \t' '\n\n' <"$1" | sort | uniq -c | sort -k1,1nr -k2 | head -n 3 | while read -r times word; do
  echo "$times $word"
done
