local wordcount = require("wordcount")

local file = assert(io.open(arg[1]))
local words, counts = wordcount.count(file:read("a"))
file:close()
for i = 1, 3 do
  print(counts[words[i]] .. " " .. words[i])
end
