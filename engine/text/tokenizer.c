/* tokenizer.c - life and questions of a tokenizer; the front ends (tokenizer_hf.c,
 * tokenizer_gguf.c) fill it piece by piece through the calls at the end. */
#include "file.h"
#include "gguf.h"
#include "text_internal.h"

void apus_tokens_release(apus_tokens *tokens)
{
    apus_free(tokens->ids);
    *tokens = (apus_tokens) { 0 };
}

void apus_text_release(apus_text *text)
{
    apus_free(text->data);
    *text = (apus_text) { 0 };
}

apus_status apusi_tokens_add(apus_tokens *tokens, uint32_t id)
{
    APUS_FORWARD(apus_grow(&tokens->ids, tokens->n, 1, &tokens->room, sizeof(*tokens->ids)));
    tokens->ids[tokens->n++] = id;
    return APUS_OK;
}

apus_status apus_tokenizer_open(apus_tokenizer **out, const char *path)
{
    const size_t n = strlen(path);
    apus_gguf *gguf = NULL;
    apus_status st;

    *out = NULL;
    if (apus_path_is_dir(path)) {
        char *json = apus_path_join(path, "tokenizer.json");
        if (!json)
            return APUS_ERR_MEMORY;
        const bool has = apus_path_exists(json);
        apus_free(json);
        if (has)
            return apusi_tokenizer_from_hf(out, path, true);
        return apus_fail(APUS_ERR_MISSING, "%s: no tokenizer.json in this folder", path);
    }
    if (n > 5 && !strcmp(path + n - 5, ".json"))
        return apusi_tokenizer_from_hf(out, path, false);
    APUS_FORWARD(apus_gguf_open(&gguf, path));
    st = apusi_tokenizer_from_gguf(out, gguf);
    apus_gguf_close(&gguf);
    return st;
}

void apus_tokenizer_close(apus_tokenizer **tokenizer)
{
    apus_tokenizer *t = *tokenizer;

    if (!t)
        return;
    for (size_t i = 0; i < t->n_steps; i++)
        pcre2_code_free(t->steps[i].pattern);
    apusi_vocab_release(&t->vocab);
    apusi_merges_release(&t->merges);
    apusi_trie_release(&t->tries[0]);
    apusi_trie_release(&t->tries[1]);
    apus_tokens_release(&t->prefix);
    apus_tokens_release(&t->suffix);
    apus_tokens_release(&t->eos_ids);
    apus_free(t->added);
    apus_free(t->kinds);
    apus_free(t->chat_template);
    apus_free(t->where);
    apus_free(t);
    *tokenizer = NULL;
}

const char *apus_tokenizer_piece(const apus_tokenizer *t, uint32_t id)
{
    return apusi_vocab_text(&t->vocab, id, NULL);
}

bool apus_tokenizer_id(const apus_tokenizer *t, const char *piece, uint32_t *id)
{
    const uint32_t found = apusi_vocab_find(&t->vocab, piece, strlen(piece));

    if (found == APUSI_NO_ID)
        return false;
    *id = found;
    return true;
}

bool apus_tokenizer_is_special(const apus_tokenizer *t, uint32_t id)
{
    return id < t->n_kinds && (t->kinds[id] & APUSI_SPECIAL);
}

size_t apus_tokenizer_vocab_size(const apus_tokenizer *t)
{
    return t->vocab.n;
}

int64_t apus_tokenizer_bos(const apus_tokenizer *t)
{
    return t->bos;
}

int64_t apus_tokenizer_eos(const apus_tokenizer *t)
{
    return t->eos;
}

int64_t apus_tokenizer_pad(const apus_tokenizer *t)
{
    return t->pad;
}

void apus_tokenizer_eos_ids(const apus_tokenizer *t, const uint32_t **ids, size_t *n)
{
    *ids = t->eos_ids.ids;
    *n = t->eos_ids.n;
}

const char *apus_tokenizer_chat_template(const apus_tokenizer *t)
{
    return t->chat_template;
}

/* ---- for the front ends -------------------------------------------------------------------- */

apus_status apusi_tokenizer_new(apus_tokenizer **out, const char *where)
{
    apus_tokenizer *t = apus_alloc(sizeof(*t));

    *out = NULL;
    if (!t)
        return APUS_ERR_MEMORY;
    t->where = apus_strdup(where);
    t->unknown = APUSI_NO_ID;
    t->bos = t->eos = t->pad = -1;
    if (!t->where) {
        apus_tokenizer_close(&t);
        return APUS_ERR_MEMORY;
    }
    *out = t;
    return APUS_OK;
}

apus_status apusi_add_merge(apus_tokenizer *t, const char *left, size_t n_left, const char *right,
                            size_t n_right)
{
    apus_str both = { 0 };
    const unsigned long long rank = t->merges.next_rank;
    const uint32_t a = apusi_vocab_find(&t->vocab, left, n_left);
    const uint32_t b = apusi_vocab_find(&t->vocab, right, n_right);

    if (a == APUSI_NO_ID || b == APUSI_NO_ID)
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: merge %llu joins '%.*s', which is not in the vocabulary", t->where,
                         rank, apusi_shown(a == APUSI_NO_ID ? n_left : n_right),
                         a == APUSI_NO_ID ? left : right);
    apus_str_add_bytes(&both, left, n_left);
    apus_str_add_bytes(&both, right, n_right);
    if (both.failed) {
        apus_str_release(&both);
        return APUS_ERR_MEMORY;
    }
    const uint32_t id = apusi_vocab_find(&t->vocab, both.data, both.len);
    apus_status st = id != APUSI_NO_ID
                         ? apusi_merges_add(&t->merges, a, b, id)
                         : apus_fail(APUS_ERR_FORMAT,
                                     "%s: merge %llu gives '%.60s', which is not in the "
                                     "vocabulary",
                                     t->where, rank, both.data);
    apus_str_release(&both);
    return st;
}

apus_status apusi_add_merge_text(apus_tokenizer *t, const char *text, size_t n)
{
    const char *space = memchr(text, ' ', n);

    if (!space || space == text || space + 1 == text + n ||
        memchr(space + 1, ' ', (size_t)(text + n - space - 1)))
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: merge %u ('%.*s') is not two pieces with one space between", t->where,
                         t->merges.next_rank, apusi_shown(n), text);
    return apusi_add_merge(t, text, (size_t)(space - text), space + 1,
                           (size_t)(text + n - space - 1));
}

apus_status apusi_add_eos(apus_tokenizer *t, uint32_t id)
{
    for (size_t i = 0; i < t->eos_ids.n; i++)
        if (t->eos_ids.ids[i] == id)
            return APUS_OK;
    return apusi_tokens_add(&t->eos_ids, id);
}

apus_status apusi_tokenizer_finish(apus_tokenizer *t)
{
    apus_str spelled = { 0 };

    if (!t->vocab.n)
        return apus_fail(APUS_ERR_FORMAT, "%s: the vocabulary is empty", t->where);
    t->n_kinds = t->vocab.n;
    t->kinds = apus_alloc(t->n_kinds);
    if (!t->kinds)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < t->n_added; i++)
        t->kinds[t->added[i].id] |= (uint8_t)((t->added[i].special ? APUSI_SPECIAL : 0) |
                                              (t->added[i].own ? APUSI_OWN : 0));
    for (uint32_t b = 0; b < 256; b++) {
        const char byte = (char)b;

        apus_str_clear(&spelled);
        apusi_byte_spell(&spelled, &byte, 1);
        if (spelled.failed) {
            apus_str_release(&spelled);
            return APUS_ERR_MEMORY;
        }
        const uint32_t id = apusi_vocab_find(&t->vocab, spelled.data, spelled.len);
        t->byte_ids[b] = id != APUSI_NO_ID && !(t->kinds[id] & APUSI_OWN) ? id : APUSI_NO_ID;
    }
    apus_str_release(&spelled);
    if (t->eos >= 0)
        APUS_FORWARD(apusi_add_eos(t, (uint32_t)t->eos));
    if (t->eos < 0 && t->eos_ids.n)
        t->eos = t->eos_ids.ids[0];
    if (t->pad < 0)
        t->pad = t->eos;
    return APUS_OK;
}
