/* tokenizer.c - fuzz target: what stands before the first zero byte is a tokenizer.json (or
 * nothing: a vocabulary of the 256 bytes), what stands after it is a text and an answer to train
 * on. */
#include "fuzz.h"
#include "text_internal.h"

static apus_tokenizer *byte_tokenizer(void)
{
    apus_tokenizer *t = NULL;
    apus_str piece = { 0 };
    const apusi_added end = { .id = 256, .special = true, .rstrip = true };
    apus_status st = apusi_tokenizer_new(&t, "bytes");

    for (uint32_t b = 0; st == APUS_OK && b < 256; b++) {
        const char byte = (char)b;

        apus_str_clear(&piece);
        apusi_byte_spell(&piece, &byte, 1);
        st = apusi_vocab_set(&t->vocab, b, piece.data, piece.len);
    }
    if (st == APUS_OK)
        st = apusi_add_token(t, &end, "<e>", 3);
    if (st == APUS_OK)
        st = apusi_add_split(t, apusi_gpt2_pattern, false, APUSI_ISOLATED, false);
    if (st == APUS_OK)
        st = apusi_tokenizer_finish(t);
    APUS_BUG_IF(st != APUS_OK);
    apus_str_release(&piece);
    return t;
}

/* Bytes go in and the same bytes come out, whatever the cuts are. */
static void check_round_trip(const apus_tokenizer *t, const char *text, size_t n)
{
    apus_tokens ids = { 0 };
    apus_text back = { 0 };
    apus_str lossy = { 0 };

    apus_str_add(&lossy, "");
    apusi_utf8_lossy(&lossy, text, n, true);
    APUS_BUG_IF(apus_tokenizer_encode(t, text, n, 0, &ids) != APUS_OK);
    APUS_BUG_IF(apus_tokenizer_decode(t, ids.ids, ids.n, false, &back) != APUS_OK);
    APUS_BUG_IF(back.bytes != lossy.len || memcmp(back.data, lossy.data, lossy.len));
    apus_text_release(&back);
    apus_tokens_release(&ids);
    apus_str_release(&lossy);
}

static void check_ids(const apus_tokenizer *t, const apus_tokens *ids)
{
    apus_detokenizer *d = NULL;
    apus_text whole = { 0 };
    const char *part;
    size_t n, total = 0;

    for (size_t i = 0; i < ids->n; i++)
        APUS_BUG_IF(!apus_tokenizer_piece(t, ids->ids[i]));
    APUS_BUG_IF(apus_tokenizer_decode(t, ids->ids, ids->n, false, &whole) != APUS_OK);
    APUS_BUG_IF(!apusi_utf8_valid(whole.data, whole.bytes));
    APUS_BUG_IF(apus_detokenizer_create(&d, t, false) != APUS_OK);
    for (size_t i = 0; i < ids->n; i++) {
        APUS_BUG_IF(apus_detokenizer_add(d, ids->ids[i], &part, &n) != APUS_OK);
        APUS_BUG_IF(n > whole.bytes - total || memcmp(whole.data + total, part, n));
        total += n;
    }
    APUS_BUG_IF(apus_detokenizer_finish(d, &part, &n) != APUS_OK);
    APUS_BUG_IF(total + n != whole.bytes || memcmp(whole.data + total, part, n));
    apus_detokenizer_destroy(&d);
    apus_text_release(&whole);
}

static void check_chat(const apus_tokenizer *t, const char *text)
{
    const apus_message messages[] = {
        { "user", text }, { "assistant", text }, { "user", "x" }, { "assistant", text }
    };
    const apus_template *tmpl;

    for (size_t i = 0; (tmpl = apus_template_at(i)); i += 7) {
        apus_encoded e;
        const apus_encode_params params = { .loss_scale = i % 2 ? "last_round+hermes" : "react",
                                            .today = "today",
                                            .max_length = 100,
                                            .truncation = APUS_TRUNCATE_LEFT };

        if (apus_encode_train(&e, t, tmpl, messages, 4, &params) != APUS_OK)
            continue;
        APUS_BUG_IF(e.n > 100);
        for (size_t k = 0; k < e.n; k++)
            APUS_BUG_IF(e.labels[k] != -100 && e.labels[k] != (int32_t)e.ids[k]);
        apus_encoded_release(&e);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint8_t *zero = bytes ? memchr(data, 0, bytes) : NULL;
    const size_t n_json = zero ? (size_t)(zero - data) : bytes;
    const char *text = zero ? (const char *)zero + 1 : "ab 12 <e> ab";
    const size_t n = zero ? bytes - n_json - 1 : strlen(text);
    apus_tokenizer *t = NULL;
    apus_tokens ids = { 0 };
    apus_str copy = { 0 };

    if (n_json == 0) {
        t = byte_tokenizer();
        check_round_trip(t, text, n);
    } else if (apusi_tokenizer_from_json(&t, (const char *)data, n_json, "fuzz") != APUS_OK) {
        return 0;
    }
    apus_str_add(&copy, "");
    apus_str_add_bytes(&copy, text, n);
    if (apus_tokenizer_encode(t, text, n, APUS_ENCODE_ADD_SPECIAL | APUS_ENCODE_PARSE_SPECIAL,
                              &ids) == APUS_OK) {
        check_ids(t, &ids);
        check_chat(t, copy.data);
    }
    apus_str_release(&copy);
    apus_tokens_release(&ids);
    apus_tokenizer_close(&t);
    return 0;
}
