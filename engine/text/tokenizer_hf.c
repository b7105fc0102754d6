/* tokenizer_hf.c - a tokenizer from a Hugging Face folder.  tokenizer.json holds the model (pieces,
 * merges), the normalizer, the pre-tokenizer, added tokens and what surrounds a text;
 * tokenizer_config.json and special_tokens_map.json name bos, eos and pad; generation_config.json
 * lists the ids that end a generation; the chat template is chat_template.jinja or a key of
 * tokenizer_config.json. */
#include <limits.h>

#include "file.h"
#include "json.h"
#include "text_internal.h"

#define MOST_BYTES (512ull << 20)

static apus_status malformed(const apus_tokenizer *t, const char *what)
{
    return apus_fail(APUS_ERR_FORMAT, "%s: %s", t->where, what);
}

static apus_status unsupported(const apus_tokenizer *t, const char *kind, const char *name)
{
    return apus_fail(APUS_ERR_SUPPORT, "%s: %s '%.60s' is not supported yet", t->where, kind, name);
}

/* A whole number from JSON as an id. */
static bool id_of(const cJSON *value, uint32_t *id)
{
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble < 4294967295.0))
        return false;
    *id = (uint32_t)value->valuedouble;
    return (double)*id == value->valuedouble;
}

/* ---- model ---------------------------------------------------------------------------------- */

static apus_status read_vocab(apus_tokenizer *t, const cJSON *vocab)
{
    const cJSON *entry;

    if (!cJSON_IsObject(vocab))
        return malformed(t, "model.vocab is not an object");
    cJSON_ArrayForEach(entry, vocab)
    {
        uint32_t id;

        if (!id_of(entry, &id))
            return apus_fail(APUS_ERR_FORMAT,
                             "%s: the id of piece '%.60s' is not a whole number "
                             "from 0",
                             t->where, entry->string);
        APUS_FORWARD(apusi_vocab_set(&t->vocab, id, entry->string, strlen(entry->string)));
    }
    return APUS_OK;
}

static apus_status read_merges(apus_tokenizer *t, const cJSON *merges)
{
    const cJSON *entry;

    if (!cJSON_IsArray(merges))
        return malformed(t, "model.merges is not a list");
    cJSON_ArrayForEach(entry, merges)
    {
        if (cJSON_IsString(entry)) {
            APUS_FORWARD(apusi_add_merge_text(t, entry->valuestring, strlen(entry->valuestring)));
            continue;
        }
        const cJSON *left = cJSON_IsArray(entry) ? entry->child : NULL;
        const cJSON *right = left ? left->next : NULL;
        if (!cJSON_IsString(left) || !cJSON_IsString(right) || right->next)
            return apus_fail(APUS_ERR_FORMAT, "%s: merge %u is not a pair of texts", t->where,
                             t->merges.next_rank);
        APUS_FORWARD(apusi_add_merge(t, left->valuestring, strlen(left->valuestring),
                                     right->valuestring, strlen(right->valuestring)));
    }
    return APUS_OK;
}

static apus_status read_model(apus_tokenizer *t, const cJSON *model)
{
    const char *type = apus_json_string(model, "type", NULL);

    if (!cJSON_IsObject(model))
        return malformed(t, "there is no model");
    /* Old files have no type; those with merges are BPE. */
    if (!type && apus_json_get(model, "merges"))
        type = "BPE";
    if (!type || strcmp(type, "BPE"))
        return unsupported(t, "a tokenizer model of type", type ? type : "(none)");
    if (apus_json_bool(model, "byte_fallback", false))
        return unsupported(t, "the model's", "byte_fallback");
    if (apus_json_number(model, "dropout", 0) != 0)
        return unsupported(t, "the model's", "dropout");
    if (*apus_json_string(model, "continuing_subword_prefix", ""))
        return unsupported(t, "the model's", "continuing_subword_prefix");
    if (*apus_json_string(model, "end_of_word_suffix", ""))
        return unsupported(t, "the model's", "end_of_word_suffix");
    t->ignore_merges = apus_json_bool(model, "ignore_merges", false);
    t->fuse_unknown = apus_json_bool(model, "fuse_unk", false);
    APUS_FORWARD(read_vocab(t, apus_json_get(model, "vocab")));
    APUS_FORWARD(read_merges(t, apus_json_get(model, "merges")));
    const char *unknown = apus_json_string(model, "unk_token", NULL);
    if (unknown)
        t->unknown = apusi_vocab_find(&t->vocab, unknown, strlen(unknown));
    return APUS_OK;
}

/* ---- normalizer and pre-tokenizer ------------------------------------------------------------ */

static apus_status read_normalizer(apus_tokenizer *t, const cJSON *node, int depth)
{
    static const struct {
        const char *name;
        apusi_form form;
    } forms[] = {
        { "NFC", APUSI_NFC }, { "NFD", APUSI_NFD }, { "NFKC", APUSI_NFKC }, { "NFKD", APUSI_NFKD }
    };

    if (!node)
        return APUS_OK;
    const char *type = apus_json_string(node, "type", "(none)");
    if (!strcmp(type, "Sequence") && depth < 4) {
        const cJSON *entry, *list = apus_json_get(node, "normalizers");

        if (!cJSON_IsArray(list))
            return malformed(t, "normalizer.normalizers is not a list");
        cJSON_ArrayForEach(entry, list) APUS_FORWARD(read_normalizer(t, entry, depth + 1));
        return APUS_OK;
    }
    for (size_t i = 0; i < APUS_COUNT(forms); i++) {
        if (strcmp(type, forms[i].name))
            continue;
        if (t->form != APUSI_FORM_NONE && t->form != forms[i].form)
            return unsupported(t, "a second normalization form", type);
        t->form = forms[i].form;
        return APUS_OK;
    }
    return unsupported(t, "normalizer", type);
}

static apus_status read_split(apus_tokenizer *t, const cJSON *node)
{
    static const struct {
        const char *name;
        apusi_behavior behavior;
    } behaviors[] = { { "Isolated", APUSI_ISOLATED },
                      { "Removed", APUSI_REMOVED },
                      { "Contiguous", APUSI_CONTIGUOUS },
                      { "MergedWithPrevious", APUSI_MERGED_WITH_PREVIOUS },
                      { "MergedWithNext", APUSI_MERGED_WITH_NEXT } };
    const cJSON *pattern = apus_json_get(node, "pattern");
    const char *regex = apus_json_string(pattern, "Regex", NULL);
    const char *literal = apus_json_string(pattern, "String", NULL);
    const char *name = apus_json_string(node, "behavior", "(none)");

    if (!regex && !literal)
        return malformed(t, "a Split has neither pattern.Regex nor pattern.String");
    for (size_t i = 0; i < APUS_COUNT(behaviors); i++)
        if (!strcmp(name, behaviors[i].name))
            return apusi_add_split(t, regex ? regex : literal, !regex, behaviors[i].behavior,
                                   apus_json_bool(node, "invert", false));
    return unsupported(t, "the Split behavior", name);
}

/* *bytes: a ByteLevel was seen; nothing may follow it, since it respells the text. */
static apus_status read_pretokenizer(apus_tokenizer *t, const cJSON *node, int depth, bool *bytes)
{
    const char *type = apus_json_string(node, "type", "(none)");

    if (!strcmp(type, "Sequence") && depth < 4) {
        const cJSON *entry, *list = apus_json_get(node, "pretokenizers");

        if (!cJSON_IsArray(list))
            return malformed(t, "pre_tokenizer.pretokenizers is not a list");
        cJSON_ArrayForEach(entry, list) APUS_FORWARD(read_pretokenizer(t, entry, depth + 1, bytes));
        return APUS_OK;
    }
    if (*bytes)
        return unsupported(t, "after ByteLevel, the pre-tokenizer", type);
    if (!strcmp(type, "Split"))
        return read_split(t, node);
    if (!strcmp(type, "Digits"))
        return apusi_add_split(
            t, apus_json_bool(node, "individual_digits", false) ? "\\p{N}" : "\\p{N}+", false,
            APUSI_ISOLATED, false);
    if (strcmp(type, "ByteLevel"))
        return unsupported(t, "pre-tokenizer", type);
    *bytes = true;
    if (apus_json_bool(node, "add_prefix_space", true))
        APUS_FORWARD(apusi_add_prefix_space(t));
    if (apus_json_bool(node, "use_regex", true))
        return apusi_add_split(t, apusi_gpt2_pattern, false, APUSI_ISOLATED, false);
    return APUS_OK;
}

/* ---- added tokens and post-processor --------------------------------------------------------- */

static apus_status read_added_token(apus_tokenizer *t, const cJSON *node, uint32_t id)
{
    const char *content = apus_json_string(node, "content", NULL);
    const bool special = apus_json_bool(node, "special", false);
    const apusi_added added = {
        .id = id,
        .special = special,
        .single_word = apus_json_bool(node, "single_word", false),
        .lstrip = apus_json_bool(node, "lstrip", false),
        .rstrip = apus_json_bool(node, "rstrip", false),
        .normalized = apus_json_bool(node, "normalized", !special),
    };

    if (!content)
        return apus_fail(APUS_ERR_FORMAT, "%s: added token %u has no content", t->where, id);
    return apusi_add_token(t, &added, content, strlen(content));
}

static apus_status read_added_tokens(apus_tokenizer *t, const cJSON *list)
{
    const cJSON *entry;

    if (list && !cJSON_IsArray(list))
        return malformed(t, "added_tokens is not a list");
    cJSON_ArrayForEach(entry, list)
    {
        uint32_t id;

        if (!id_of(apus_json_get(entry, "id"), &id))
            return malformed(t, "an added token has no id");
        APUS_FORWARD(read_added_token(t, entry, id));
    }
    return APUS_OK;
}

static apus_status template_token(apus_tokenizer *t, const cJSON *processor, const cJSON *item,
                                  apus_tokens *to)
{
    const char *name = apus_json_string(item, "id", "");
    const cJSON *token = apus_json_get(apus_json_get(processor, "special_tokens"), name);
    const cJSON *ids = apus_json_get(token, "ids"), *entry;
    uint32_t id;

    if (!cJSON_IsArray(ids))
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: post_processor.special_tokens has no ids for "
                         "'%.60s'",
                         t->where, name);
    cJSON_ArrayForEach(entry, ids)
    {
        if (!id_of(entry, &id) || !apusi_vocab_text(&t->vocab, id, NULL))
            return apus_fail(APUS_ERR_FORMAT,
                             "%s: the post_processor's '%.60s' has an id that is "
                             "not in the vocabulary",
                             t->where, name);
        APUS_FORWARD(apusi_tokens_add(to, id));
    }
    return APUS_OK;
}

static apus_status read_template(apus_tokenizer *t, const cJSON *node)
{
    const cJSON *single = apus_json_get(node, "single"), *item;
    bool seen = false;

    if (!cJSON_IsArray(single))
        return malformed(t, "post_processor.single is not a list");
    cJSON_ArrayForEach(item, single)
    {
        const cJSON *token = apus_json_get(item, "SpecialToken");

        if (token)
            APUS_FORWARD(template_token(t, node, token, seen ? &t->suffix : &t->prefix));
        else if (apus_json_get(item, "Sequence") && !seen)
            seen = true;
        else
            return malformed(t, "post_processor.single is not tokens around one text");
    }
    return seen ? APUS_OK : malformed(t, "post_processor.single leaves the text out");
}

static apus_status read_processor(apus_tokenizer *t, const cJSON *node, int depth)
{
    if (!node)
        return APUS_OK;
    const char *type = apus_json_string(node, "type", "(none)");
    if (!strcmp(type, "ByteLevel"))
        return APUS_OK; /* moves offsets only */
    if (!strcmp(type, "Sequence") && depth < 4) {
        const cJSON *entry, *list = apus_json_get(node, "processors");

        if (!cJSON_IsArray(list))
            return malformed(t, "post_processor.processors is not a list");
        cJSON_ArrayForEach(entry, list) APUS_FORWARD(read_processor(t, entry, depth + 1));
        return APUS_OK;
    }
    if (!strcmp(type, "TemplateProcessing") && !t->prefix.n && !t->suffix.n)
        return read_template(t, node);
    return unsupported(t, "post-processor", type);
}

static apus_status read_tokenizer(apus_tokenizer *t, const cJSON *root)
{
    bool bytes = false;
    const cJSON *pre = apus_json_get(root, "pre_tokenizer");

    if (!cJSON_IsObject(root))
        return malformed(t, "not an object");
    APUS_FORWARD(read_model(t, apus_json_get(root, "model")));
    APUS_FORWARD(read_normalizer(t, apus_json_get(root, "normalizer"), 0));
    if (pre)
        APUS_FORWARD(read_pretokenizer(t, pre, 0, &bytes));
    if (!bytes)
        return unsupported(t, "BPE without the pre-tokenizer", "ByteLevel");
    const cJSON *decoder = apus_json_get(root, "decoder");
    const char *type = apus_json_string(decoder, "type", "(none)");
    if (decoder && strcmp(type, "ByteLevel"))
        return unsupported(t, "decoder", type);
    APUS_FORWARD(read_added_tokens(t, apus_json_get(root, "added_tokens")));
    return read_processor(t, apus_json_get(root, "post_processor"), 0);
}

/* ---- the folder's other files ---------------------------------------------------------------- */

/* A file of the folder, or NULL in *out if it is not there. */
static apus_status read_beside(cJSON **out, const char *folder, const char *name)
{
    char *path = apus_path_join(folder, name);
    apus_status st = APUS_OK;

    *out = NULL;
    if (!path)
        return APUS_ERR_MEMORY;
    if (apus_path_exists(path))
        st = apus_json_read(out, path);
    apus_free(path);
    return st;
}

/* "eos_token": a text or {"content": text}. */
static void named_token(const apus_tokenizer *t, const cJSON *config, const char *key, int64_t *id)
{
    const cJSON *value = apus_json_get(config, key);
    const char *text =
        cJSON_IsString(value) ? value->valuestring : apus_json_string(value, "content", NULL);

    if (*id >= 0 || !text)
        return;
    const uint32_t found = apusi_vocab_find(&t->vocab, text, strlen(text));
    if (found != APUSI_NO_ID)
        *id = found;
}

static void named_tokens(apus_tokenizer *t, const cJSON *config)
{
    named_token(t, config, "bos_token", &t->bos);
    named_token(t, config, "eos_token", &t->eos);
    named_token(t, config, "pad_token", &t->pad);
}

/* Tokens that only tokenizer_config.json knows; its keys are the ids. */
static apus_status extra_tokens(apus_tokenizer *t, const cJSON *config)
{
    const cJSON *entry, *list = apus_json_get(config, "added_tokens_decoder");

    cJSON_ArrayForEach(entry, list)
    {
        char *end;
        const unsigned long id = entry->string ? strtoul(entry->string, &end, 10) : ULONG_MAX;

        if (id >= APUSI_MOST_IDS || end == entry->string || *end)
            return apus_fail(APUS_ERR_FORMAT,
                             "%s: tokenizer_config.json: added_tokens_decoder has "
                             "the key '%.40s', which is no id",
                             t->where, entry->string ? entry->string : "");
        APUS_FORWARD(read_added_token(t, entry, (uint32_t)id));
    }
    return APUS_OK;
}

/* A text, or a list of {"name", "template"} of which "default" counts. */
static apus_status read_chat_template(apus_tokenizer *t, const cJSON *value)
{
    const char *text = cJSON_IsString(value) ? value->valuestring : NULL;
    const cJSON *entry;

    if (cJSON_IsArray(value))
        cJSON_ArrayForEach(entry,
                           value) if (!strcmp(apus_json_string(entry, "name", ""), "default"))
            text = apus_json_string(entry, "template", NULL);
    if (!text || t->chat_template)
        return APUS_OK;
    t->chat_template = apus_strdup(text);
    return t->chat_template ? APUS_OK : APUS_ERR_MEMORY;
}

static apus_status read_jinja(apus_tokenizer *t, const char *folder)
{
    char *path = apus_path_join(folder, "chat_template.jinja");
    apus_status st = APUS_OK;
    size_t n;

    if (!path)
        return APUS_ERR_MEMORY;
    if (apus_path_exists(path))
        st = apus_file_read(&t->chat_template, &n, path, 16u << 20);
    apus_free(path);
    return st;
}

static apus_status read_eos_ids(apus_tokenizer *t, const cJSON *generation)
{
    const cJSON *value = apus_json_get(generation, "eos_token_id"), *entry;
    uint32_t id;

    if (id_of(value, &id) && id < t->vocab.n)
        APUS_FORWARD(apusi_add_eos(t, id));
    if (cJSON_IsArray(value))
        cJSON_ArrayForEach(entry, value) if (id_of(entry, &id) && id < t->vocab.n)
            APUS_FORWARD(apusi_add_eos(t, id));
    return APUS_OK;
}

static apus_status read_folder(apus_tokenizer *t, const char *folder)
{
    cJSON *config = NULL, *map = NULL, *generation = NULL;
    apus_status st;

    APUS_TRY(read_beside(&config, folder, "tokenizer_config.json"));
    APUS_TRY(read_beside(&map, folder, "special_tokens_map.json"));
    APUS_TRY(read_beside(&generation, folder, "generation_config.json"));
    APUS_TRY(extra_tokens(t, config));
    named_tokens(t, config);
    named_tokens(t, map);
    if (t->eos >= 0)
        APUS_TRY(apusi_add_eos(t, (uint32_t)t->eos));
    APUS_TRY(read_eos_ids(t, generation));
    APUS_TRY(read_jinja(t, folder));
    APUS_TRY(read_chat_template(t, apus_json_get(config, "chat_template")));

fail:
    cJSON_Delete(config);
    cJSON_Delete(map);
    cJSON_Delete(generation);
    return st;
}

static apus_status from_json(apus_tokenizer **out, const char *text, size_t n, const char *where,
                             const char *folder)
{
    apus_tokenizer *t = NULL;
    cJSON *root = NULL;
    apus_status st;

    *out = NULL;
    APUS_TRY(apusi_tokenizer_new(&t, where));
    APUS_TRY(apus_json_parse(&root, text, n, where));
    APUS_TRY(read_tokenizer(t, root));
    if (folder)
        APUS_TRY(read_folder(t, folder));
    APUS_TRY(apusi_tokenizer_finish(t));
    *out = t;
    t = NULL;

fail:
    cJSON_Delete(root);
    apus_tokenizer_close(&t);
    return st;
}

apus_status apusi_tokenizer_from_json(apus_tokenizer **out, const char *text, size_t n,
                                      const char *where)
{
    return from_json(out, text, n, where, NULL);
}

apus_status apusi_tokenizer_from_hf(apus_tokenizer **out, const char *path, bool is_folder)
{
    char *json = is_folder ? apus_path_join(path, "tokenizer.json") : apus_strdup(path);
    char *text = NULL;
    size_t n = 0;
    apus_status st;

    *out = NULL;
    if (!json)
        return APUS_ERR_MEMORY;
    APUS_TRY(apus_file_read(&text, &n, json, MOST_BYTES));
    APUS_TRY(from_json(out, text, n, json, is_folder ? path : NULL));

fail:
    apus_free(text);
    apus_free(json);
    return st;
}
