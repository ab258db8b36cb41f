"""Counts the words of a text."""

import collections
import sys


def count(text):
    """The words of `text`, the most frequent first, then by the alphabet."""
    counts = collections.Counter(text.split())
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        for word, times in count(file.read())[:3]:
            print(f"{times} {word}")


if __name__ == "__main__":
    main()
