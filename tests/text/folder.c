/* folder.c - what the front ends read beside the model: the files of a Hugging Face folder, the
 * metadata of a GGUF file. */
#include "../io/build.h"
#include "apus/text.h"
#include "file.h"
#include "text_internal.h"

#define MODEL                                                                                      \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"1\":3,\"\\u0120\":4},"     \
    "\"merges\":[\"a b\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}," \
    "\"added_tokens\":[{\"id\":5,\"content\":\"<s>\",\"special\":true},"                           \
    "{\"id\":6,\"content\":\"</s>\",\"special\":true}]}"

/* A fresh folder with tokenizer.json and one more file. */
static char *folder_with(const char *name, const char *text)
{
    char *folder = apus_path_join(harness_folder(), "model");
    char *json = apus_path_join(folder, "tokenizer.json");
    char *other = apus_path_join(folder, name);

    CHECK_OK(apus_path_remove(folder));
    CHECK_OK(apus_dir_create(folder));
    CHECK_OK(apus_file_write(json, MODEL, sizeof(MODEL) - 1));
    CHECK_OK(apus_file_write(other, text, strlen(text)));
    apus_free(json);
    apus_free(other);
    return folder;
}

static void add_file(const char *folder, const char *name, const char *text)
{
    char *path = apus_path_join(folder, name);

    CHECK_OK(apus_file_write(path, text, strlen(text)));
    apus_free(path);
}

TEST(the_files_of_a_folder)
{
    char *folder =
        folder_with("tokenizer_config.json",
                    "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"</s>\","
                    "\"chat_template\":\"old\",\"added_tokens_decoder\":{\"7\":"
                    "{\"content\":\"<x>\",\"special\":true},\"5\":{\"content\":\"<s>\"}}}");
    apus_tokenizer *t = NULL;
    const uint32_t *ids;
    size_t n;

    add_file(folder, "special_tokens_map.json", "{\"pad_token\":\"<x>\",\"bos_token\":\"b\"}");
    add_file(folder, "generation_config.json", "{\"eos_token_id\":[7,6,99]}");
    REQUIRE_OK(apus_tokenizer_open(&t, folder));
    CHECK_EQ_U64(apus_tokenizer_bos(t), 5); /* the config comes before the map */
    CHECK_EQ_U64(apus_tokenizer_eos(t), 6);
    CHECK_EQ_U64(apus_tokenizer_pad(t), 7);
    CHECK_EQ_U64(apus_tokenizer_vocab_size(t), 8);
    CHECK_EQ_STR(apus_tokenizer_chat_template(t), "old");
    apus_tokenizer_eos_ids(t, &ids, &n);
    CHECK(n == 2 && ids[0] == 6 && ids[1] == 7); /* 99 is no token */
    apus_tokenizer_close(&t);
    add_file(folder, "chat_template.jinja", "new");
    REQUIRE_OK(apus_tokenizer_open(&t, folder));
    CHECK_EQ_STR(apus_tokenizer_chat_template(t), "new");
    apus_tokenizer_close(&t);
    apus_free(folder);
}

TEST(a_list_of_chat_templates)
{
    char *folder = folder_with("tokenizer_config.json",
                               "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},"
                               "{\"name\":\"default\",\"template\":\"y\"}]}");
    apus_tokenizer *t = NULL;

    REQUIRE_OK(apus_tokenizer_open(&t, folder));
    CHECK_EQ_STR(apus_tokenizer_chat_template(t), "y");
    CHECK_EQ_U64(apus_tokenizer_eos(t) + 1, 0);
    apus_tokenizer_close(&t);
    apus_free(folder);
}

TEST(bad_files_beside_it)
{
    static const struct {
        const char *name, *text;
        apus_status code;
        const char *words;
    } rows[] = {
        { "tokenizer_config.json", "{", APUS_ERR_FORMAT, "tokenizer_config.json" },
        { "generation_config.json", "[", APUS_ERR_FORMAT, "generation_config.json" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}",
          APUS_ERR_FORMAT, "the key 'x'" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\":{\"4194304\":{\"content\":\"y\"}}}",
          APUS_ERR_FORMAT, "the key '4194304'" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\":{\"2\":{\"content\":\"y\"}}}",
          APUS_ERR_FORMAT, "given to both" },
    };

    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        char *folder = folder_with(rows[i].name, rows[i].text);
        apus_tokenizer *t = NULL;

        CHECK_FAILS(apus_tokenizer_open(&t, folder), rows[i].code, rows[i].words);
        CHECK(t == NULL);
        apus_free(folder);
    }
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

typedef struct metadata {
    const char *model, *pre;
    const char *merge;
    uint32_t n_types, eos;
    bool add_bos;
} metadata;

static void put_texts(bytes *b, const char *key, const char *const *texts, size_t n)
{
    put_key(b, key, APUS_GGUF_ARRAY);
    put_number(b, APUS_GGUF_STRING, 4);
    put_number(b, n, 8);
    for (size_t i = 0; i < n; i++)
        put_text(b, texts[i]);
}

static apus_status open_gguf(apus_tokenizer **t, const metadata *m)
{
    static const char *const pieces[] = { "a", "b", "ab", "1", "Ġ", "<s>", "</s>", "<u>", "Ġ1" };
    static const uint32_t types[] = { 1, 1, 1, 1, 1, 3, 3, 4, 1 };
    const char *const merges[] = { m->merge, "Ġ 1" };
    static bytes b;
    apus_gguf *gguf = NULL;
    apus_status st;

    put_gguf(&b, 3, 0, 9);
    put_string(&b, "tokenizer.ggml.model", m->model);
    put_string(&b, "tokenizer.ggml.pre", m->pre);
    put_texts(&b, "tokenizer.ggml.tokens", pieces, APUS_COUNT(pieces));
    put_texts(&b, "tokenizer.ggml.merges", merges, 2);
    put_key(&b, "tokenizer.ggml.token_type", APUS_GGUF_ARRAY);
    put_number(&b, APUS_GGUF_I32, 4);
    put_number(&b, m->n_types, 8);
    for (size_t i = 0; i < m->n_types; i++)
        put_number(&b, types[i], 4);
    put_u32(&b, "tokenizer.ggml.bos_token_id", 5);
    put_u32(&b, "tokenizer.ggml.eos_token_id", m->eos);
    put_key(&b, "tokenizer.ggml.add_bos_token", APUS_GGUF_BOOL), put_number(&b, m->add_bos, 1);
    put_string(&b, "tokenizer.chat_template", "{{ x }}");
    st = apus_gguf_parse(&gguf, b.at, b.n, "tiny.gguf");
    if (st == APUS_OK)
        st = apusi_tokenizer_from_gguf(t, gguf);
    apus_gguf_close(&gguf);
    return st;
}

static void check_ids(const apus_tokenizer *t, const char *text, unsigned flags,
                      const uint32_t *want, size_t n)
{
    apus_tokens ids = { 0 };

    CHECK_OK(apus_tokenizer_encode(t, text, strlen(text), flags, &ids));
    harness_check(ids.n == n && !memcmp(ids.ids, want, n * sizeof(*want)), __FILE__, __LINE__,
                  "ids of '%s'", text);
    apus_tokens_release(&ids);
}

TEST(metadata_of_gguf)
{
    const metadata fine = { "gguf", "smollm", "a b", 9, 6, true };
    metadata m = fine;
    apus_tokenizer *t = NULL;

    m.model = "gpt2";
    REQUIRE_OK(open_gguf(&t, &m));
    CHECK_EQ_STR(apus_tokenizer_chat_template(t), "{{ x }}");
    CHECK(apus_tokenizer_is_special(t, 5) && !apus_tokenizer_is_special(t, 7));
    check_ids(t, "ab 1<u></s>", APUS_ENCODE_ADD_SPECIAL | APUS_ENCODE_PARSE_SPECIAL,
              (const uint32_t[]) { 5, 2, 4, 3, 7, 6 }, 6); /* digits stand alone */
    apus_tokenizer_close(&t);
    m.pre = "gpt-2";
    m.add_bos = false;
    REQUIRE_OK(open_gguf(&t, &m));
    check_ids(t, "ab 1", APUS_ENCODE_ADD_SPECIAL, (const uint32_t[]) { 2, 8 }, 2);
    apus_tokenizer_close(&t);
}

TEST(refused_gguf)
{
    static const struct {
        metadata m;
        apus_status code;
        const char *words;
    } rows[] = {
        { { "llama", "default", "a b", 9, 6, false }, APUS_ERR_SUPPORT, "'llama'" },
        { { "gpt2", "nope", "a b", 9, 6, false }, APUS_ERR_SUPPORT, "'nope'" },
        { { "gpt2", "qwen2", "a c", 9, 6, false }, APUS_ERR_FORMAT, "joins 'c'" },
        { { "gpt2", "qwen2", "ab", 9, 6, false }, APUS_ERR_FORMAT, "not two pieces" },
        { { "gpt2", "qwen2", "a b", 8, 6, false }, APUS_ERR_FORMAT, "8 token types for 9 tokens" },
        { { "gpt2", "qwen2", "a b", 9, 9, false }, APUS_ERR_FORMAT, "eos_token_id is 9" },
    };

    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        apus_tokenizer *t = NULL;

        CHECK_FAILS(open_gguf(&t, &rows[i].m), rows[i].code, rows[i].words);
        CHECK(t == NULL);
        apus_tokenizer_close(&t);
    }
}
