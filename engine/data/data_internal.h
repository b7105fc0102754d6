/* data_internal.h - what the files of engine/data share: pieces of a file, and a row from one. */
#ifndef APUSI_DATA_INTERNAL_H
#define APUSI_DATA_INTERNAL_H

#include "apus/data.h"

#include "arena.h"
#include "file.h"
#include "json.h"
#include "str.h"

typedef enum apusi_source_kind { APUSI_LINES, APUSI_VALUES, APUSI_PLAIN } apusi_source_kind;

/* A file being walked row by row.  The text stays mapped; a row is a span of it. */
typedef struct apusi_source {
    const char *path; /* borrowed */
    apus_map map;
    apusi_source_kind kind;
    size_t at;         /* next byte */
    uint64_t line;     /* of that byte, from 1 */
    size_t line_start; /* first byte of that line */
    bool in_array;     /* between the brackets of the file's one array */
} apusi_source;

typedef struct apusi_span {
    const char *text;
    size_t bytes;
    uint64_t line;     /* where it begins */
    size_t line_start; /* first byte of that line */
} apusi_span;

/* Errors: APUS_ERR_MISSING, APUS_ERR_ARG (a kind of file that is not read, a folder), APUS_ERR_IO,
 * APUS_ERR_FORMAT (neither JSON nor text). */
apus_status apusi_source_open(apusi_source *source, const char *path);
void apusi_source_close(apusi_source *source); /* safe on {0} */
/* The next row's text; *more is false at the end.  Errors: APUS_ERR_FORMAT (a broken array). */
apus_status apusi_source_next(apusi_source *source, apusi_span *span, bool *more);
/* Parse a span; errors as "FILE:LINE: column C: ...".  Plain lines become {"text": LINE}. */
apus_status apusi_source_parse(const apusi_source *source, const apusi_span *span, cJSON **out);

/* How rows are read; borrowed from the caller's apus_data_params. */
typedef struct apusi_row_rules {
    const apus_data_rename *columns;
    size_t n_columns;
    bool auto_columns;
    bool keep_extra;
} apusi_row_rules;

/* Make a row of a JSON object; all memory is the arena's, `dataset` and `line` are the caller's.
 * Errors: APUS_ERR_FORMAT (why it is not a conversation; no place named), APUS_ERR_MEMORY. */
apus_status apusi_row_read(apus_data_row *row, const cJSON *object, const apusi_row_rules *rules,
                           apus_arena *arena);

/* A list of messages that grows while a row is read; pictures found inside are collected. */
typedef struct apusi_messages {
    apus_arena *arena;
    apus_message *items;
    uint32_t n, room;
    const char **images;
    uint32_t n_images, images_room;
} apusi_messages;

/* `role` is static or the arena's; the content is copied.  Errors: APUS_ERR_MEMORY. */
apus_status apusi_messages_add(apusi_messages *list, const char *role, const char *content);
apus_status apusi_messages_add_image(apusi_messages *list, const char *url);
/* The text that a value stands for: a string itself, a number or boolean as JSON writes it.
 * *out is NULL for null.  Errors: APUS_ERR_FORMAT (a list or object), APUS_ERR_MEMORY. */
apus_status apusi_text_of(const cJSON *value, const char *what, apus_arena *arena,
                          const char **out);
/* Append a list of messages in any known form.  `system` goes first unless the list has its own;
 * NULL: none.  Errors: APUS_ERR_FORMAT (which message, why), APUS_ERR_MEMORY. */
apus_status apusi_messages_read(apusi_messages *list, const cJSON *value, const char *system);
/* Append query, response pairs of a "history".  Errors: as above. */
apus_status apusi_messages_history(apusi_messages *list, const cJSON *history);

#endif
