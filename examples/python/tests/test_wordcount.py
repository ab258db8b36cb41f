import unittest

from wordcount import count


class WordCount(unittest.TestCase):
    def test_frequent_words_come_first(self):
        self.assertEqual(count("b a b"), [("b", 2), ("a", 1)])

    def test_nothing_has_no_words(self):
        self.assertEqual(count(" \n"), [])


if __name__ == "__main__":
    unittest.main()
