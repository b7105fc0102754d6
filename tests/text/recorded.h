/* recorded.h - JSON files of recorded texts.  Some texts have zero bytes, which the JSON reader
 * refuses: they are read as U+F8F7, which no recorded text has, and turned back one by one. */
#ifndef APUS_TESTS_RECORDED_H
#define APUS_TESTS_RECORDED_H

#include "file.h"
#include "harness.h"
#include "json.h"
#include "str.h"

static inline apus_status recorded_open(cJSON **out, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    apus_status st = apus_file_read(&text, &n, path, 64u << 20);

    *out = NULL;
    if (st == APUS_OK) {
        for (char *p = text; (p = strstr(p, "\\u0000")); p += 6)
            memcpy(p + 2, "f8f7", 4);
        st = apus_json_parse(out, text, n, path);
    }
    apus_free(text);
    return st;
}

/* The text of a member with its zero bytes, in `s`. */
static inline void recorded_text(apus_str *s, const cJSON *row, const char *key)
{
    const char *p = apus_json_string(row, key, "");

    apus_str_clear(s);
    apus_str_add(s, "");
    while (*p) {
        if (!strncmp(p, "\xef\xa3\xb7", 3)) {
            apus_str_add_bytes(s, "", 1);
            p += 3;
        } else {
            apus_str_add_bytes(s, p++, 1);
        }
    }
}

/* Two texts with their lengths; prints the start of what differs. */
static inline void recorded_equal(const char *a, size_t n_a, const char *b, size_t n_b,
                                  const char *file, int line)
{
    harness_check(n_a == n_b && !memcmp(a, b, n_a), file, line, "'%.200s' (%zu) == '%.200s' (%zu)",
                  a, n_a, b, n_b);
}

#endif
