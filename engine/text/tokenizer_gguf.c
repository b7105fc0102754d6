/* tokenizer_gguf.c - a tokenizer from the metadata of a GGUF file: tokenizer.ggml.model "gpt2" is
 * byte-level BPE; .tokens has the pieces by id, .token_type says which are special, .merges is as
 * in a tokenizer.json, .pre names the cuts (pretokenizer.def). */
#include "gguf.h"
#include "pretokenizer.h"
#include "text_internal.h"

enum { TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 }; /* of tokenizer.ggml.token_type */

static bool same(apus_gguf_text text, const char *name)
{
    return text.bytes == strlen(name) && !memcmp(text.text, name, text.bytes);
}

apus_status apusi_pretokenizer_find(const apusi_pretokenizer **out, apus_gguf_text pre,
                                    const char *where)
{
    static const apusi_pretokenizer rows[] = {
#define X(name, form, ignore_merges, cut, cut2) { name, form, ignore_merges, { cut, cut2 } },
#include "pretokenizer.def"
#undef X
    };

    for (size_t i = 0; i < APUS_COUNT(rows); i++)
        if (same(pre, rows[i].name)) {
            *out = &rows[i];
            return APUS_OK;
        }
    return apus_fail(APUS_ERR_SUPPORT,
                     "%s: the pre-tokenizer '%.*s' (tokenizer.ggml.pre) is not "
                     "supported yet; use the model's Hugging Face folder",
                     where, (int)(pre.bytes < 60 ? pre.bytes : 60), pre.text);
}

static apus_status set_cuts(apus_tokenizer *t, apus_gguf_text pre)
{
    const apusi_pretokenizer *row = NULL;

    APUS_FORWARD(apusi_pretokenizer_find(&row, pre, t->where));
    t->form = row->form;
    t->ignore_merges = row->ignore_merges;
    for (size_t c = 0; c < 2 && row->cuts[c]; c++)
        APUS_FORWARD(apusi_add_split(t, row->cuts[c], false, APUSI_ISOLATED, false));
    return APUS_OK;
}

static apus_status strings_of(const apus_tokenizer *t, const apus_gguf *gguf, const char *key,
                              apus_gguf_array *out)
{
    APUS_FORWARD(apus_gguf_array_of(gguf, key, out));
    if (out->type != APUS_GGUF_STRING)
        return apus_fail(APUS_ERR_FORMAT, "%s: %s is not a list of texts", t->where, key);
    return APUS_OK;
}

static apus_status read_pieces(apus_tokenizer *t, const apus_gguf *gguf)
{
    apus_gguf_array pieces = { 0 }, merges = { 0 };

    APUS_FORWARD(strings_of(t, gguf, "tokenizer.ggml.tokens", &pieces));
    for (uint64_t i = 0; i < pieces.n; i++) {
        const apus_gguf_text piece = pieces.texts[i];

        if (i >= APUSI_MOST_IDS || piece.bytes > INT32_MAX || memchr(piece.text, 0, piece.bytes))
            return apus_fail(APUS_ERR_FORMAT,
                             "%s: tokenizer.ggml.tokens: piece %llu is too long, "
                             "has a zero byte, or is one too many",
                             t->where, (unsigned long long)i);
        APUS_FORWARD(apusi_vocab_set(&t->vocab, (uint32_t)i, piece.text, (size_t)piece.bytes));
    }
    APUS_FORWARD(strings_of(t, gguf, "tokenizer.ggml.merges", &merges));
    for (uint64_t i = 0; i < merges.n; i++)
        APUS_FORWARD(apusi_add_merge_text(t, merges.texts[i].text, (size_t)merges.texts[i].bytes));
    return APUS_OK;
}

static apus_status read_types(apus_tokenizer *t, const apus_gguf *gguf)
{
    apus_gguf_array types = { 0 };

    if (!apus_gguf_has(gguf, "tokenizer.ggml.token_type"))
        return APUS_OK;
    APUS_FORWARD(apus_gguf_array_of(gguf, "tokenizer.ggml.token_type", &types));
    if (types.n != t->vocab.n)
        return apus_fail(APUS_ERR_FORMAT, "%s: %llu token types for %zu tokens", t->where,
                         (unsigned long long)types.n, t->vocab.n);
    for (uint64_t i = 0; i < types.n; i++) {
        int64_t type;
        size_t n = 0;

        if (!apus_gguf_array_int(&types, i, &type))
            return apus_fail(APUS_ERR_FORMAT,
                             "%s: tokenizer.ggml.token_type does not hold whole "
                             "numbers",
                             t->where);
        if (type != TYPE_CONTROL && type != TYPE_USER_DEFINED)
            continue;
        const apusi_added added = { .id = (uint32_t)i,
                                    .special = type == TYPE_CONTROL,
                                    .own = true };
        const char *text = apusi_vocab_text(&t->vocab, (uint32_t)i, &n);
        APUS_FORWARD(apusi_add_token(t, &added, text, n));
    }
    return APUS_OK;
}

/* An id of the metadata; -1 stays if the key is absent. */
static apus_status read_id(const apus_tokenizer *t, const apus_gguf *gguf, const char *key,
                           int64_t *id)
{
    uint32_t value = 0;

    if (!apus_gguf_has(gguf, key))
        return APUS_OK;
    APUS_FORWARD(apus_gguf_u32(gguf, key, &value));
    if (value >= t->vocab.n)
        return apus_fail(APUS_ERR_FORMAT, "%s: %s is %u, but there are %zu tokens", t->where, key,
                         value, t->vocab.n);
    *id = value;
    return APUS_OK;
}

static apus_status read_around(apus_tokenizer *t, const apus_gguf *gguf, const char *key,
                               int64_t id, apus_tokens *to)
{
    bool add = false;

    if (!apus_gguf_has(gguf, key))
        return APUS_OK;
    APUS_FORWARD(apus_gguf_bool(gguf, key, &add));
    if (!add)
        return APUS_OK;
    if (id < 0)
        return apus_fail(APUS_ERR_FORMAT, "%s: %s is set, but no such token is named", t->where,
                         key);
    return apusi_tokens_add(to, (uint32_t)id);
}

static apus_status read_rest(apus_tokenizer *t, const apus_gguf *gguf)
{
    int64_t eot = -1;
    apus_gguf_text text = { 0 };

    APUS_FORWARD(read_id(t, gguf, "tokenizer.ggml.bos_token_id", &t->bos));
    APUS_FORWARD(read_id(t, gguf, "tokenizer.ggml.eos_token_id", &t->eos));
    APUS_FORWARD(read_id(t, gguf, "tokenizer.ggml.padding_token_id", &t->pad));
    APUS_FORWARD(read_id(t, gguf, "tokenizer.ggml.eot_token_id", &eot));
    APUS_FORWARD(read_around(t, gguf, "tokenizer.ggml.add_bos_token", t->bos, &t->prefix));
    APUS_FORWARD(read_around(t, gguf, "tokenizer.ggml.add_eos_token", t->eos, &t->suffix));
    if (t->eos >= 0)
        APUS_FORWARD(apusi_add_eos(t, (uint32_t)t->eos));
    if (eot >= 0)
        APUS_FORWARD(apusi_add_eos(t, (uint32_t)eot));
    if (!apus_gguf_has(gguf, "tokenizer.chat_template"))
        return APUS_OK;
    APUS_FORWARD(apus_gguf_string(gguf, "tokenizer.chat_template", &text));
    t->chat_template = apus_alloc((size_t)text.bytes + 1);
    if (!t->chat_template)
        return APUS_ERR_MEMORY;
    memcpy(t->chat_template, text.text, (size_t)text.bytes);
    return APUS_OK;
}

apus_status apusi_tokenizer_from_gguf(apus_tokenizer **out, const apus_gguf *gguf)
{
    apus_tokenizer *t = NULL;
    apus_gguf_text model = { 0 }, pre = { "default", 7 };
    apus_status st;

    *out = NULL;
    APUS_TRY(apusi_tokenizer_new(&t, apus_gguf_where(gguf)));
    APUS_TRY(apus_gguf_string(gguf, "tokenizer.ggml.model", &model));
    if (!same(model, "gpt2")) {
        st = apus_fail(APUS_ERR_SUPPORT,
                       "%s: the tokenizer model '%.*s' is not supported yet "
                       "(gpt2, byte-level BPE, is)",
                       t->where, (int)(model.bytes < 60 ? model.bytes : 60), model.text);
        goto fail;
    }
    if (apus_gguf_has(gguf, "tokenizer.ggml.pre"))
        APUS_TRY(apus_gguf_string(gguf, "tokenizer.ggml.pre", &pre));
    APUS_TRY(set_cuts(t, pre));
    APUS_TRY(read_pieces(t, gguf));
    APUS_TRY(read_types(t, gguf));
    APUS_TRY(read_rest(t, gguf));
    APUS_TRY(apusi_tokenizer_finish(t));
    *out = t;
    t = NULL;

fail:
    apus_tokenizer_close(&t);
    return st;
}
