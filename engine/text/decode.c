/* decode.c - from ids to text, at once or as they come.  The bytes of all pieces are put together
 * first: a character may be spread over several. */
#include "text_internal.h"

struct apus_detokenizer {
    const apus_tokenizer *t;
    bool skip_special;
    apus_str bytes; /* not yet given out */
    apus_str text;
};

static void add_piece(apus_str *bytes, const apus_tokenizer *t, uint32_t id, bool skip_special)
{
    size_t n = 0;
    const char *piece = apusi_vocab_text(&t->vocab, id, &n);

    if (piece && !(skip_special && apus_tokenizer_is_special(t, id)))
        apusi_piece_bytes(bytes, piece, n);
}

apus_status apus_tokenizer_decode(const apus_tokenizer *t, const uint32_t *ids, size_t n,
                                  bool skip_special, apus_text *out)
{
    apus_str bytes = { 0 }, text = { 0 };

    *out = (apus_text) { 0 };
    for (size_t i = 0; i < n && !bytes.failed; i++)
        add_piece(&bytes, t, ids[i], skip_special);
    if (!bytes.failed) {
        apus_str_add(&text, "");
        apusi_utf8_lossy(&text, bytes.data ? bytes.data : "", bytes.len, true);
    }
    const bool failed = bytes.failed || text.failed;
    apus_str_release(&bytes);
    if (failed) {
        apus_str_release(&text);
        return APUS_ERR_MEMORY;
    }
    *out = (apus_text) { text.data, text.len };
    return APUS_OK;
}

apus_status apus_detokenizer_create(apus_detokenizer **out, const apus_tokenizer *t,
                                    bool skip_special)
{
    apus_detokenizer *d = apus_alloc(sizeof(*d));

    *out = d;
    if (!d)
        return APUS_ERR_MEMORY;
    d->t = t;
    d->skip_special = skip_special;
    return APUS_OK;
}

static apus_status give(apus_detokenizer *d, bool final, const char **text, size_t *n)
{
    *text = "";
    *n = 0;
    apus_str_clear(&d->text);
    apus_str_add(&d->text, "");
    if (d->bytes.failed || d->text.failed)
        return APUS_ERR_MEMORY;
    const size_t used =
        apusi_utf8_lossy(&d->text, d->bytes.data ? d->bytes.data : "", d->bytes.len, final);
    if (d->text.failed)
        return APUS_ERR_MEMORY;
    if (used < d->bytes.len)
        memmove(d->bytes.data, d->bytes.data + used, d->bytes.len - used);
    d->bytes.len -= used;
    *text = d->text.data;
    *n = d->text.len;
    return APUS_OK;
}

apus_status apus_detokenizer_add(apus_detokenizer *d, uint32_t id, const char **text, size_t *n)
{
    add_piece(&d->bytes, d->t, id, d->skip_special);
    return give(d, false, text, n);
}

apus_status apus_detokenizer_finish(apus_detokenizer *d, const char **text, size_t *n)
{
    return give(d, true, text, n);
}

void apus_detokenizer_destroy(apus_detokenizer **detokenizer)
{
    apus_detokenizer *d = *detokenizer;

    if (!d)
        return;
    apus_str_release(&d->bytes);
    apus_str_release(&d->text);
    apus_free(d);
    *detokenizer = NULL;
}
