/* base_internal.h - what the files of engine/base share among themselves. */
#ifndef APUSI_BASE_INTERNAL_H
#define APUSI_BASE_INTERNAL_H

#include "str.h"

/* Describe a failed call of the operating system: "cannot open /a/b: permission denied".
 * APUS_ERR_MISSING for ENOENT and ENOTDIR, APUS_ERR_MEMORY for ENOMEM, otherwise APUS_ERR_IO. */
apus_status apusi_os_fail(const char *verb, const char *path, int error);

/* Set in cJSON's type word of a number that is a float: printed as Python's repr, 1.0 and not 1. */
#define APUSI_JSON_FLOAT (1 << 10)

/* What apusi_json_scan finds out about a text before cJSON reads it. */
typedef struct apusi_json_notes {
    /* One letter a number, in order: i (written as an integer), b (an integer that a double may not
     * hold), f, n (NaN), p, m (+-Infinity). */
    apus_str numbers;
    apus_str digits;   /* the texts of the numbers b, each with its NUL */
    bool odd;          /* some letter is not i */
    apus_str patched;  /* the text with NaN and Infinity as 0 and spaces, if it has any */
    const char *wrong; /* what is wrong with the text, at byte `wrong_at`; NULL if nothing is */
    size_t wrong_at;
} apusi_json_notes;

/* Check grammar, UTF-8, escapes and depth.  False for a malformed text, or without memory. */
bool apusi_json_scan(apusi_json_notes *notes, const char *text, size_t bytes);

#endif
