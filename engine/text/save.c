/* save.c - the tokenizer of a GGUF file as Hugging Face's files: tokenizer.json,
 * tokenizer_config.json,
 * generation_config.json and chat_template.jinja, so that a merged model is a complete folder. */
#include "file.h"
#include "json.h"
#include "pretokenizer.h"

enum { TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

/* What is read of the file; texts are views into its map. */
typedef struct source {
    apus_gguf *gguf;
    const apusi_pretokenizer *pre;
    apus_gguf_array tokens, types, merges;
} source;

static char *text_of(const apus_gguf_text *t)
{
    return apus_strndup(t->text, (size_t)t->bytes);
}

static bool add_text(cJSON *to, const char *key, const apus_gguf_text *t)
{
    char *text = text_of(t);
    const bool ok = text && (key ? cJSON_AddStringToObject(to, key, text) != NULL
                                 : cJSON_AddItemToArray(to, cJSON_CreateString(text)));

    apus_free(text);
    return ok;
}

static apus_status open_source(source *s, const char *path)
{
    apus_gguf_text pre = { "default", 7 };

    APUS_FORWARD(apus_gguf_open(&s->gguf, path));
    if (apus_gguf_has(s->gguf, "tokenizer.ggml.pre"))
        APUS_FORWARD(apus_gguf_string(s->gguf, "tokenizer.ggml.pre", &pre));
    APUS_FORWARD(apusi_pretokenizer_find(&s->pre, pre, path));
    APUS_FORWARD(apus_gguf_array_of(s->gguf, "tokenizer.ggml.tokens", &s->tokens));
    APUS_FORWARD(apus_gguf_array_of(s->gguf, "tokenizer.ggml.merges", &s->merges));
    if (apus_gguf_has(s->gguf, "tokenizer.ggml.token_type"))
        APUS_FORWARD(apus_gguf_array_of(s->gguf, "tokenizer.ggml.token_type", &s->types));
    if (s->tokens.type != APUS_GGUF_STRING || s->merges.type != APUS_GGUF_STRING ||
        (s->types.n && s->types.n != s->tokens.n))
        return apus_fail(APUS_ERR_FORMAT, "%s: its vocabulary is malformed", path);
    return APUS_OK;
}

static int64_t type_of(const source *s, uint64_t i)
{
    int64_t type = 0;

    return i < s->types.n && apus_gguf_array_int(&s->types, i, &type) ? type : 0;
}

static cJSON *added_tokens(const source *s)
{
    cJSON *list = cJSON_CreateArray();

    for (uint64_t i = 0; i < s->types.n; i++) {
        const int64_t type = type_of(s, i);
        if (type != TYPE_CONTROL && type != TYPE_USER_DEFINED)
            continue;
        cJSON *t = cJSON_CreateObject();
        cJSON_AddNumberToObject(t, "id", (double)i);
        add_text(t, "content", &s->tokens.texts[i]);
        cJSON_AddBoolToObject(t, "single_word", false);
        cJSON_AddBoolToObject(t, "lstrip", false);
        cJSON_AddBoolToObject(t, "rstrip", false);
        cJSON_AddBoolToObject(t, "normalized", false);
        cJSON_AddBoolToObject(t, "special", type == TYPE_CONTROL);
        cJSON_AddItemToArray(list, t);
    }
    return list;
}

static cJSON *byte_level(bool use_regex)
{
    cJSON *b = cJSON_CreateObject();

    cJSON_AddStringToObject(b, "type", "ByteLevel");
    cJSON_AddBoolToObject(b, "add_prefix_space", false);
    cJSON_AddBoolToObject(b, "trim_offsets", true);
    cJSON_AddBoolToObject(b, "use_regex", use_regex);
    return b;
}

static cJSON *pre_tokenizer(const apusi_pretokenizer *row)
{
    cJSON *sequence = cJSON_CreateObject(), *list = cJSON_CreateArray();

    cJSON_AddStringToObject(sequence, "type", "Sequence");
    for (size_t c = 0; c < 2 && row->cuts[c]; c++) {
        cJSON *split = cJSON_CreateObject(), *pattern = cJSON_CreateObject();
        cJSON_AddStringToObject(split, "type", "Split");
        cJSON_AddStringToObject(pattern, "Regex", row->cuts[c]);
        cJSON_AddItemToObject(split, "pattern", pattern);
        cJSON_AddStringToObject(split, "behavior", "Isolated");
        cJSON_AddBoolToObject(split, "invert", false);
        cJSON_AddItemToArray(list, split);
    }
    cJSON_AddItemToArray(list, byte_level(false));
    cJSON_AddItemToObject(sequence, "pretokenizers", list);
    return sequence;
}

static cJSON *model_of(const source *s)
{
    cJSON *model = cJSON_CreateObject(), *vocab = cJSON_CreateObject(),
          *merges = cJSON_CreateArray();

    cJSON_AddStringToObject(model, "type", "BPE");
    cJSON_AddNullToObject(model, "dropout");
    cJSON_AddNullToObject(model, "unk_token");
    cJSON_AddStringToObject(model, "continuing_subword_prefix", "");
    cJSON_AddStringToObject(model, "end_of_word_suffix", "");
    cJSON_AddBoolToObject(model, "fuse_unk", false);
    cJSON_AddBoolToObject(model, "byte_fallback", false);
    cJSON_AddBoolToObject(model, "ignore_merges", s->pre->ignore_merges);
    for (uint64_t i = 0; i < s->tokens.n; i++) {
        char *text = text_of(&s->tokens.texts[i]);
        if (text)
            cJSON_AddNumberToObject(vocab, text, (double)i);
        apus_free(text);
    }
    cJSON_AddItemToObject(model, "vocab", vocab);
    for (uint64_t i = 0; i < s->merges.n; i++)
        add_text(merges, NULL, &s->merges.texts[i]);
    cJSON_AddItemToObject(model, "merges", merges);
    return model;
}

static apus_status write_tokenizer(const source *s, const char *folder)
{
    cJSON *root, *form;

    apus_json_begin();
    root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "version", "1.0");
    cJSON_AddNullToObject(root, "truncation");
    cJSON_AddNullToObject(root, "padding");
    cJSON_AddItemToObject(root, "added_tokens", added_tokens(s));
    if (s->pre->form == APUSI_NFC) {
        form = cJSON_AddObjectToObject(root, "normalizer");
        cJSON_AddStringToObject(form, "type", "NFC");
    } else {
        cJSON_AddNullToObject(root, "normalizer");
    }
    cJSON_AddItemToObject(root, "pre_tokenizer", pre_tokenizer(s->pre));
    cJSON_AddItemToObject(root, "post_processor", byte_level(true));
    cJSON_AddItemToObject(root, "decoder", byte_level(true));
    cJSON_AddItemToObject(root, "model", model_of(s));
    const apus_status st = apus_json_write(root, folder, "tokenizer.json");
    cJSON_Delete(root);
    return st;
}

static void add_token(cJSON *config, cJSON *ids, const source *s, const char *key, const char *name,
                      const char *id_name)
{
    uint32_t id;

    if (!apus_gguf_has(s->gguf, key) || apus_gguf_u32(s->gguf, key, &id) != APUS_OK ||
        id >= s->tokens.n)
        return;
    add_text(config, name, &s->tokens.texts[id]);
    cJSON_AddNumberToObject(ids, id_name, id);
}

static apus_status write_configs(const source *s, const char *folder)
{
    cJSON *config, *ids;
    apus_gguf_text tmpl = { 0 };
    char *path = apus_path_join(folder, "chat_template.jinja");
    bool add_bos = false;
    apus_status st = path ? APUS_OK : APUS_ERR_MEMORY;

    apus_json_begin();
    config = cJSON_CreateObject();
    ids = cJSON_CreateObject();
    if (apus_gguf_has(s->gguf, "tokenizer.ggml.add_bos_token"))
        apus_gguf_bool(s->gguf, "tokenizer.ggml.add_bos_token", &add_bos);
    cJSON_AddStringToObject(config, "tokenizer_class", "PreTrainedTokenizerFast");
    cJSON_AddBoolToObject(config, "add_bos_token", add_bos);
    cJSON_AddBoolToObject(config, "clean_up_tokenization_spaces", false);
    /* Without it the class hands models `token_type_ids` too, which none of ours takes. */
    cJSON_AddItemToObject(
        config, "model_input_names",
        cJSON_CreateStringArray((const char *const[]) { "input_ids", "attention_mask" }, 2));
    add_token(config, ids, s, "tokenizer.ggml.bos_token_id", "bos_token", "bos_token_id");
    add_token(config, ids, s, "tokenizer.ggml.eos_token_id", "eos_token", "eos_token_id");
    add_token(config, ids, s, "tokenizer.ggml.padding_token_id", "pad_token", "pad_token_id");
    if (st == APUS_OK && apus_gguf_has(s->gguf, "tokenizer.chat_template") &&
        apus_gguf_string(s->gguf, "tokenizer.chat_template", &tmpl) == APUS_OK) {
        add_text(config, "chat_template", &tmpl);
        st = apus_file_write(path, tmpl.text, (size_t)tmpl.bytes);
    }
    if (st == APUS_OK)
        st = apus_json_write(config, folder, "tokenizer_config.json");
    if (st == APUS_OK)
        st = apus_json_write(ids, folder, "generation_config.json");
    cJSON_Delete(config);
    cJSON_Delete(ids);
    apus_free(path);
    return st;
}

apus_status apus_tokenizer_save(const char *gguf, const char *folder)
{
    apus_status st;
    source s = { 0 };

    APUS_TRY(open_source(&s, gguf));
    APUS_TRY(write_tokenizer(&s, folder));
    APUS_TRY(write_configs(&s, folder));
fail:
    apus_gguf_close(&s.gguf);
    return st;
}
