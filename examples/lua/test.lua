local wordcount = require("wordcount")

local words, counts = wordcount.count("b a b")
assert(words[1] == "b" and words[2] == "a" and #words == 2 and counts.b == 2)
assert(#wordcount.count(" \n") == 0)
print("2 tests passed")
