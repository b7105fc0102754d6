/* failure.c - what tokenizers refuse, and in which words; memory that runs out at every point;
 * hostile texts. */
#include <stdio.h>

#include "apus/text.h"
#include "env.h"
#include "gguf.h"
#include "os.h"
#include "recorded.h"
#include "text_internal.h"

#define PARTS(vocab, merges, rest)                                                                 \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]},"                 \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}" rest "}"
#define TINY_VOCAB "\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3,\"\\u0120ab\":7"

static apus_status parse(apus_tokenizer **t, const char *text)
{
    return apusi_tokenizer_from_json(t, text, strlen(text), "tiny.json");
}

static void refuses(const char *text, apus_status code, const char *words)
{
    apus_tokenizer *t = NULL;

    CHECK_FAILS(parse(&t, text), code, words);
    CHECK(t == NULL);
    apus_tokenizer_close(&t);
}

TEST(holes_in_the_vocabulary_are_fine)
{
    apus_tokenizer *t = NULL;
    apus_tokens ids = { 0 };
    apus_text text = { 0 };

    REQUIRE_OK(
        parse(&t, PARTS(TINY_VOCAB, "\"a b\",[\"\\u0120\",\"ab\"]",
                        ",\"added_tokens\":[{\"id\":9,\"content\":\"<e>\",\"special\":true}]")));
    CHECK_EQ_U64(apus_tokenizer_vocab_size(t), 10);
    CHECK(apus_tokenizer_piece(t, 4) == NULL && apus_tokenizer_piece(t, 8) == NULL);
    CHECK_OK(apus_tokenizer_encode(t, "ab ab<e>xa", 10, APUS_ENCODE_PARSE_SPECIAL, &ids));
    REQUIRE(ids.n == 4); /* x has no piece and is left out */
    CHECK(ids.ids[0] == 2 && ids.ids[1] == 7 && ids.ids[2] == 9 && ids.ids[3] == 0);
    const uint32_t odd[] = { 4, 2, 4294967295u, 10, 7 };
    CHECK_OK(apus_tokenizer_decode(t, odd, 5, false, &text));
    CHECK_EQ_STR(text.data, "ab ab");
    apus_text_release(&text);
    apus_tokens_release(&ids);
    apus_tokenizer_close(&t);
}

TEST(malformed_files)
{
    refuses("{", APUS_ERR_FORMAT, "tiny.json");
    refuses("[]", APUS_ERR_FORMAT, "not an object");
    refuses("{}", APUS_ERR_FORMAT, "there is no model");
    refuses(PARTS("", "", ""), APUS_ERR_FORMAT, "vocabulary is empty");
    refuses(PARTS("\"a\":-1", "", ""), APUS_ERR_FORMAT, "not a whole number");
    refuses(PARTS("\"a\":0.5", "", ""), APUS_ERR_FORMAT, "not a whole number");
    refuses(PARTS("\"a\":1e300", "", ""), APUS_ERR_FORMAT, "not a whole number");
    refuses(PARTS("\"a\":\"0\"", "", ""), APUS_ERR_FORMAT, "not a whole number");
    refuses(PARTS("\"a\":4000000000", "", ""), APUS_ERR_FORMAT, "is larger than");
    refuses(PARTS("\"a\":4194304", "", ""), APUS_ERR_FORMAT, "is larger than");
    refuses(PARTS("\"a\":0,\"b\":0", "", ""), APUS_ERR_FORMAT, "given to both 'a' and 'b'");
    refuses(PARTS(TINY_VOCAB, "\"a c\"", ""), APUS_ERR_FORMAT, "joins 'c'");
    refuses(PARTS(TINY_VOCAB, "\"b a\"", ""), APUS_ERR_FORMAT, "gives 'ba'");
    refuses(PARTS(TINY_VOCAB, "\"ab\"", ""), APUS_ERR_FORMAT, "not two pieces");
    refuses(PARTS(TINY_VOCAB, "\"a b c\"", ""), APUS_ERR_FORMAT, "not two pieces");
    refuses(PARTS(TINY_VOCAB, "\"a \"", ""), APUS_ERR_FORMAT, "not two pieces");
    refuses(PARTS(TINY_VOCAB, "[\"a\"]", ""), APUS_ERR_FORMAT, "not a pair");
    refuses(PARTS(TINY_VOCAB, "[\"a\",\"b\",\"a\"]", ""), APUS_ERR_FORMAT, "not a pair");
    refuses(PARTS(TINY_VOCAB, "7", ""), APUS_ERR_FORMAT, "not a pair");
    refuses(PARTS(TINY_VOCAB, "", ",\"added_tokens\":{}"), APUS_ERR_FORMAT, "not a list");
    refuses(PARTS(TINY_VOCAB, "", ",\"added_tokens\":[{\"content\":\"x\"}]"), APUS_ERR_FORMAT,
            "has no id");
    refuses(PARTS(TINY_VOCAB, "", ",\"added_tokens\":[{\"id\":9}]"), APUS_ERR_FORMAT,
            "has no content");
    refuses(PARTS(TINY_VOCAB, "", ",\"added_tokens\":[{\"id\":9,\"content\":\"\"}]"),
            APUS_ERR_FORMAT, "has no text");
    refuses(PARTS(TINY_VOCAB, "", ",\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]"),
            APUS_ERR_FORMAT, "given to both 'b' and 'x'");
    refuses(PARTS(TINY_VOCAB, "",
                  ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
                  "[{\"SpecialToken\":{\"id\":\"s\"}},{\"Sequence\":{}}],"
                  "\"special_tokens\":{\"s\":{\"ids\":[44]}}}"),
            APUS_ERR_FORMAT, "not in the vocabulary");
    refuses(PARTS(TINY_VOCAB, "",
                  ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
                  "[]}"),
            APUS_ERR_FORMAT, "leaves the text out");
}

#define WITH_PRE(pre)                                                                              \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{" TINY_VOCAB "},\"merges\":[]},"                      \
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" pre                             \
    "{\"type\":\"ByteLevel\",\"use_regex\":false,\"add_prefix_space\":false}]}}"
#define SPLIT(regex)                                                                               \
    WITH_PRE("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"" regex       \
             "\"}},")

TEST(unsupported_parts_are_named)
{
    refuses("{\"model\":{\"type\":\"Unigram\"}}", APUS_ERR_SUPPORT, "'Unigram'");
    refuses("{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true}}", APUS_ERR_SUPPORT,
            "byte_fallback");
    refuses("{\"model\":{\"type\":\"BPE\",\"dropout\":0.1}}", APUS_ERR_SUPPORT, "dropout");
    refuses("{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"}}", APUS_ERR_SUPPORT,
            "end_of_word_suffix");
    refuses("{\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\"}}", APUS_ERR_SUPPORT,
            "continuing_subword_prefix");
    refuses("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", APUS_ERR_SUPPORT,
            "without the pre-tokenizer 'ByteLevel'");
    refuses(PARTS(TINY_VOCAB, "", ",\"normalizer\":{\"type\":\"Lowercase\"}"), APUS_ERR_SUPPORT,
            "normalizer 'Lowercase'");
    refuses(PARTS(TINY_VOCAB, "", ",\"decoder\":{\"type\":\"Metaspace\"}"), APUS_ERR_SUPPORT,
            "decoder 'Metaspace'");
    refuses(PARTS(TINY_VOCAB, "", ",\"post_processor\":{\"type\":\"BertProcessing\"}"),
            APUS_ERR_SUPPORT, "post-processor 'BertProcessing'");
    refuses(WITH_PRE("{\"type\":\"Metaspace\"},"), APUS_ERR_SUPPORT, "'Metaspace'");
    refuses(WITH_PRE("{\"type\":\"ByteLevel\"},"), APUS_ERR_SUPPORT, "after ByteLevel");
    refuses(
        WITH_PRE("{\"type\":\"Split\",\"behavior\":\"Sideways\",\"pattern\":{\"Regex\":\"a\"}},"),
        APUS_ERR_SUPPORT, "'Sideways'");
    refuses(WITH_PRE("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{}},"),
            APUS_ERR_FORMAT, "neither");
    refuses(SPLIT("(a"), APUS_ERR_SUPPORT, "cannot be used");
    refuses(SPLIT("[a&&[b]]"), APUS_ERR_SUPPORT, "an intersection");
    refuses(SPLIT("[a[b]]"), APUS_ERR_SUPPORT, "a nested class");
    refuses(SPLIT("\\\\h+"), APUS_ERR_SUPPORT, "\\h");
    refuses(SPLIT("[\\\\S]"), APUS_ERR_SUPPORT, "\\S inside a class");
}

/* U+180E is no white space, whatever PCRE2 thinks; \u escapes and scripts are read. */
TEST(patterns_are_read_as_their_dialect)
{
    static const struct {
        const char *regex, *text;
        size_t n_words;
    } rows[] = {
        { "\\\\s",
          "a\xe1\xa0\x8e"
          "a",
          1 },
        { "[\\\\s]",
          "a\xc2\xa0"
          "a",
          3 },
        { "\\\\S+",
          "a\xe1\xa0\x8e"
          "a",
          1 },
        { "\\\\u0061", "bab", 3 },
        { "\\\\p{Han}",
          "a\xe4\xb8\x80"
          "a",
          3 },
        { "\\\\p{Han}",
          "a\xe3\x80\x82"
          "a",
          1 },
        { "[]a]", "b]b", 3 },
        { "[[:alpha:]]+", "1ab1", 3 },
        { "a$", "a\nab", 2 },
    };

    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        char text[700];
        apus_tokenizer *t = NULL;
        apus_tokens ids = { 0 };

        /* Each word's bytes are unknown and fused: one token a word. */
        snprintf(text, sizeof(text),
                 "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"?\":0},\"merges\":[],\"unk_token\":"
                 "\"?\",\"fuse_unk\":true},\"pre_tokenizer\":{\"type\":\"Sequence\","
                 "\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":"
                 "{\"Regex\":\"%s\"}},{\"type\":\"ByteLevel\",\"use_regex\":false,"
                 "\"add_prefix_space\":false}]}}",
                 rows[i].regex);
        REQUIRE_OK(parse(&t, text));
        CHECK_OK(apus_tokenizer_encode(t, rows[i].text, strlen(rows[i].text), 0, &ids));
        harness_check(ids.n == rows[i].n_words, __FILE__, __LINE__,
                      "%s on '%s': %zu words, not %zu", rows[i].regex, rows[i].text, ids.n,
                      rows[i].n_words);
        apus_tokens_release(&ids);
        apus_tokenizer_close(&t);
    }
}

TEST(files_that_are_not_there)
{
    apus_tokenizer *t = NULL;

    CHECK_FAILS(apus_tokenizer_open(&t, "/no/such/file.gguf"), APUS_ERR_MISSING, "no/such");
    CHECK_FAILS(apus_tokenizer_open(&t, "/no/such/tokenizer.json"), APUS_ERR_MISSING, "no/such");
    CHECK_FAILS(apus_tokenizer_open(&t, harness_folder()), APUS_ERR_MISSING, "no tokenizer.json");
    CHECK(t == NULL);
}

/* The n-th allocation fails for every n until the whole way succeeds. */
TEST(memory_runs_out_anywhere)
{
    static const char line[] = "ab ab\xc3\xa9<e>  ab";
    const char *text = PARTS(TINY_VOCAB, "\"a b\",[\"\\u0120\",\"ab\"]",
                             ",\"normalizer\":{\"type\":\"NFC\"},\"added_tokens\":[{\"id\":9,"
                             "\"content\":\"<e>\",\"special\":true}]");
    const apus_message messages[] = { { "user", "ab" }, { "assistant", "ab" } };
    const apus_template *tmpl = NULL;
    bool done = false;
    uint64_t n = 0;

    REQUIRE_OK(apus_template_find(&tmpl, "default"));
    while (!done && ++n < 2000) {
        apus_tokenizer *t = NULL;
        apus_tokens ids = { 0 };
        apus_text back = { 0 };
        apus_encoded e = { 0 };
        apus_stops stops = { 0 };

        apus_fault_set(APUS_FAULT_HOST_ALLOC, n);
        apus_status st = parse(&t, text);
        if (st == APUS_OK)
            st = apus_tokenizer_encode(t, line, sizeof(line) - 1, APUS_ENCODE_PARSE_SPECIAL, &ids);
        if (st == APUS_OK)
            st = apus_tokenizer_decode(t, ids.ids, ids.n, false, &back);
        if (st == APUS_OK)
            st = apus_encode_train(&e, t, tmpl, messages, 2, NULL);
        if (st == APUS_OK)
            st = apus_template_stops(&stops, tmpl, t);
        apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
        CHECK(st == APUS_OK || st == APUS_ERR_MEMORY);
        done = st == APUS_OK;
        apus_stops_release(&stops);
        apus_encoded_release(&e);
        apus_text_release(&back);
        apus_tokens_release(&ids);
        apus_tokenizer_close(&t);
    }
    CHECK(done && n > 30);
}

/* ---- hostile texts --------------------------------------------------------------------------- */

static apus_tokenizer *letters(void)
{
    apus_tokenizer *t = NULL;

    CHECK_OK(parse(&t,
                   "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"aa\":2,\"aaaa\":3,"
                   "\"ab\":4,\"ba\":5,\"bb\":6,\"aab\":7,\"abb\":8,\"\\u0120\":9},\"merges\":["
                   "\"a a\",\"aa b\",\"ab b\",\"a b\",\"aa aa\",\"b a\",\"b b\"]},"
                   "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                   "\"use_regex\":false}}"));
    return t;
}

/* The definition: join the leftmost pair of the lowest rank, again and again. */
static size_t slow_bpe(const apus_tokenizer *t, uint32_t *ids, size_t n)
{
    for (;;) {
        const apusi_merge *best = NULL;
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++) {
            const apusi_merge *m = apusi_merges_find(&t->merges, ids[i], ids[i + 1]);
            if (m && (!best || m->rank < best->rank)) {
                best = m;
                at = i;
            }
        }
        if (!best)
            return n;
        ids[at] = best->id;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof(*ids));
        n--;
    }
}

TEST(long_and_short_words_join_alike)
{
    apus_tokenizer *t = letters();
    uint64_t state = 88172645463325252ull;

    REQUIRE(t != NULL);
    for (size_t round = 0; round < 400; round++) {
        char text[160];
        uint32_t slow[160];
        apus_tokens ids = { 0 };
        const size_t n = 1 + round % 150;

        for (size_t i = 0; i < n; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text[i] = state % 3 ? 'a' : 'b';
            slow[i] = text[i] == 'b';
        }
        CHECK_OK(apus_tokenizer_encode(t, text, n, 0, &ids));
        const size_t n_slow = slow_bpe(t, slow, n);
        harness_check(ids.n == n_slow && !memcmp(ids.ids, slow, n_slow * sizeof(*slow)), __FILE__,
                      __LINE__, "ids of '%.*s'", (int)n, text);
        apus_tokens_release(&ids);
    }
    apus_tokenizer_close(&t);
}

static void encode_much(const apus_tokenizer *t, const char *unit, size_t bytes)
{
    apus_str text = { 0 };
    apus_tokens ids = { 0 };
    const uint64_t t0 = apus_now_ns();

    while (text.len < bytes)
        apus_str_add(&text, unit);
    CHECK_OK(apus_tokenizer_encode(t, text.data, text.len, APUS_ENCODE_PARSE_SPECIAL, &ids));
    /* Quadratic work on a megabyte would take hours. */
    CHECK(apus_now_ns() - t0 < 30ull * 1000000000);
    CHECK(ids.n > 0);
    apus_tokens_release(&ids);
    apus_str_release(&text);
}

TEST(a_megabyte_without_a_gap)
{
    static const char *const units[] = {
        "a",           "ab", " ",    "\n", " \n", "1", "\xcc\x81\xcc\xa3", "\xea\xb0\x81",
        "<|im_start|", "'s", "\xff", "!?"
    };
    apus_tokenizer *t = letters();

    REQUIRE(t != NULL);
    encode_much(t, "a", 1u << 20);
    encode_much(t, "ab", 1u << 20);
    apus_tokenizer_close(&t);
    REQUIRE_OK(
        apus_tokenizer_open(&t, APUS_FIXTURES "/../golden/cases/tokenizers/qwen2_bytelevel_bpe"));
    for (size_t i = 0; i < APUS_COUNT(units); i++)
        encode_much(t, units[i], 1u << 20);
    apus_tokenizer_close(&t);
}

TEST(bytes_that_are_not_utf8)
{
    apus_tokenizer *t = NULL;
    static const struct {
        const char *bytes, *text;
    } rows[] = {
        { "a\xff"
          "b",
          "a\xef\xbf\xbd"
          "b" },
        { "\xe4\xb8", "\xef\xbf\xbd" }, /* cut off: one */
        { "\xe4\xb8"
          "a",
          "\xef\xbf\xbd"
          "a" },                                                    /* broken off: one */
        { "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },                 /* overlong */
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* a surrogate */
        { "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82" },
    };

    REQUIRE_OK(
        apus_tokenizer_open(&t, APUS_FIXTURES "/../golden/cases/tokenizers/gpt2_bytelevel_bpe"));
    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        apus_tokens ids = { 0 };
        apus_text text = { 0 };

        CHECK_OK(apus_tokenizer_encode(t, rows[i].bytes, strlen(rows[i].bytes), 0, &ids));
        CHECK_OK(apus_tokenizer_decode(t, ids.ids, ids.n, false, &text));
        CHECK_EQ_STR(text.data, rows[i].text);
        apus_text_release(&text);
        apus_tokens_release(&ids);
    }
    apus_tokenizer_close(&t);
}
