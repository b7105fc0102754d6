/* tuned.h - a tune file: which algorithm and tile a device is fastest with, problem by problem, as
 * `apus tune` has measured it.
 *
 * JSON in the user's cache folder, one file a device and driver, beside the pipeline cache:
 *
 *     { "format": "apus tune", "version": 1,
 *       "device": NAME, "driver": TEXT, "uuid": HEX, "driver_version": N,
 *       "shaders": HEX,                     hash of this build's shaders
 *       "rows": [ { "problem": "matmul nt 1x576x576 q4_1", "bits": 32,
 *                   "choice": "vec_cpu/2", "ns": N, "default": "dot_cpu", "default_ns": N } ],
 *       "hash": HEX }                       of problems, bits and choices
 *
 * `bits` says to how many algorithms could round their inputs, 32, 16 or 8: a row is for runs where
 * that is the same; with 8, where there is none, that of 16.  A file of another device, driver or
 * build is not used.  A choice that no longer fits is not taken; the default is. */
#ifndef APUSI_TUNED_H
#define APUSI_TUNED_H

#include "json.h"
#include "lower.h"

#define APUS_TUNED_MOST 4096 /* rows */

typedef struct apus_tuned_row {
    char *problem;
    apus_narrow narrow;
    char *choice;
    double ns;
    char *or_else; /* what is taken without the row */
    double or_else_ns;
} apus_tuned_row;

typedef struct apus_tuned {
    apus_tuned_row *rows; /* sorted by problem, then narrow */
    uint32_t n;
    size_t room;
} apus_tuned;

apus_status apus_tuned_create(apus_tuned **out);
void apus_tuned_destroy(apus_tuned **tuned); /* accepts &{NULL} */
/* Take a copy of a row; it replaces one of the same problem.
 * Errors: APUS_ERR_MEMORY, APUS_ERR_SUPPORT (more than APUS_TUNED_MOST). */
apus_status apus_tuned_add(apus_tuned *tuned, const apus_tuned_row *row);
/* The row of a problem, or NULL.  `tuned` may be NULL. */
const apus_tuned_row *apus_tuned_find(const apus_tuned *tuned, const char *problem,
                                      apus_narrow narrow);
/* By what is chosen, not by times; 0 for NULL. */
uint64_t apus_tuned_hash(const apus_tuned *tuned);
/* 32, 16 or 8. */
unsigned apus_tuned_bits(apus_narrow narrow);

/* As JSON, and back.  `where` names the source in texts.  A file for another device, driver or
 * build gives *out NULL and says so in `why`, which is "" else.
 * Errors of reading: APUS_ERR_FORMAT (which row, what), APUS_ERR_SUPPORT (a newer version),
 * APUS_ERR_MEMORY. */
cJSON *apus_tuned_json(const apus_tuned *tuned, const apus_caps *caps);
apus_status apus_tuned_read(apus_tuned **out, apus_str *why, const cJSON *json, const char *where,
                            const apus_caps *caps);

/* The file of a device in the user's cache folder; NULL: no folder is known, or no memory. */
char *apus_tuned_path(const apus_caps *caps);
/* Read a file; *out and `why` as above.  Errors: those of apus_tuned_read, of apus_file_read. */
apus_status apus_tuned_open(apus_tuned **out, apus_str *why, const char *path,
                            const apus_caps *caps);
/* What APUS_TUNE names, else that file.  *out is NULL where there is none, or it is not used.
 * `said` gets a sentence about the file, or nothing where there is none.
 * Errors: of a file that APUS_TUNE names: APUS_ERR_MISSING, APUS_ERR_IO, APUS_ERR_FORMAT,
 * APUS_ERR_SUPPORT; APUS_ERR_MEMORY. */
apus_status apus_tuned_load(apus_tuned **out, apus_str *said, const apus_caps *caps);
/* Write atomically, with the folder.  Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_tuned_save(const apus_tuned *tuned, const apus_caps *caps, const char *path);

#endif
