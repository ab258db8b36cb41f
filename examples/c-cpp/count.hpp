// Counts the words of a text.
#pragma once

#include <string>
#include <utility>
#include <vector>

// The words of `text`, the most frequent first, then by the alphabet.
std::vector<std::pair<std::string, int>> count(const std::string &text);
