#include "count.hpp"

#include <fstream>
#include <iostream>
#include <sstream>

int main(int argc, char **argv)
{
    std::ifstream file(argc > 1 ? argv[1] : "");
    if (!file) {
        std::cerr << "usage: wordcount FILE\n";
        return 1;
    }
    std::stringstream text;
    text << file.rdbuf();
    const auto words = count(text.str());
    for (size_t i = 0; i < words.size() && i < 3; ++i) {
        std::cout << words[i].second << ' ' << words[i].first << '\n';
    }
}
