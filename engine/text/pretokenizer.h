/* pretokenizer.h - the table of pre-tokenizers that GGUF names (pretokenizer.def). */
#ifndef APUSI_PRETOKENIZER_H
#define APUSI_PRETOKENIZER_H

#include "gguf.h"
#include "text_internal.h"

typedef struct apusi_pretokenizer {
    const char *name;
    apusi_form form;
    bool ignore_merges;
    const char *cuts[2];
} apusi_pretokenizer;

/* The row of a name.  Errors: APUS_ERR_SUPPORT (`where` names the file). */
apus_status apusi_pretokenizer_find(const apusi_pretokenizer **out, apus_gguf_text pre,
                                    const char *where);

#endif
