#include "count.hpp"

#include "words.h"

#include <algorithm>
#include <map>

std::vector<std::pair<std::string, int>> count(const std::string &text)
{
    std::map<std::string, int> counts;
    const char *rest = text.c_str();
    size_t length = 0;
    while (const char *word = next_word(&rest, &length)) {
        ++counts[std::string(word, length)];
    }
    std::vector<std::pair<std::string, int>> words(counts.begin(), counts.end());
    std::stable_sort(words.begin(), words.end(), [](const auto &a, const auto &b) { return a.second > b.second; });
    return words;
}
