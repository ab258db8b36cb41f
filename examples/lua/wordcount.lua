-- Counts the words of a text.
local wordcount = {}

-- The words of `text` with their numbers, the most frequent first, then by the alphabet.
function wordcount.count(text)
  local counts, words = {}, {}
  for word in text:gmatch("%S+") do
    if not counts[word] then
      words[#words + 1] = word
    end
    counts[word] = (counts[word] or 0) + 1
  end
  table.sort(words, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    end
    return a < b
  end)
  return words, counts
end

return wordcount
