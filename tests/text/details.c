/* details.c - normalization forms by the Unicode standard's own examples, special tokens left as
 * text, texts that stand in a vocabulary twice. */
#include <stdio.h>

#include "apus/text.h"
#include "harness.h"
#include "text_internal.h"

TEST(normalization_forms)
{
    static const struct {
        const char *text, *forms[4]; /* NFC, NFD, NFKC, NFKD */
    } rows[] = {
        /* marks out of their order, and two of one class, which keep theirs */
        { "a\u0301\u0323", { "\u1ea1\u0301", "a\u0323\u0301", "\u1ea1\u0301", "a\u0323\u0301" } },
        { "a\u0315\u0300\u05ae\u0300z",
          { "\u00e0\u05ae\u0300\u0315z", "a\u05ae\u0300\u0300\u0315z", "\u00e0\u05ae\u0300\u0315z",
            "a\u05ae\u0300\u0300\u0315z" } },
        { "\u1e69", { "\u1e69", "s\u0323\u0307", "\u1e69", "s\u0323\u0307" } },
        { "\u1100\u1161\u11a8",
          { "\uac01", "\u1100\u1161\u11a8", "\uac01", "\u1100\u1161\u11a8" } },
        { "\ufb01\u2460", { "\ufb01\u2460", "\ufb01\u2460", "fi1", "fi1" } },
        { "\u0344", { "\u0308\u0301", "\u0308\u0301", "\u0308\u0301", "\u0308\u0301" } },
        { "\u212b", { "\u00c5", "A\u030a", "\u00c5", "A\u030a" } },
        { "abc", { "abc", "abc", "abc", "abc" } },
    };
    static const apusi_form forms[] = { APUSI_NFC, APUSI_NFD, APUSI_NFKC, APUSI_NFKD };

    for (size_t i = 0; i < APUS_COUNT(rows); i++)
        for (size_t f = 0; f < 4; f++) {
            apus_str out = { 0 };

            CHECK_OK(apusi_normalize(&out, forms[f], rows[i].text, strlen(rows[i].text)));
            CHECK_EQ_STR(out.data, rows[i].forms[f]);
            apus_str_release(&out);
        }
}

static void encodes(const apus_tokenizer *t, const char *text, unsigned flags, size_t n,
                    const uint32_t *want)
{
    apus_tokens ids = { 0 };

    CHECK_OK(apus_tokenizer_encode(t, text, strlen(text), flags, &ids));
    harness_check(ids.n == n && !memcmp(ids.ids, want, n * sizeof(*want)), __FILE__, __LINE__,
                  "ids of '%s'", text);
    apus_tokens_release(&ids);
}

/* A special token that is left as text is skipped whole, and is no piece even where a whole word
 * that is a piece wins (ids of Hugging Face's tokenizers 0.23 with encode_special_tokens). */
TEST(special_tokens_left_as_text)
{
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"x\":2,\"ab\":3},\"merges\":"
        "[\"a b\"],\"ignore_merges\":true},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
        "\"add_prefix_space\":false},\"added_tokens\":["
        "{\"id\":4,\"content\":\"xbx\",\"special\":true,\"normalized\":false},"
        "{\"id\":5,\"content\":\"bx\",\"special\":false,\"normalized\":false},"
        "{\"id\":6,\"content\":\"ba\",\"special\":true,\"normalized\":false}]}";
    const unsigned parse = APUS_ENCODE_PARSE_SPECIAL;
    apus_tokenizer *t = NULL;

    REQUIRE_OK(apusi_tokenizer_from_json(&t, json, sizeof(json) - 1, "special.json"));
    encodes(t, "xbx", parse, 1, (const uint32_t[]) { 4 });
    encodes(t, "xbx", 0, 3, (const uint32_t[]) { 2, 1, 2 });
    encodes(t, "xbxbx", parse, 2, (const uint32_t[]) { 4, 5 });
    encodes(t, "xbxbx", 0, 4, (const uint32_t[]) { 2, 1, 2, 5 });
    encodes(t, "abxbx", parse, 3, (const uint32_t[]) { 0, 5, 5 });
    encodes(t, "ba", parse, 1, (const uint32_t[]) { 6 });
    encodes(t, "ba", 0, 2, (const uint32_t[]) { 1, 0 });
    apus_tokenizer_close(&t);
}

TEST(a_text_with_two_ids)
{
    apusi_vocab v = { 0 };
    char text[16];
    size_t n;

    CHECK_OK(apusi_vocab_set(&v, 7, "ab", 2));
    CHECK_OK(apusi_vocab_set(&v, 3, "ab", 2));
    CHECK_OK(apusi_vocab_set(&v, 7, "ab", 2)); /* said again */
    for (uint32_t i = 10; i < 5000; i++) {     /* the table grows and keeps the first */
        const int length = snprintf(text, sizeof(text), "%u", i);
        CHECK_OK(apusi_vocab_set(&v, i, text, (size_t)length));
    }
    CHECK_EQ_U64(apusi_vocab_find(&v, "ab", 2), 7);
    CHECK_EQ_U64(apusi_vocab_find(&v, "4999", 4), 4999);
    CHECK_EQ_U64(apusi_vocab_find(&v, "5000", 4), APUSI_NO_ID);
    CHECK_EQ_STR(apusi_vocab_text(&v, 3, &n), "ab");
    CHECK(n == 2 && apusi_vocab_text(&v, 4, &n) == NULL && apusi_vocab_text(&v, 5000, &n) == NULL);
    CHECK_EQ_U64(v.used, 4991);
    apusi_vocab_release(&v);
}
