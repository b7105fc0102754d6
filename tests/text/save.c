/* save.c - the tokenizer of a real GGUF file, written as a folder, gives the same ids when it is
 * read again, and says which inputs a model takes. */
#include "apus/text.h"
#include "file.h"
#include "harness.h"
#include "json.h"

static bool same_ids(const apus_tokenizer *a, const apus_tokenizer *b, const char *text)
{
    apus_tokens x = { 0 }, y = { 0 };
    const bool ok =
        CHECK_OK(apus_tokenizer_encode(a, text, strlen(text), APUS_ENCODE_PARSE_SPECIAL, &x)) &&
        CHECK_OK(apus_tokenizer_encode(b, text, strlen(text), APUS_ENCODE_PARSE_SPECIAL, &y)) &&
        CHECK(x.n > 0 && x.n == y.n && !memcmp(x.ids, y.ids, x.n * sizeof(*x.ids)));

    apus_tokens_release(&x);
    apus_tokens_release(&y);
    return ok;
}

TEST(a_saved_tokenizer_is_the_same)
{
    static const char *const texts[] = { "The capital of France is",
                                         "<|im_start|>user\nna\xc3\xafve 12345  \t\n<|im_end|>",
                                         "\xe4\xbd\xa0\xe5\xa5\xbd\xf0\x9f\x91\x8b don't" };
    const char *real = harness_real_data("smollm2");
    apus_tokenizer *from = NULL, *back = NULL;
    cJSON *config = NULL;

    if (!real)
        return;
    char *gguf = apus_path_join(real, "SmolLM2-135M-Instruct.Q4_1.gguf");
    char *folder = apus_path_join(harness_folder(), "saved");
    char *path = apus_path_join(folder, "tokenizer_config.json");
    if (!CHECK_OK(apus_dir_create(folder)) || !CHECK_OK(apus_tokenizer_save(gguf, folder)) ||
        !CHECK_OK(apus_tokenizer_open(&from, gguf)) ||
        !CHECK_OK(apus_tokenizer_open(&back, folder)) || !CHECK_OK(apus_json_read(&config, path)))
        goto done;
    for (size_t i = 0; i < APUS_COUNT(texts); i++)
        same_ids(from, back, texts[i]);
    CHECK_EQ_U64(apus_tokenizer_vocab_size(back), apus_tokenizer_vocab_size(from));
    CHECK_EQ_U64(apus_tokenizer_eos(back), apus_tokenizer_eos(from));
    CHECK_EQ_STR(apus_tokenizer_chat_template(back), apus_tokenizer_chat_template(from));
    char *inputs = apus_json_text(apus_json_get(config, "model_input_names"), 0);
    CHECK_EQ_STR(inputs, "[\"input_ids\", \"attention_mask\"]");
    apus_free(inputs);
done:
    cJSON_Delete(config);
    apus_tokenizer_close(&from);
    apus_tokenizer_close(&back);
    apus_free(gguf);
    apus_free(folder);
    apus_free(path);
}
