/* json.h - JSON through cJSON, with the library's traps closed: keys are case-sensitive; bytes
 * after the value, invalid UTF-8 and "\u0000" are errors; an error names line and column.  NaN,
 * Infinity and -Infinity are numbers, as Python writes them.  A number keeps whether it was written
 * as a float (1.0) or an integer (1), and a large integer its digits.  Of equal keys the first one
 * is found.  Values are plain cJSON; free with cJSON_Delete. */
#ifndef APUSI_JSON_H
#define APUSI_JSON_H

#include <cjson/cJSON.h>

#include "base.h"

/* Parse `bytes` bytes of text.  `where` names the source in error texts ("train.jsonl:12").
 * Errors: APUS_ERR_FORMAT ("where: line 3, column 7: ..."), APUS_ERR_MEMORY. */
apus_status apus_json_parse(cJSON **out, const char *text, size_t bytes, const char *where);
/* Read and parse a file of at most 1 GiB.  Errors: as above, and those of apus_file_read. */
apus_status apus_json_read(cJSON **out, const char *path);

/* Members of an object; the given default when absent or null.  A member of another type is an
 * error of the file: use the checked forms where the file is hostile. */
const cJSON *apus_json_get(const cJSON *object, const char *key); /* NULL if absent or null */
const char *apus_json_string(const cJSON *object, const char *key, const char *or_else);
double apus_json_number(const cJSON *object, const char *key, double or_else);
bool apus_json_bool(const cJSON *object, const char *key, bool or_else);
/* A whole number in [least, most].  Errors: APUS_ERR_FORMAT naming the key. */
apus_status apus_json_u64(const cJSON *object, const char *key, uint64_t least, uint64_t most,
                          uint64_t *out);

/* A number that is written as Python's repr does (1e-05, 0.1, 32.0), added to an object, or to an
 * array (key NULL).  False without memory. */
bool apus_json_add_float(cJSON *to, const char *key, double value);
/* The text of a value: `indent` 0 gives Python's one-line form with ", " and ": ", n > 0 the form
 * of json.dump(indent=n), non-ASCII kept as UTF-8.  Caller frees with apus_free; NULL without
 * memory. */
char *apus_json_text(const cJSON *value, int indent);

/* Begin to build a value for apus_json_write: its parts need no check each, since that refuses a
 * value for which memory was missing in between. */
void apus_json_begin(void);
/* A value's text with indent 2 as the file `name` of a folder.  Errors: APUS_ERR_MEMORY (now or
 * since apus_json_begin), those of apus_file_write. */
apus_status apus_json_write(const cJSON *value, const char *folder, const char *name);

#endif
