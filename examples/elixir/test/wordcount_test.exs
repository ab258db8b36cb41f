defmodule WordCountTest do
  use ExUnit.Case

  test "frequent words come first" do
    assert WordCount.count("b a b") == [{"b", 2}, {"a", 1}]
  end

  test "nothing has no words" do
    assert WordCount.count(" \n") == []
  end
end
