/* text.h - tokenizers and chat templates: text into token ids and back, conversations into token
 * ids with labels.
 *
 * A tokenizer and a template do not change after they were made and may be used from several
 * threads at once; a detokenizer belongs to one thread.  Text is UTF-8 with its length in bytes;
 * bytes that are not UTF-8 are read as U+FFFD. */
#ifndef APUS_TEXT_H
#define APUS_TEXT_H

#include "apus/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- lists that calls fill ---------------------------------------------------------------- */

typedef struct apus_tokens {
    uint32_t *ids;
    size_t n;
    size_t room;
} apus_tokens;
void apus_tokens_release(apus_tokens *tokens); /* safe on {0} */

typedef struct apus_text {
    char *data; /* NUL-terminated; NULL only in {0} */
    size_t bytes;
} apus_text;
void apus_text_release(apus_text *text); /* safe on {0} */

/* ---- tokenizer ---------------------------------------------------------------------------- */

typedef struct apus_tokenizer apus_tokenizer;

/* Open the tokenizer of a checkpoint: a Hugging Face folder (tokenizer.json and, where present,
 * tokenizer_config.json, special_tokens_map.json, generation_config.json, chat_template.jinja), a
 * tokenizer.json by its own path, or a GGUF file.  Byte-level BPE only.
 * Errors: APUS_ERR_MISSING (no such file), APUS_ERR_IO, APUS_ERR_FORMAT (what is wrong, and where),
 * APUS_ERR_SUPPORT (the unsupported part by its name), APUS_ERR_MEMORY. */
apus_status apus_tokenizer_open(apus_tokenizer **out, const char *path);
void apus_tokenizer_close(apus_tokenizer **tokenizer); /* accepts &{NULL} */
/* Write the tokenizer of a GGUF file into a folder as Hugging Face's files: tokenizer.json,
 * tokenizer_config.json, generation_config.json, chat_template.jinja.
 * Errors: as opening; APUS_ERR_IO. */
apus_status apus_tokenizer_save(const char *gguf, const char *folder);

enum {
    APUS_ENCODE_ADD_SPECIAL = 1,   /* what the model wants around a text: <|begin_of_text|> */
    APUS_ENCODE_PARSE_SPECIAL = 2, /* special tokens written in the text become those tokens */
};

/* Append the ids of `bytes` bytes of text to *out, which is {0} or holds ids.  After a failure what
 * it held before is still there.  Text longer than 1 GiB is refused.
 * Errors: APUS_ERR_ARG, APUS_ERR_FORMAT (the file's pattern runs into the limit of backtracking),
 * APUS_ERR_MEMORY. */
apus_status apus_tokenizer_encode(const apus_tokenizer *tokenizer, const char *text, size_t bytes,
                                  unsigned flags, apus_tokens *out);

/* The text of n ids.  Bytes that are not UTF-8 become U+FFFD; ids that the vocabulary does not have
 * give nothing.  *out is overwritten; release it with apus_text_release.
 * Errors: APUS_ERR_MEMORY. */
apus_status apus_tokenizer_decode(const apus_tokenizer *tokenizer, const uint32_t *ids, size_t n,
                                  bool skip_special, apus_text *out);

/* The piece of an id as the vocabulary spells it ("\u0120the"), NULL where the id has none.
 * Borrowed until close; NUL-terminated. */
const char *apus_tokenizer_piece(const apus_tokenizer *tokenizer, uint32_t id);
/* The id of a piece by the vocabulary's spelling; false if there is none. */
bool apus_tokenizer_id(const apus_tokenizer *tokenizer, const char *piece, uint32_t *id);
bool apus_tokenizer_is_special(const apus_tokenizer *tokenizer, uint32_t id);
/* One more than the largest id. */
size_t apus_tokenizer_vocab_size(const apus_tokenizer *tokenizer);
/* -1: none.  The padding id is the end-of-text id where the checkpoint names none. */
int64_t apus_tokenizer_bos(const apus_tokenizer *tokenizer);
int64_t apus_tokenizer_eos(const apus_tokenizer *tokenizer);
int64_t apus_tokenizer_pad(const apus_tokenizer *tokenizer);
/* All ids that end a generation: eos, and those of generation_config.json.  Borrowed. */
void apus_tokenizer_eos_ids(const apus_tokenizer *tokenizer, const uint32_t **ids, size_t *n);
/* The checkpoint's own chat template (Jinja), NULL if it has none.  Borrowed until close. */
const char *apus_tokenizer_chat_template(const apus_tokenizer *tokenizer);

/* Ids into text as they come: holds back bytes until they are whole characters. */
typedef struct apus_detokenizer apus_detokenizer;
/* Errors: APUS_ERR_MEMORY. */
apus_status apus_detokenizer_create(apus_detokenizer **out, const apus_tokenizer *tokenizer,
                                    bool skip_special);
/* *text is what the id completes (perhaps nothing: ""), borrowed until the next call.
 * Errors: APUS_ERR_MEMORY. */
apus_status apus_detokenizer_add(apus_detokenizer *detokenizer, uint32_t id, const char **text,
                                 size_t *bytes);
/* What was held back, with U+FFFD for what never became a character; ready for a new text after.
 * Errors: APUS_ERR_MEMORY. */
apus_status apus_detokenizer_finish(apus_detokenizer *detokenizer, const char **text,
                                    size_t *bytes);
void apus_detokenizer_destroy(apus_detokenizer **detokenizer); /* accepts &{NULL} */

/* ---- templates ---------------------------------------------------------------------------- */

/* A row of the template table, which follows ms-swift's.  Never freed. */
typedef struct apus_template apus_template;

/* Errors: APUS_ERR_MISSING (no row of that name). */
apus_status apus_template_find(const apus_template **out, const char *name);
const apus_template *apus_template_at(size_t i); /* NULL past the last */
const char *apus_template_name(const apus_template *tmpl);
const char *apus_template_default_system(const apus_template *tmpl); /* NULL: none */
/* Thinks, and has a text that stands for not thinking. */
bool apus_template_is_hybrid(const apus_template *tmpl);

/* What is known of a model when its template is chosen; every member may be NULL. */
typedef struct apus_template_hint {
    const char *template_name;     /* --template: overrules all */
    const char *model_type;        /* --model_type: a model type of ms-swift ("qwen2", "llama") */
    const char *model_name;        /* path or id of the model; its last part counts */
    const char *architecture;      /* config.json: architectures[0] ("LlamaForCausalLM") */
    const char *gguf_architecture; /* general.architecture, if there is no config.json ("llama") */
    const char *chat_template;     /* the model's own, apus_tokenizer_chat_template */
} apus_template_hint;

typedef struct apus_template_choice {
    const apus_template *tmpl;
    const char *model_type; /* "" if no row of the model table fits */
    char reason[256];       /* one line: why this one */
} apus_template_choice;

/* Choose model type and template.  In this order: the names given; the model's id in the table of
 * known models; the architecture, where it has one model type with one template; the template whose
 * markers the model's own chat template has.
 * Errors: APUS_ERR_MISSING (a name that no table has, or nothing fits: says what to pass),
 * APUS_ERR_ARG. */
apus_status apus_template_choose(apus_template_choice *out, const apus_template_hint *hint);

/* The template whose markers a chat template (Jinja text) has; `reason` as above.
 * Errors: APUS_ERR_MISSING (none). */
apus_status apus_template_match(const apus_template **out, char *reason, size_t room,
                                const char *chat_template);

/* ---- conversations ------------------------------------------------------------------------ */

typedef enum apus_message_loss {
    APUS_LOSS_MASK = -1, /* "loss": false */
    APUS_LOSS_UNSET = 0, /* by the loss scale */
    APUS_LOSS_TRAIN = 1, /* "loss": true */
} apus_message_loss;

typedef struct apus_message {
    const char *role;    /* "system" (first only), "user", "assistant" */
    const char *content; /* not NULL */
    apus_message_loss loss;
    bool has_loss_scale; /* weigh this answer with loss_scale instead of by the named strategies */
    float loss_scale;    /* [0, inf) */
} apus_message;

typedef enum apus_truncation {
    APUS_TRUNCATE_DELETE, /* a row that is too long is dropped */
    APUS_TRUNCATE_LEFT,   /* keep the end */
    APUS_TRUNCATE_RIGHT,  /* keep the start */
} apus_truncation;

typedef enum apus_choice { APUS_DEFAULT = 0, APUS_YES = 1, APUS_NO = -1 } apus_choice;

typedef struct apus_encode_params {
    const char *system;     /* replaces the template's default system; "" : none.  NULL: default */
    const char *loss_scale; /* "default", "last_round", "all", with "+name"; NULL: "default" */
    bool no_chat_template;  /* only the last round: question, answer, end of text */
    size_t max_length;      /* tokens; 0: no limit */
    apus_truncation truncation;
    const char *response_prefix;   /* the start of the answer to come; NULL: by the template */
    apus_choice enable_thinking;   /* default: yes where a template only thinks, else no */
    apus_choice preserve_thinking; /* keep earlier turns' thoughts; default: by ms-swift's rule */
    bool no_non_thinking_prefix;   /* hybrid: leave answers without thoughts as they are */
    bool train_empty_think;        /* hybrid: do not append "+ignore_empty_think" to loss_scale */
    const char *today;             /* stands for the date in templates that have one; NULL: now */
} apus_encode_params;

typedef struct apus_encoded {
    uint32_t *ids;
    int32_t *labels;   /* the id, or -100: not trained.  labels[t] belongs to ids[t] (not shifted).
                          NULL after apus_encode_infer */
    float *loss_scale; /* weight of each token; NULL if all weights are 0 or 1 */
    size_t n;          /* tokens; 0 if dropped */
    size_t full_n;     /* tokens before truncation */
    bool dropped;      /* too long, and truncation is APUS_TRUNCATE_DELETE */
} apus_encoded;
void apus_encoded_release(apus_encoded *encoded); /* safe on {0} */

/* Encode a conversation for training, as ms-swift does: the answers and the template's end mark are
 * trained, headers and questions are context.  A conversation that begins with an answer gets an
 * empty question; one that ends with a question ends in an open prompt; turns of one role in a row
 * are joined.  *out is overwritten.
 * Errors: APUS_ERR_FORMAT (no messages, an unknown role, a system message that is not first, no
 * content), APUS_ERR_SUPPORT (tool turns, a loss scale that is not in the table), APUS_ERR_ARG (a
 * system for a template that has none, a malformed loss scale), APUS_ERR_MEMORY. */
apus_status apus_encode_train(apus_encoded *out, const apus_tokenizer *tokenizer,
                              const apus_template *tmpl, const apus_message *messages, size_t n,
                              const apus_encode_params *params);
/* The same for generation: no labels; a final answer is left open to be continued, otherwise the
 * prompt ends where the answer begins.  Errors: as above. */
apus_status apus_encode_infer(apus_encoded *out, const apus_tokenizer *tokenizer,
                              const apus_template *tmpl, const apus_message *messages, size_t n,
                              const apus_encode_params *params);

/* What ends an answer under this template: ids (the template's end mark where it is one token, eos
 * and generation_config's) and texts (end mark, eos, the row's own stop words). */
typedef struct apus_stops {
    uint32_t *ids;
    size_t n_ids;
    char **texts;
    size_t n_texts;
} apus_stops;
/* Errors: APUS_ERR_MEMORY. */
apus_status apus_template_stops(apus_stops *out, const apus_template *tmpl,
                                const apus_tokenizer *tokenizer);
void apus_stops_release(apus_stops *stops); /* safe on {0} */

#ifdef __cplusplus
}
#endif
#endif
