#include "words.h"

#include <string.h>

static const char spaces[] = " \t\r\n";

const char *next_word(const char **text, size_t *length)
{
    const char *word = *text + strspn(*text, spaces);
    *length = strcspn(word, spaces);
    *text = word + *length;
    return *length == 0 ? NULL : word;
}
