/* infer.h - what chat and batch inference share: model, template, generator, and one answer. */
#ifndef APUSI_INFER_H
#define APUSI_INFER_H

#include "apus/data.h"
#include "apus/generate.h"
#include "options.h"

typedef struct apusi_infer {
    apus_infer_options o;
    apus_model *model;
    apus_tokenizer *tokenizer;
    apus_template_choice choice;
    apus_generator *generator;
    apus_detokenizer *detokenizer;
    apus_stops stops;
    apus_cancel cancel;
    char *text; /* of the answer so far */
    size_t bytes;
    bool show; /* print the answer as it comes */
    uint64_t prompt_tokens, new_tokens;
    double seconds;
    apus_generate_result last;
} apusi_infer;

/* Answer a conversation; infer->text is the answer.  Errors: those of encoding and generating. */
apus_status apusi_infer_answer(apusi_infer *infer, const apus_message *messages, size_t n);
/* Talk on stdin and stdout until it ends. */
apus_status apusi_infer_chat(apusi_infer *infer);
/* Answer the rows of data sets into `path` (JSON lines). */
apus_status apusi_infer_batch(apusi_infer *infer, const apus_data_params *data, apus_data_part part,
                              const char *path);

#endif
