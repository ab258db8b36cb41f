require "minitest/autorun"
require "wordcount"

class WordCountTest < Minitest::Test
  def test_frequent_words_come_first
    assert_equal [["b", 2], ["a", 1]], WordCount.count("b a b")
  end

  def test_nothing_has_no_words
    assert_empty WordCount.count(" \n")
  end
end
