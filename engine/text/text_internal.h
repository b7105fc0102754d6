/* text_internal.h - shared by the files of this folder only: UTF-8, the vocabulary with its merges,
 * the steps that cut a text into words, added tokens, and the tokenizer that holds them. */
#ifndef APUSI_TEXT_INTERNAL_H
#define APUSI_TEXT_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "apus/text.h"
#include "base.h"
#include "str.h"

#define APUSI_NO_ID UINT32_MAX
/* Larger ids are refused: four times the largest vocabulary known, and tables of bearable size. */
#define APUSI_MOST_IDS (1u << 22)

/* How much of n bytes a failure text shows; for "%.*s", since texts of files may lack a NUL. */
static inline int apusi_shown(size_t n)
{
    return n < 60 ? (int)n : 60;
}

/* ---- utf8.c -------------------------------------------------------------------------------- */

/* Read one character of n > 0 bytes.  > 0: its bytes, and *cp; 0: the bytes are the start of a
 * character that goes on past the end; < 0: minus the bytes that no character begins with (the
 * maximal subpart, which becomes one U+FFFD). */
int apusi_utf8_step(const char *text, size_t n, uint32_t *cp);
bool apusi_utf8_valid(const char *text, size_t n);
/* Append text with U+FFFD for what is not UTF-8.  A cut-off character at the end becomes U+FFFD if
 * `final`; otherwise it is left out.  Returns the bytes used. */
size_t apusi_utf8_lossy(apus_str *out, const char *text, size_t n, bool final);
void apusi_utf8_add(apus_str *out, uint32_t cp);
bool apusi_is_space(uint32_t cp);                     /* Unicode White_Space */
size_t apusi_blank_start(const char *text, size_t n); /* bytes of it that n bytes begin with */
bool apusi_is_word(uint32_t cp);                      /* letters, marks, digits, connectors */

/* ---- vocab.c ------------------------------------------------------------------------------- */

/* Pieces by id and ids by piece.  Holes are allowed.  All texts lie in one block. */
typedef struct apusi_vocab {
    apus_str bytes;
    uint32_t *at;      /* by id: where the text begins in bytes; APUSI_NO_ID: a hole */
    uint32_t *lengths; /* by id */
    size_t n, room;    /* ids */
    uint32_t *slots;   /* id + 1; 0 is free; a power of two of them, at most half full */
    size_t n_slots, used;
    uint64_t seed; /* keeps a file from choosing keys that collide */
} apusi_vocab;

/* Errors: APUS_ERR_FORMAT (id too large, or taken by another text), APUS_ERR_MEMORY.  A text that
 * has an id already keeps the first for apusi_vocab_find. */
apus_status apusi_vocab_set(apusi_vocab *v, uint32_t id, const char *text, size_t n);
uint32_t apusi_vocab_find(const apusi_vocab *v, const char *text, size_t n); /* or APUSI_NO_ID */
/* NULL where the id has no text. */
const char *apusi_vocab_text(const apusi_vocab *v, uint32_t id, size_t *n);
void apusi_vocab_release(apusi_vocab *v);

typedef struct apusi_merge {
    uint32_t left, right;
    uint32_t rank;
    uint32_t id; /* what the two become */
} apusi_merge;

typedef struct apusi_merges {
    apusi_merge *slots; /* id APUSI_NO_ID: free; a power of two of them, at most half full */
    size_t n_slots, used;
    uint32_t next_rank;
    uint64_t seed;
} apusi_merges;

/* The next merge in order.  A pair given twice has the later rank. */
apus_status apusi_merges_add(apusi_merges *m, uint32_t left, uint32_t right, uint32_t id);
const apusi_merge *apusi_merges_find(const apusi_merges *m, uint32_t left, uint32_t right);
void apusi_merges_release(apusi_merges *m);

/* ---- split.c ------------------------------------------------------------------------------- */

typedef enum apusi_behavior {
    APUSI_ISOLATED,
    APUSI_REMOVED,
    APUSI_CONTIGUOUS,
    APUSI_MERGED_WITH_PREVIOUS,
    APUSI_MERGED_WITH_NEXT,
} apusi_behavior;

/* One step on the way from text to words: a space put before the text, or a cut by a pattern. */
typedef struct apusi_step {
    pcre2_code *pattern; /* NULL: put a space before a text that does not begin with one */
    apusi_behavior behavior;
    bool invert; /* what lies between the matches counts as matched */
} apusi_step;

#define APUSI_MOST_STEPS 8

/* Append a cut by a pattern in the dialect of Hugging Face's tokenizers (Oniguruma, Ruby syntax),
 * or by a literal text if `literal`.
 * Errors: APUS_ERR_SUPPORT (what this build's pattern library cannot say), APUS_ERR_MEMORY. */
apus_status apusi_add_split(apus_tokenizer *t, const char *pattern, bool literal,
                            apusi_behavior behavior, bool invert);
apus_status apusi_add_prefix_space(apus_tokenizer *t);
extern const char apusi_gpt2_pattern[];

/* ---- normalize.c --------------------------------------------------------------------------- */

typedef enum apusi_form {
    APUSI_FORM_NONE,
    APUSI_NFC,
    APUSI_NFD,
    APUSI_NFKC,
    APUSI_NFKD
} apusi_form;

/* Append the normalized text (valid UTF-8 in, valid UTF-8 out). */
apus_status apusi_normalize(apus_str *out, apusi_form form, const char *text, size_t n);

/* ---- added.c ------------------------------------------------------------------------------- */

/* A token that is looked for in the text before it is cut into words. */
typedef struct apusi_added {
    uint32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
    bool own; /* no piece that merges make: found only by its text */
} apusi_added;

typedef struct apusi_trie_node {
    uint32_t child, sibling; /* 0: none */
    uint32_t added;          /* index + 1 into the added tokens; 0: none ends here */
    uint8_t byte;
} apusi_trie_node;

typedef struct apusi_trie {
    apusi_trie_node *nodes; /* [0] is the root */
    uint32_t first[256];    /* the root's children by byte */
    size_t n, room;
} apusi_trie;

/* Add a token; `text` gets its id: the vocabulary's where that has the text, otherwise a->id. */
apus_status apusi_add_token(apus_tokenizer *t, const apusi_added *a, const char *text, size_t n);
void apusi_trie_release(apusi_trie *trie);

/* The next added token at or after *at: its index and its place including stripped white space.
 * `from` is where the last one ended. */
typedef struct apusi_hit {
    const apusi_added *added;
    size_t begin, end;
} apusi_hit;
bool apusi_next_added(const apus_tokenizer *t, bool normalized, bool parse_special,
                      const char *text, size_t n, size_t *scan, size_t from, apusi_hit *hit);

enum { APUSI_SPECIAL = 1, APUSI_OWN = 2 };

/* ---- tokenizer.c --------------------------------------------------------------------------- */

struct apus_tokenizer {
    char *where; /* the path, for failure texts */
    apusi_vocab vocab;
    apusi_merges merges;
    uint32_t byte_ids[256]; /* the piece of a single byte, or APUSI_NO_ID */
    uint32_t unknown;       /* for bytes without a piece; APUSI_NO_ID: they are left out */
    bool fuse_unknown;
    bool ignore_merges; /* a word that is a piece is that piece, whatever the merges say */
    apusi_form form;
    apusi_step steps[APUSI_MOST_STEPS];
    size_t n_steps;
    apusi_added *added;
    size_t n_added, room_added;
    apusi_trie tries[2]; /* by `normalized` */
    uint8_t *kinds;      /* by id: APUSI_SPECIAL, APUSI_OWN */
    size_t n_kinds;
    apus_tokens prefix, suffix; /* what ADD_SPECIAL puts around a text */
    int64_t bos, eos, pad;
    apus_tokens eos_ids;
    char *chat_template;
};

apus_status apusi_tokenizer_new(apus_tokenizer **out, const char *where);
/* A merge by its two texts.  Errors: APUS_ERR_FORMAT (a text that the vocabulary lacks). */
apus_status apusi_add_merge(apus_tokenizer *t, const char *left, size_t n_left, const char *right,
                            size_t n_right);
/* "a b" */
apus_status apusi_add_merge_text(apus_tokenizer *t, const char *text, size_t n);
/* After the last piece and token: single bytes, defaults.  Errors: APUS_ERR_FORMAT (no piece). */
apus_status apusi_tokenizer_finish(apus_tokenizer *t);
apus_status apusi_tokens_add(apus_tokens *tokens, uint32_t id);
/* Add an id that ends a generation, once. */
apus_status apusi_add_eos(apus_tokenizer *t, uint32_t id);

/* ---- tokenizer_hf.c, tokenizer_gguf.c ------------------------------------------------------- */

/* Fill *out from a folder or from a tokenizer.json. */
apus_status apusi_tokenizer_from_hf(apus_tokenizer **out, const char *path, bool is_folder);
/* Fill *out from the text of a tokenizer.json alone. */
apus_status apusi_tokenizer_from_json(apus_tokenizer **out, const char *text, size_t n,
                                      const char *where);
struct apus_gguf;
apus_status apusi_tokenizer_from_gguf(apus_tokenizer **out, const struct apus_gguf *gguf);

/* ---- bytelevel.c --------------------------------------------------------------------------- */

/* GPT-2's spelling of bytes as printable characters. */
uint32_t apusi_byte_char(uint8_t byte);
bool apusi_char_byte(uint32_t cp, uint8_t *byte);
void apusi_byte_spell(apus_str *out, const char *bytes, size_t n);
/* The bytes of a piece: each character's, or the piece as it is if one stands for no byte. */
void apusi_piece_bytes(apus_str *out, const char *piece, size_t n);

/* ---- bpe.c --------------------------------------------------------------------------------- */

/* Memory of a call of encode, reused from word to word. */
typedef struct apusi_scratch {
    uint32_t *nodes; /* symbols of a long word: ids, next, previous */
    size_t nodes_room;
    struct apusi_heap_entry *heap;
    size_t heap_n, heap_room;
    apus_str spelled;
} apusi_scratch;
/* Append the ids of one word of n > 0 bytes. */
apus_status apusi_bpe(const apus_tokenizer *t, apusi_scratch *s, const char *word, size_t n,
                      apus_tokens *out);
void apusi_scratch_release(apusi_scratch *s);

/* ---- template.c ---------------------------------------------------------------------------- */

#define APUSI_MOST_STOPS 3

struct apus_template { /* the columns of template.def */
    const char *name;
    const char *prefix, *system_prefix, *prompt, *chat_sep, *suffix;
    const char *default_system;
    const char *thinking_prefix, *non_thinking_prefix, *history_prefix;
    const char *stop[APUSI_MOST_STOPS];
    bool auto_add_bos;
    bool is_thinking;
};

/* The row that stands for "no chat template". */
extern const apus_template apusi_plain_template;
/* The suffix without white space around it, or NULL where it is a single token of the tokenizer;
 * *n: its bytes. */
const char *apusi_template_end_mark(const apus_template *tmpl, size_t *n);
/* Whether an answer ends with a text that ends answers. */
bool apusi_template_ends(const apus_template *tmpl, const apus_tokenizer *t, const char *answer,
                         size_t n);

/* ---- loss_scale.c -------------------------------------------------------------------------- */

typedef enum apusi_base { APUSI_BASE_DEFAULT, APUSI_BASE_LAST_ROUND, APUSI_BASE_ALL } apusi_base;

#define APUSI_MOST_SCALES 4

typedef struct apusi_loss_scale {
    apusi_base base;
    const char *names[APUSI_MOST_SCALES]; /* of the table */
    size_t n;
} apusi_loss_scale;

/* "base+name+name".  Errors: APUS_ERR_ARG (no such name), APUS_ERR_SUPPORT. */
apus_status apusi_loss_scale_parse(apusi_loss_scale *out, const char *text);
apus_status apusi_loss_scale_append(apusi_loss_scale *scale, const char *name, size_t n);
/* Receives a part of an answer and its weight. */
typedef apus_status (*apusi_part)(void *user, const char *text, size_t n, float weight);
/* Cut an answer that has the weight `weight` as a whole. */
apus_status apusi_loss_scale_split(const apusi_loss_scale *scale, const char *text, size_t n,
                                   float weight, apusi_part part, void *user);

/* ---- conversation.c ------------------------------------------------------------------------ */

/* One message of an answer; several in a row are one answer. */
typedef struct apusi_segment {
    apus_str text;
    apus_message_loss loss;
    bool has_loss_scale;
    float loss_scale;
} apusi_segment;

typedef struct apusi_round {
    apus_str query;
    size_t first, n; /* segments of the answer; n = 0: none yet */
} apusi_round;

typedef struct apusi_conversation {
    const char *system; /* of the row; NULL: none given */
    apusi_round *rounds;
    size_t n_rounds;
    apusi_segment *segments;
    size_t n_segments;
} apusi_conversation;

apus_status apusi_conversation_read(apusi_conversation *c, const apus_message *messages, size_t n);
/* What is done to answers about thoughts, by the template and the parameters. */
apus_status apusi_conversation_think(apusi_conversation *c, const apus_template *tmpl,
                                     const apus_encode_params *params, apusi_base base,
                                     bool training, bool enable_thinking);
void apusi_conversation_release(apusi_conversation *c);

#endif
