/* str.h - a growing byte string.  After a failed append `failed` is set and further appends are
 * ignored, so that a text is built without a check on each line and asked once. */
#ifndef APUSI_STR_H
#define APUSI_STR_H

#include "base.h"

typedef struct apus_str {
    char *data; /* NUL-terminated once anything was appended; NULL before */
    size_t len;
    size_t room;
    bool failed;
} apus_str;

void apus_str_add(apus_str *s, const char *text);
void apus_str_add_bytes(apus_str *s, const void *bytes, size_t n);
void apus_str_addf(apus_str *s, const char *fmt, ...) APUS_PRINTF(2, 3);
void apus_str_clear(apus_str *s);   /* keep the room */
void apus_str_release(apus_str *s); /* safe on {0} */

#endif
