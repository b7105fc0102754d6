/* checkpoint.c - a Hugging Face folder or a GGUF file as one table of tensors and a config. */
#include <stdio.h>

#include "arena.h"
#include "checkpoint.h"
#include "file.h"
#include "io_internal.h"
#include "safetensors.h"

#define INDEX_NAME "model.safetensors.index.json"
#define SHARDS_MOST 4096

struct apus_checkpoint {
    char *path;
    char *name;
    cJSON *config;
    cJSON *generation;
    apus_gguf *gguf;
    apus_safetensors **shards;
    size_t n_shards;
    apus_arena arena; /* mapped names */
    apusi_tensors tensors;
};

static apus_status read_object(cJSON **out, const char *path)
{
    apus_status st = apus_json_read(out, path);

    if (st == APUS_OK && !cJSON_IsObject(*out)) {
        cJSON_Delete(*out);
        *out = NULL;
        st = apus_fail(APUS_ERR_FORMAT, "%s: not a JSON object", path);
    }
    return st;
}

static apus_status read_json_in(cJSON **out, const char *dir, const char *name)
{
    char *path = apus_path_join(dir, name);
    const apus_status st = path ? read_object(out, path) : APUS_ERR_MEMORY;

    apus_free(path);
    return st;
}

static apus_status exists_in(bool *out, const char *dir, const char *name)
{
    char *path = apus_path_join(dir, name);

    if (!path)
        return APUS_ERR_MEMORY;
    *out = apus_path_exists(path);
    apus_free(path);
    return APUS_OK;
}

static apus_status open_shard(apus_checkpoint *ck, const char *name)
{
    char *path = apus_path_join(ck->path, name);
    apus_status st =
        path ? apus_safetensors_open(&ck->shards[ck->n_shards], path) : APUS_ERR_MEMORY;

    if (st == APUS_OK)
        ck->n_shards++;
    apus_free(path);
    return st;
}

/* A shard lies in the folder itself: a name that leads elsewhere is a hostile index. */
static bool is_plain_name(const cJSON *item)
{
    const char *s = cJSON_IsString(item) ? item->valuestring : "";

    return *s && *s != '.' && !strpbrk(s, "/\\");
}

static apus_status open_shards(apus_checkpoint *ck, const cJSON *map, apusi_index *files)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, map)
    {
        size_t at;

        if (!is_plain_name(item))
            return apus_fail(APUS_ERR_FORMAT, "%s/" INDEX_NAME ": '%s' is not given a file's name",
                             ck->path, item->string);
        at = apusi_index_find(files, item->valuestring);
        if (at == APUSI_NONE) {
            if (files->n == files->room)
                return apus_fail(APUS_ERR_FORMAT, "%s/" INDEX_NAME ": more than %d files", ck->path,
                                 SHARDS_MOST);
            apusi_index_add(files, item->valuestring);
            APUS_FORWARD(open_shard(ck, item->valuestring));
            at = files->n - 1;
        }
        if (!apus_safetensors_find(ck->shards[at], item->string))
            return apus_fail(APUS_ERR_FORMAT, "%s/" INDEX_NAME ": tensor '%s' is not in '%s'",
                             ck->path, item->string, item->valuestring);
    }
    return APUS_OK;
}

static apus_status open_index(apus_checkpoint *ck)
{
    apus_status st;
    cJSON *index = NULL;
    const cJSON *map;
    apusi_index files = { 0 };

    APUS_TRY(read_json_in(&index, ck->path, INDEX_NAME));
    map = apus_json_get(index, "weight_map");
    if (!cJSON_IsObject(map)) {
        st = apus_fail(APUS_ERR_FORMAT, "%s/" INDEX_NAME ": no \"weight_map\"", ck->path);
        goto fail;
    }
    ck->shards = apus_calloc(SHARDS_MOST, sizeof(*ck->shards));
    if (!ck->shards) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    APUS_TRY(apusi_index_reserve(&files, SHARDS_MOST));
    APUS_TRY(open_shards(ck, map, &files));
fail:
    apusi_index_release(&files);
    cJSON_Delete(index);
    return st;
}

/* Say what the folder holds instead of safetensors. */
static apus_status no_weights(const apus_checkpoint *ck)
{
    bool pickle = false, pickles = false;

    APUS_FORWARD(exists_in(&pickle, ck->path, "pytorch_model.bin"));
    APUS_FORWARD(exists_in(&pickles, ck->path, "pytorch_model.bin.index.json"));
    if (pickle || pickles)
        return apus_fail(
            APUS_ERR_SUPPORT,
            "%s holds its weights as Python pickles, which run code when read; convert "
            "them to safetensors",
            ck->path);
    return apus_fail(APUS_ERR_MISSING,
                     "%s: neither model.safetensors nor " INDEX_NAME " in the folder", ck->path);
}

static apus_status name_folder(apus_checkpoint *ck)
{
    ck->name = apus_path_absolute(ck->path);
    if (!ck->name)
        return APUS_ERR_MEMORY;
    memmove(ck->name, apus_path_base(ck->name), strlen(apus_path_base(ck->name)) + 1);
    return APUS_OK;
}

static apus_status open_folder(apus_checkpoint *ck, bool bare)
{
    bool config = false, single = false, sharded = false, generation = false;
    size_t n = 0;

    APUS_FORWARD(exists_in(&config, ck->path, "config.json"));
    if (!config)
        return apus_fail(APUS_ERR_MISSING,
                         "model %s: the folder has no config.json; name a folder in Hugging "
                         "Face's layout, or a GGUF file",
                         ck->path);
    APUS_FORWARD(read_json_in(&ck->config, ck->path, "config.json"));
    APUS_FORWARD(exists_in(&generation, ck->path, "generation_config.json"));
    if (generation)
        APUS_FORWARD(read_json_in(&ck->generation, ck->path, "generation_config.json"));
    APUS_FORWARD(exists_in(&single, ck->path, "model.safetensors"));
    APUS_FORWARD(exists_in(&sharded, ck->path, INDEX_NAME));
    if (single) {
        ck->shards = apus_calloc(1, sizeof(*ck->shards));
        if (!ck->shards)
            return APUS_ERR_MEMORY;
        APUS_FORWARD(open_shard(ck, "model.safetensors"));
    } else if (sharded) {
        APUS_FORWARD(open_index(ck));
    } else {
        return bare ? name_folder(ck) : no_weights(ck);
    }
    for (size_t s = 0; s < ck->n_shards; s++)
        n += apus_safetensors_count(ck->shards[s]);
    APUS_FORWARD(apusi_tensors_reserve(&ck->tensors, n));
    for (size_t s = 0; s < ck->n_shards; s++)
        for (size_t i = 0; i < apus_safetensors_count(ck->shards[s]); i++)
            APUS_FORWARD(
                apusi_tensors_add(&ck->tensors, apus_safetensors_at(ck->shards[s], i), ck->path));
    return name_folder(ck);
}

static apus_status name_gguf(apus_checkpoint *ck)
{
    apus_gguf_text text = { 0 };
    const char *base = apus_path_base(ck->path);
    size_t n = strlen(base);

    if (apus_gguf_has(ck->gguf, "general.name"))
        APUS_FORWARD(apus_gguf_string(ck->gguf, "general.name", &text));
    if (text.bytes && text.bytes < 4096 && !memchr(text.text, 0, (size_t)text.bytes)) {
        base = text.text;
        n = (size_t)text.bytes;
    } else if (n > 5 && strcmp(base + n - 5, ".gguf") == 0) {
        n -= 5;
    }
    ck->name = apus_strndup(base, n);
    return ck->name ? APUS_OK : APUS_ERR_MEMORY;
}

static apus_status map_tensor(apus_checkpoint *ck, const apus_file_tensor *from,
                              const uint32_t heads[3])
{
    apus_file_tensor t = *from;
    char name[256];
    uint32_t pairs;

    if (apusi_gguf_name(name, sizeof(name), from->name, &pairs)) {
        t.name = apus_arena_strdup(&ck->arena, name);
        if (!t.name)
            return APUS_ERR_MEMORY;
        t.pair_heads = heads[pairs];
    }
    if (t.pair_heads && (!t.n_dims || t.dims[0] % (2 * (uint64_t)t.pair_heads) != 0))
        return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' does not hold the rows of %u heads",
                         ck->path, from->name, t.pair_heads);
    return apusi_tensors_add(&ck->tensors, &t, ck->path);
}

static apus_status open_gguf(apus_checkpoint *ck)
{
    static const struct {
        const char *arch;
        bool paired;
    } archs[] = {
#define X(arch, model_type, cls, paired, bias) { arch, paired },
#include "gguf_arch.def"
#undef X
    };
    uint32_t heads[3] = { 0 };
    apus_gguf_text arch;

    APUS_FORWARD(apus_gguf_open(&ck->gguf, ck->path));
    APUS_FORWARD(apusi_gguf_config(&ck->config, ck->gguf));
    APUS_FORWARD(apus_gguf_string(ck->gguf, "general.architecture", &arch));
    for (size_t i = 0; i < APUS_COUNT(archs); i++)
        if (archs[i].paired && strlen(archs[i].arch) == arch.bytes &&
            memcmp(archs[i].arch, arch.text, arch.bytes) == 0) {
            heads[1] = (uint32_t)apus_json_number(ck->config, "num_attention_heads", 0);
            heads[2] = (uint32_t)apus_json_number(ck->config, "num_key_value_heads", 0);
        }
    APUS_FORWARD(apusi_tensors_reserve(&ck->tensors, apus_gguf_count(ck->gguf)));
    for (size_t i = 0; i < apus_gguf_count(ck->gguf); i++)
        APUS_FORWARD(map_tensor(ck, apus_gguf_at(ck->gguf, i), heads));
    return name_gguf(ck);
}

/* A config.json by itself. */
static apus_status open_config(apus_checkpoint *ck)
{
    APUS_FORWARD(read_object(&ck->config, ck->path));
    return name_folder(ck);
}

static bool is_json(const char *path)
{
    const size_t n = strlen(path);

    return n > 5 && !strcmp(path + n - 5, ".json");
}

static apus_status open_any(apus_checkpoint **out, const char *path, bool bare)
{
    apus_status st;
    apus_checkpoint *ck = apus_alloc(sizeof(*ck));

    *out = NULL;
    if (!ck)
        return APUS_ERR_MEMORY;
    if (!apus_path_exists(path))
        APUS_TRY(apus_fail(APUS_ERR_MISSING,
                           "model %s: no such file or folder; models are local, nothing is "
                           "downloaded",
                           path));
    ck->path = apus_strdup(path);
    if (!ck->path)
        APUS_TRY(APUS_ERR_MEMORY);
    if (apus_path_is_dir(path))
        APUS_TRY(open_folder(ck, bare));
    else
        APUS_TRY(bare && is_json(path) ? open_config(ck) : open_gguf(ck));
    *out = ck;
    return APUS_OK;
fail:
    apus_checkpoint_close(&ck);
    return st;
}

apus_status apus_checkpoint_open(apus_checkpoint **out, const char *path)
{
    return open_any(out, path, false);
}

apus_status apus_checkpoint_open_bare(apus_checkpoint **out, const char *path)
{
    return open_any(out, path, true);
}

void apus_checkpoint_close(apus_checkpoint **checkpoint)
{
    apus_checkpoint *ck = *checkpoint;

    if (!ck)
        return;
    apusi_tensors_release(&ck->tensors);
    apus_arena_release(&ck->arena);
    for (size_t i = 0; i < ck->n_shards; i++)
        apus_safetensors_close(&ck->shards[i]);
    apus_free(ck->shards);
    apus_gguf_close(&ck->gguf);
    cJSON_Delete(ck->generation);
    cJSON_Delete(ck->config);
    apus_free(ck->name);
    apus_free(ck->path);
    apus_free(ck);
    *checkpoint = NULL;
}

const char *apus_checkpoint_path(const apus_checkpoint *checkpoint)
{
    return checkpoint->path;
}

bool apus_checkpoint_is_gguf(const apus_checkpoint *checkpoint)
{
    return checkpoint->gguf != NULL;
}

const char *apus_checkpoint_name(const apus_checkpoint *checkpoint)
{
    return checkpoint->name;
}

size_t apus_checkpoint_count(const apus_checkpoint *checkpoint)
{
    return checkpoint->tensors.index.n;
}

void apus_checkpoint_forget(const apus_file_tensor *tensor)
{
    apus_map_forget(tensor->data, tensor->bytes);
}

const apus_file_tensor *apus_checkpoint_at(const apus_checkpoint *checkpoint, size_t i)
{
    APUS_BUG_IF(i >= checkpoint->tensors.index.n);
    return &checkpoint->tensors.at[i];
}

void apus_checkpoint_info(const apus_checkpoint *checkpoint, size_t i, apus_tensor_info *out)
{
    const apus_file_tensor *t = apus_checkpoint_at(checkpoint, i);

    memset(out, 0, sizeof(*out));
    out->name = t->name;
    out->format = t->format;
    out->n_dims = t->n_dims;
    memcpy(out->dims, t->dims, sizeof(out->dims));
    out->bytes = t->bytes;
    out->readable = t->dtype != APUS_DTYPE_COUNT;
}

const apus_file_tensor *apus_checkpoint_find(const apus_checkpoint *checkpoint, const char *name)
{
    return apusi_tensors_find(&checkpoint->tensors, name);
}

apus_status apus_checkpoint_need(const apus_checkpoint *checkpoint, const char *name,
                                 const apus_file_tensor **out)
{
    *out = apus_checkpoint_find(checkpoint, name);
    if (!*out)
        return apus_fail(APUS_ERR_MISSING, "%s: no tensor '%s'", checkpoint->path, name);
    return apus_file_tensor_check(*out, checkpoint->path);
}

const cJSON *apus_checkpoint_config(const apus_checkpoint *checkpoint)
{
    return checkpoint->config;
}

const cJSON *apus_checkpoint_generation(const apus_checkpoint *checkpoint)
{
    return checkpoint->generation;
}

apus_status apus_checkpoint_read_config(const apus_checkpoint *checkpoint, apus_config *out)
{
    const char *file = checkpoint->gguf ? "" : "/config.json";
    apus_status st = apus_config_read(out, checkpoint->config);
    char text[512];

    if (st == APUS_OK && checkpoint->generation) {
        file = "/generation_config.json";
        st = apus_config_add_eos(out, checkpoint->generation);
    }
    if (st == APUS_OK)
        return APUS_OK;
    snprintf(text, sizeof(text), "%s", apus_error_text());
    return apus_fail(st, "%s%s: %s", checkpoint->path, file, text);
}

const apus_gguf *apus_checkpoint_gguf(const apus_checkpoint *checkpoint)
{
    return checkpoint->gguf;
}
