#include "count.hpp"

#include <cstdlib>
#include <iostream>

static void check(bool holds, const char *what)
{
    if (!holds) {
        std::cerr << what << '\n';
        std::exit(1);
    }
}

int main()
{
    const std::vector<std::pair<std::string, int>> expected{{"b", 2}, {"a", 1}};
    check(count("b a b") == expected, "frequent words do not come first");
    check(count(" \n").empty(), "nothing has words");
    std::cout << "2 tests passed\n";
}
