defmodule WordCount do
  @moduledoc "Counts the words of a text."

  @doc "The words of `text`, the most frequent first, then by the alphabet."
  def count(text) do
    text
    |> String.split()
    |> Enum.frequencies()
    |> Enum.sort_by(fn {word, times} -> {-times, word} end)
  end

  @doc "Prints the most frequent words of a file."
  def print(path) do
    for {word, times} <- path |> File.read!() |> count() |> Enum.take(3) do
      IO.puts("#{times} #{word}")
    end
  end
end
