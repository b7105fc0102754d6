/* line.h - lines that a person types: with editing and history on a terminal, plain elsewhere. */
#ifndef APUSI_LINE_H
#define APUSI_LINE_H

#include "str.h"

typedef struct apusi_line_reader apusi_line_reader;

typedef enum apusi_line {
    APUSI_LINE_READ,
    APUSI_LINE_END,
    APUSI_LINE_INTERRUPTED, /* a signal came, which has set cancel->requested */
    APUSI_LINE_DROPPED,     /* one came, and there was text in the editor */
} apusi_line;

/* Errors: APUS_ERR_MEMORY. */
apus_status apusi_line_open(apusi_line_reader **out);
void apusi_line_close(apusi_line_reader **reader); /* accepts &{NULL} */

/* Whether a person types at a terminal. */
bool apusi_line_edits(const apusi_line_reader *reader);
/* Show the prompt and append a line, without its end, to *out. */
apusi_line apusi_line_read(apusi_line_reader *reader, const char *prompt, apus_str *out,
                           const apus_cancel *cancel);

#endif
