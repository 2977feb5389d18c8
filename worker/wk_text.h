/*
 * wk_text.h - UTF-8 outside, CESU-8 inside.
 *
 * Duktape keeps strings as UTF-8 in which a character beyond U+FFFF stands as
 * two encoded surrogates, and gives a meaning of its own to some invalid byte
 * sequences (symbols, hidden keys): nothing but valid text may go in.
 */
#ifndef WK_TEXT_H
#define WK_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "tn_str.h"

/* Does the text look the same on both sides, i.e. is it valid UTF-8 within U+FFFF? */
bool wk_text_same(struct tn_str s);

/*
 * Both write to `to` if it is not NULL and return the bytes needed.  What is not
 * valid becomes U+FFFD; a lone surrogate is valid inside only.
 */
size_t wk_text_in(char *to, struct tn_str utf8);
size_t wk_text_out(char *to, struct tn_str cesu8);

/* Append the text for outside. */
void wk_text_append(struct tn_buf *b, struct tn_str cesu8);

#endif
