/* Words of a text, in C. */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The next word of *text, whose length is put into *length, or NULL at its end. *text is moved behind the word. */
const char *next_word(const char **text, size_t *length);

#ifdef __cplusplus
}
#endif

#endif
