/* infer.h - what chat and batch inference share: model, template, generator, and an answer. */
#ifndef APUSI_INFER_H
#define APUSI_INFER_H

#include "apus/data.h"
#include "apus/generate.h"
#include "json.h"
#include "options.h"

/* How tokens are drawn, after the model's generation_config.json was asked. */
typedef struct apusi_drawing {
    double temperature; /* 0: the likeliest token */
    uint32_t top_k;
    double top_p, min_p, repetition_penalty;
} apusi_drawing;

/* An answer as it comes. */
typedef struct apusi_answer {
    apus_detokenizer *detokenizer;
    char *text; /* so far; NULL before it begins */
    size_t bytes;
    size_t held;  /* bytes at its end that may be the start of a stop text */
    size_t shown; /* bytes printed */
    bool show;    /* print it as it comes */
    apus_status failed;
} apusi_answer;

typedef struct apusi_infer {
    apus_infer_options o;
    apusi_drawing drawing;
    apus_model *model;
    apus_tokenizer *tokenizer;
    apus_template_choice choice;
    apus_generator *generator;
    apus_stops stops;
    apus_cancel cancel;
    uint64_t prompt_tokens, reused_tokens, new_tokens, answers;
    double prefill_s, decode_s;
} apusi_infer;

/* A generator for one conversation, as long as --max_length has it. */
apus_generator_params apusi_infer_generator(const apusi_infer *infer);
/* What a conversation is to the model.  Errors: those of apus_encode_infer. */
apus_status apusi_infer_encode(apus_encoded *out, const apusi_infer *infer,
                               const apus_message *messages, size_t n, const char *system);
/* How answers are drawn; `token` is called with `user`. */
apus_generate_params apusi_infer_params(apusi_infer *infer,
                                        bool (*token)(void *user, uint32_t prompt, uint32_t id),
                                        void *user);

/* Errors of all: APUS_ERR_MEMORY. */
apus_status apusi_answer_begin(apusi_answer *answer, const apusi_infer *infer, bool show);
/* A token of it; false: it ends here (a stop text, or answer->failed). */
bool apusi_answer_add(apusi_answer *answer, const apusi_infer *infer, uint32_t id);
/* It has ended; infer counts it. */
apus_status apusi_answer_end(apusi_answer *answer, apusi_infer *infer,
                             const apus_generate_result *result);
void apusi_answer_release(apusi_answer *answer); /* safe on {0} */

/* Answer a conversation; answer->text is what it says.  `system` NULL: the template's default.
 * Errors: those of encoding and generating. */
apus_status apusi_infer_answer(apusi_infer *infer, apusi_answer *answer,
                               const apus_message *messages, size_t n, const char *system);
/* Talk on stdin and stdout until it ends.  APUS_ERR_CANCELLED: by Ctrl-C at the prompt. */
apus_status apusi_infer_chat(apusi_infer *infer);
/* Answer the rows of a part into `path` (JSON lines), in their order. */
apus_status apusi_infer_batch(apusi_infer *infer, const apus_data_params *data, apus_data_part part,
                              const char *path);
/* Append {"response", "labels", "logprobs", "messages", ...} to a file: result.c. */
typedef struct apusi_result_row {
    const char *response;
    const char *label;   /* of a row of a data set; NULL: null */
    const char *dataset; /* NULL: a chat's row */
    bool logprobs;       /* the key "logprobs" is there, null */
    const apus_message *messages;
    size_t n;
} apusi_result_row;
apus_status apusi_result_add(const char *path, const apusi_result_row *row);

#endif
